"""Damaged files: what `tests/fuzz.py` does for minutes, here for seconds; and what it or a close look has found."""

import json
import pickle
import random

import fuzz
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nvidia_pickles import Persistent, described, write
from test_nvidia_reader import Tensor, one_parameter, raw_storage, text
from test_readers import TINY_BIN, TINY_IR
from test_state_reader import NEW, saved
from tiny import TinyGenerator

from guide_lib import experiment, files, readers
from guide_lib.assets import official
from guide_lib.errors import GuideError
from guide_lib.generators.stylegan2_ffhq import StyleGAN2, StyleGAN2Config
from guide_lib.unlearning import Step


@pytest.fixture(scope="module", autouse=True)
def folder():
    with fuzz.limited() as folder:
        yield folder


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_damaged_files_are_read_or_refused_in_one_sentence(name, folder):
    target, folder = fuzz.TARGETS[name], folder / name
    folder.mkdir(exist_ok=True)
    seeds = target.seeds()
    for content in seeds:
        try:
            target.read(content, folder)
        except GuideError:  # a network in small: right in every layer, but not the whole
            assert name in ("mobilestylegan", "dlib", "sface", "edgeface", "mobilefacenet")

    @settings(max_examples=50)
    @given(st.randoms(use_true_random=False))
    def probe(rng: random.Random) -> None:
        content = fuzz.damaged(seeds, rng)
        assert fuzz.finding(target, content, folder) is None, content

    probe()


# --- what a few bytes could ask for ---


def refused(name: str, content: bytes, folder) -> str:
    """The sentence that refuses this input; it must come soon and cost little."""
    target, folder = fuzz.TARGETS[name], folder / name
    folder.mkdir(exist_ok=True)
    assert fuzz.finding(target, content, folder) is None
    with pytest.raises(GuideError) as refusal:
        target.read(content, folder)
    return str(refusal.value)


DOUBLED = b"h\x00h\x00\x86q\x00"  # a pair of what the memo holds, back into the memo
DEEP = b"\x80\x03)q\x00" + DOUBLED * 60


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x03}" + b")" + b"\x85" * 300_000 + b"Ns.",  # a key whose hash overflows the stack
        b"\x80\x03}" + DEEP[2:] + b"Ns.",  # a key whose hash takes 2^60 steps
        b"\x80\x03cnumpy\ndtype\n" + DEEP[2:] + b"\x85R.",  # a kind of number whose name has 2^60 parts
        b"\x80\x03}q\x00" + b"}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00uq\x00" * 60 + b".",  # 2^60 dictionaries
    ],
)
def test_pairs_of_pairs_do_not_overflow_or_hang(content, folder):
    refused("array pickle", content, folder)


def test_a_storage_that_is_known_by_pairs_of_pairs_does_not_hang(folder):
    """A key outside the pickle whose hash takes 2^60 steps."""
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(h\x00QK\x00K\x02\x85K\x01\x85tR"
    content = DEEP + b"0" * 61 + b"}" + text("a") + tensor + b"s."
    assert "a storage" in refused("generator pickle", content, folder)


def test_a_shape_that_repeats_bytes_takes_no_memory(folder):
    content = pickle.dumps({"a": np.zeros(3, "<f4")}, 3)
    assert content.count(b"K\x03\x85") == 1
    shape = b"C\x03abcJ\xff\xff\xff\x7f\x86"  # (b"abc", 2^31 - 1): their product would be 6 GB
    assert "wrong size" in refused("array pickle", content.replace(b"K\x03\x85", shape), folder)


def test_one_array_under_many_names_is_refused(folder):
    array = np.zeros(10_000, "<f4")
    assert "larger than the file" in refused(
        "array pickle", pickle.dumps({f"{k}": array for k in range(50)}, 3), folder
    )


def test_a_number_beyond_the_largest_float_is_refused(folder):
    start, mean = fuzz.dlib_start(), fuzz._real(122.782)
    assert start.count(mean) == 1
    absurd = b"\x08" + b"\xff" * 8 + b"\x02\xe7\x03"  # 2^64 * 2^999
    assert "not finite" in refused("dlib", start.replace(mean, absurd), folder)


@pytest.mark.parametrize("size", [1 << 61, 1 << 64])
def test_a_storage_that_announces_more_than_a_machine_can_count(size, folder):
    count = pickle.encode_long(size)
    announced = b"\x8a" + bytes([len(count)]) + count
    change = lambda b: b.replace(b"K\x06N", announced + b"N").replace(b"\x06" + bytes(7), b"\xff" * 8)  # noqa: E731
    content = one_parameter(Tensor(raw_storage(change)))
    assert "wrong size" in refused("generator pickle", content, folder)


def test_scales_along_another_axis_take_no_memory():
    """A million scales over a weight of a million columns: one number for each pair would be 4 TB."""
    many = 1_000_000
    scale, zero = np.ones((many, 1), np.float32), np.zeros((many, 1), np.int8)
    with pytest.raises(GuideError, match="do not cover"):
        readers.dequantise_blocks(np.ones((1, many), np.int8), scale, zero, 1)


def test_a_weight_expanded_many_times_is_refused(folder):
    import onnx

    model = onnx.load_model_from_string(fuzz.sface_graph())
    for k in range(200):
        model.graph.node.append(onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], [f"d{k}"], axis=1))
    assert "used twice" in refused("sface", model.SerializeToString(), folder)
    model = onnx.load_model_from_string(fuzz.sface_graph())
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    assert "another file" in refused("sface", model.SerializeToString(), folder)


def test_constants_that_share_their_bytes_or_have_odd_shapes_are_refused(folder):
    one = b'<layer name="%d" type="Const"><data element_type="f32" shape="9" offset="0" size="36"/></layer>'
    many = b'<net name="m" version="10"><layers>' + b"".join(one % k for k in range(50)) + b"</layers></net>"
    assert len(TINY_BIN) == 36 and "larger than the binary" in refused("openvino", many, folder)
    for shape in ("1," * 99 + "6", "0, 99999999999999999999"):
        content = TINY_IR.replace(b"2, 3", shape.encode())
        assert "odd shape" in refused("openvino", content.replace(b'size="24"', b'size="0"'), folder)


def test_a_picture_of_nothing_but_line_ends_is_refused_at_once(folder):
    content = b"P5\r\n1001 1000\r\n255\r\n" + b"\r\n" * (1001 * 1000 - 1)
    assert "pixels" in refused("pgm", content, folder)


def test_modules_and_tensors_multiplied_in_an_archive_are_refused(folder):
    part = text("a") + b"h\x00" + text("b") + b"h\x00"
    nested = b"\x80\x02" + fuzz.MODULE + b"}bq\x000" + (fuzz.MODULE + b"}(" + part + b"ubq\x000") * 15 + b"h\x00."
    assert "too many modules" in refused("torchscript", fuzz.torchscript(nested), folder)
    names = b"".join(text(f"t{k}") + b"h\x01" for k in range(400))
    shared = b"\x80\x02" + fuzz.TENSOR + b"q\x010" + fuzz.MODULE + b"}(" + names + b"ub."
    assert "larger than the file" in refused("torchscript", fuzz.torchscript(shared), folder)


def test_many_tensors_on_one_storage_read_it_once(folder, monkeypatch):
    shared, reads = raw_storage(lambda content: content), []
    real = readers.nvidia.older_file
    monkeypatch.setattr(readers.nvidia, "older_file", lambda *args: reads.append(args) or real(*args))
    tensors = {f"t{k}": Tensor(shared) for k in range(30)}
    found = readers.nvidia_generator(write({"G_ema": Persistent("G", {"_parameters": tensors})}))
    assert len(found.arrays) == 30 and len(reads) == 1


def test_a_long_text_in_the_settings_is_not_written_many_times(folder):
    network = StyleGAN2(StyleGAN2Config(4, z_dim=2, w_dim=2, mapping_layers=1, channel_base=8, channel_max=2))
    path = folder / "long.pkl"
    path.write_bytes(write({"G_ema": described(network.backbone, {"notes": ["x" * 1_000_000] * 5000})}))
    assert official.convert(path, folder / "long.safetensors").stat().st_size < 10_000


def test_what_a_file_says_of_itself_cannot_break_the_sentence(folder):
    content = b"\x80\x04" + text("two\nlines") + text("of\rtext") + b"\x93."
    assert "two lines.of text" in refused("generator pickle", content, folder)
    for name in ("\ud800", "__metadata__", "a\nb"):
        assert "odd" in refused("converter", saved({name: torch.zeros(2)}, NEW), folder)


def test_a_photo_is_never_given_to_another_program(folder):
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n%%EndComments\n(x) print\nshowpage\n"
    assert "is not a picture" in refused("photo", postscript, folder)


# --- the files of a run ---


def test_every_flipped_bit_of_a_checkpoint_is_noticed(folder):
    content = fuzz.checkpoint()
    for position in range(0, len(content), 97):
        changed = bytearray(content)
        changed[position] ^= 0x10
        assert "delete it to start" in refused("checkpoint", bytes(changed), folder)


def test_rows_with_other_things_in_them_are_refused(folder):
    for change in ({"id": "low"}, {"became": None}, {"became": ["x"]}, {"method": 3}, {"scenario": None}):
        sentence = refused("people.jsonl", json.dumps(fuzz.ROW | change).encode() + b"\n", folder)
        assert sentence.startswith("Line 1 of ") and "delete that line" in sentence
    assert "Line 2 of" in refused("people.jsonl", json.dumps(fuzz.ROW).encode() + b"\n[1]\n", folder)


def test_facts_cut_short_are_one_sentence_and_never_left_behind(folder, monkeypatch):
    assert "is damaged" in refused("run.json", b'{"generator": "Ti', folder)
    path = folder / "facts.json"
    files.write_json(path, fuzz.FACTS)
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        files.write_json(path, {"other": 1})
    assert json.loads(path.read_text()) == fuzz.FACTS and not list(folder.glob("*.part"))


def test_losses_keep_their_whole_lines_and_those_of_another_run(tmp_path):
    path = tmp_path / "losses.csv"
    path.write_bytes(b"step,local,adjacency,global,total\r\n1,1,2,3,6\r\n\xff\x00,1\r\n2,1,1,1,3\r\n3,1,1")
    list(experiment.recorded(iter([Step(3, 4, fuzz.LOSSES, 0.0, TinyGenerator())]), path))
    assert path.read_text().splitlines()[1:] == ["1,1,2,3,6", "2,1,1,1,3", "3,0.5,0.25,0.125,0.875"]
    whole = experiment.history(path)
    assert [point.index for point in whole] == [1, 2, 3], "the curves of a resumed run show all of it"
    assert whole[0].losses == {"local": 1, "adjacency": 2, "global": 3, "total": 6}
    kept = path.read_bytes()

    def refusing():
        raise GuideError("belongs to another run")
        yield

    with pytest.raises(GuideError):
        list(experiment.recorded(refusing(), path))
    assert path.read_bytes() == kept
