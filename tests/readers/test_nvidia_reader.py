"""NVIDIA's pickles: what converts, what is refused, and that nothing in any of them runs."""

import contextlib
import errno
import functools
import io
import json
import os
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nvidia_pickles import EasyDict, Persistent, described, nvidia_modules, write
from safetensors import safe_open
from safetensors.numpy import save_file
from test_eg3d import IO, REFERENCE, tiny64
from test_stylegan2 import small_network
from torch import nn

from guide_lib.__main__ import main
from guide_lib.assets import official
from guide_lib.errors import GuideError
from guide_lib.generators import View, checkpoints, load_generator
from guide_lib.generators.eg3d import EG3D
from guide_lib.readers import nvidia_generator

_EVENTS: list[str] = []
_WATCHED = ("pickle.find_class", "exec", "compile", "import", "open", "os.", "subprocess.", "shutil.", "socket.")
_watching = False


def _hook(event: str, args: tuple) -> None:
    if _watching and event.startswith(_WATCHED):
        _EVENTS.append(event)


sys.addaudithook(_hook)


def watched(content: bytes):
    """Read a pickle while the interpreter reports every import, every file opened and everything executed."""
    global _watching
    _EVENTS.clear()
    _watching = True
    try:
        return nvidia_generator(content)
    finally:
        _watching = False


SETTINGS = {
    "rendering_kwargs": EasyDict(REFERENCE["rendering_kwargs"]),
    "neural_rendering_resolution": REFERENCE["neural_rendering_resolution"],
    "_init_kwargs": EasyDict(z_dim=64, psi=np.float64(0.5), many=np.int64(7), sizes=(1, 2)),
    "_init_args": (),
}


@functools.cache
def benign(protocol: int = 4) -> bytes:
    """The tiny EG3D as NVIDIA's code would have saved it."""
    return write({"G": None, "D": None, "G_ema": described(tiny64(), SETTINGS)}, protocol)


@pytest.fixture(autouse=True)
def mark(tmp_path, monkeypatch) -> Path:
    """A file that every hostile pickle tries to make, and that must not be there in the end."""
    path = tmp_path / "mark"
    monkeypatch.setenv("GUIDE_TEST_MARK", str(path))
    return path


# --- what converts ---


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_the_persistence_layout_is_read_without_running_its_source(protocol, mark):
    network = watched(benign(protocol))
    assert _EVENTS == [] and not mark.exists()
    assert network.class_name == "TriPlaneGenerator"
    state = tiny64().state_dict()
    assert list(network.arrays) == list(state)
    for name, array in network.arrays.items():
        assert array.shape == state[name].shape and np.array_equal(array, state[name].numpy()), name
    assert network.settings["rendering_kwargs"] == REFERENCE["rendering_kwargs"]
    assert network.settings["init_kwargs"] == {"z_dim": 64, "psi": 0.5, "many": 7, "sizes": [1, 2]}


def test_the_ordinary_reader_would_have_run_it(mark):
    """Without this, the test above could not fail."""
    content = benign()
    with nvidia_modules():
        pickle.loads(content)
    assert mark.read_text() == "the embedded source ran"


def network_of(**tensors) -> bytes:
    return write({"G_ema": Persistent("Generator", {"_parameters": tensors, "_buffers": {}, "_modules": {}})})


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_every_kind_of_number_and_every_layout(dtype, rng):
    base = (10 * torch.rand(4, 6, generator=rng)).to(dtype)
    views = {"whole": base, "part": base[1:3, 2:5], "turned": base.T, "single": base[2, 3], "strided": base[::2, 1::3]}
    found = nvidia_generator(network_of(**views)).arrays
    for name, view in views.items():
        assert found[name].dtype == view.numpy().dtype and found[name].flags.c_contiguous
        np.testing.assert_array_equal(found[name], view.numpy())


def test_buffers_that_are_not_saved_are_left_out():
    tensor = torch.ones(2)
    state = {
        "_parameters": {"a": tensor, "none": None},
        "_buffers": {"b": tensor, "c": tensor},
        "_non_persistent_buffers_set": {"c"},
    }
    for protocol in (3, 4):
        content = write({"G_ema": Persistent("Generator", state)}, protocol)
        assert list(nvidia_generator(content).arrays) == ["a", "b"]


def test_a_converted_pickle_draws_the_reference_picture(tmp_path, capsys):
    (tmp_path / "tiny.pkl").write_bytes(benign())
    assert main(["convert", str(tmp_path / "tiny.pkl")]) == 0
    path = tmp_path / "tiny.safetensors"
    assert str(path) in capsys.readouterr().out
    generator = load_generator(str(path))
    assert isinstance(generator, EG3D) and not generator.training and generator.resolution == 64
    ws = generator.mapping(IO["in.z"])
    torch.testing.assert_close(ws, IO["mapping.ws"], atol=1e-5, rtol=1e-4)
    for view in (View(), View(12, -3, jitter=1)):
        expected = tiny64().synthesis(ws, view).image
        torch.testing.assert_close(generator.synthesis(ws, view).image, expected, atol=1e-5, rtol=1e-4)
    with safe_open(path, "np") as file:
        assert file.metadata()["class_name"] == "TriPlaneGenerator"
        assert json.loads(file.metadata()["settings"])["neural_rendering_resolution"] == 16


def test_a_flat_stylegan2_converts_and_draws_the_same(tmp_path):
    network = small_network()
    network.backbone.mapping.w_avg.normal_()
    kwargs = EasyDict(synthesis_kwargs=EasyDict(conv_clamp=256, num_fp16_res=2))
    source = tmp_path / "flat.pkl"
    source.write_bytes(write({"G_ema": described(network.backbone, {"_init_kwargs": kwargs})}))
    generator = load_generator(str(official.convert(source)))
    assert (generator.config.clamp, generator.config.half_blocks) == (256, 2)
    z = torch.randn(2, 6)
    assert torch.equal(generator.mapping(z, 0.7), network.mapping(z, 0.7))
    assert torch.equal(generator.synthesis(generator.mapping(z)).image, network.synthesis(network.mapping(z)).image)


def test_an_official_file_goes_to_the_cache_and_loads_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(GuideError) as refusal:
        load_generator("eg3d-ffhq-512")
    assert main(["assets"]) == 0
    assert "ffhqrebalanced512-128.pkl" in capsys.readouterr().out
    sentence = str(refusal.value)
    assert "non-commercial" in sentence and "models/eg3d" in sentence
    assert sentence.endswith("python -m guide_lib convert ffhqrebalanced512-128.pkl.")
    (tmp_path / "ffhqrebalanced512-128.pkl").write_bytes(benign())
    assert main(["convert", str(tmp_path / "ffhqrebalanced512-128.pkl")]) == 0
    assert "non-commercial" in capsys.readouterr().out
    assert load_generator("eg3d-ffhq-512").rows == 10
    with pytest.raises(GuideError, match="draws at 64 px, not at 512"):
        load_generator("eg3d-ffhq-512", resolution=512)


def test_a_checkpoint_without_pose_conditioning_is_not_given_a_camera(tmp_path):
    source = tmp_path / "blind.pkl"
    kwargs = EasyDict(REFERENCE["rendering_kwargs"], c_gen_conditioning_zero=True)
    source.write_bytes(write({"G_ema": described(tiny64(), SETTINGS | {"rendering_kwargs": kwargs})}))
    assert load_generator(str(official.convert(source))).config.camera_scale == 0


def test_a_conversion_replaces_nothing_but_a_conversion(tmp_path):
    source, other = tmp_path / "mine.pkl", tmp_path / "mine.safetensors"
    source.write_bytes(benign())
    save_file({"a": np.zeros(3)}, other)
    kept = other.read_bytes(), source.read_bytes()
    for out in (None, source):
        with pytest.raises(GuideError, match="is another file and would be lost; choose another name with --out"):
            official.convert(source, out)
    assert (other.read_bytes(), source.read_bytes()) == kept
    other.unlink()
    assert official.convert(source) == official.convert(source) == other


def test_files_that_no_conversion_wrote(tmp_path):
    """What can be converted is to be; of anything else it is said what it is, as `convert` says it."""
    (tmp_path / "my text.safetensors").write_text("hello")
    with pytest.raises(GuideError, match="my text.safetensors is a text that begins 'hello'"):
        load_generator(str(tmp_path / "my text.safetensors"))
    (tmp_path / "my net.pkl").write_bytes(benign())
    with pytest.raises(
        GuideError, match="is not a converted checkpoint; run python -m guide_lib convert '.*my net.pkl'"
    ):
        load_generator(str(tmp_path / "my net.pkl"))
    with pytest.raises(GuideError, match="There is no file at .*; check the path."):
        load_generator(str(tmp_path / "nowhere.safetensors"))


def test_a_pipe_a_device_and_a_folder_are_not_read(tmp_path):
    """Before, the conversion of /dev/zero took all memory, and that of a pipe waited for ever."""
    os.mkfifo(tmp_path / "pipe.pkl")
    for path in (tmp_path, tmp_path / "pipe.pkl", Path("/dev/zero")):
        with pytest.raises(GuideError, match="is no file but a folder, a pipe or a device; name a file.$"):
            official.convert(path)
        with pytest.raises(GuideError, match="is a folder; name|There is no file at"):
            load_generator(path)


def test_a_checkpoint_that_may_not_be_read(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = tmp_path / "closed.safetensors"
    save_file({"a": np.zeros(3)}, path)
    monkeypatch.setattr(checkpoints, "safe_open", forbidden)
    monkeypatch.setattr(type(path), "read_bytes", forbidden)
    for use in (checkpoints.load_converted, official.convert):
        with pytest.raises(
            GuideError, match=r"closed.safetensors cannot be read \(Permission denied\); check the path.$"
        ):
            use(path)


# --- what is refused ---


class Call:
    """Unpickling this with the ordinary pickle module calls `function`."""

    def __init__(self, function, *args) -> None:
        self.parts = function, args

    def __reduce__(self) -> tuple:
        return self.parts


TOUCH = "open(__import__('os').environ['GUIDE_TEST_MARK'], 'w').close()"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def calling(module: str, name: str, *args: bytes) -> bytes:
    """Instructions that call module.name."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(args) + b"tR"


def in_a_module(value: object) -> bytes:
    """Deep inside the state of an otherwise good generator."""
    return write({"G_ema": described(tiny64().decoder, {"extra": [{"deep": (value,)}]})})


HOSTILE = {
    "a call at the top": lambda: pickle.dumps(Call(eval, TOUCH), 4),
    "a call inside a module": lambda: in_a_module(Call(eval, TOUCH)),
    "a call in a part that is not needed": lambda: write({"D": Call(exec, TOUCH), "G_ema": described(nn.Linear(2, 2))}),
    "the oldest protocol": lambda: pickle.dumps({"G_ema": Call(eval, TOUCH)}, 0),
    "a shell command": lambda: b"\x80\x03" + calling("os", "system", text('touch "$GUIDE_TEST_MARK"')) + b".",
    "an instance instruction": lambda: b"(" + text(TOUCH) + b"ibuiltins\neval\n.",
    "an object instruction": lambda: b"(cbuiltins\neval\n" + text(TOUCH) + b"o.",
    "a second reader": lambda: (
        b"\x80\x03"
        + calling("pickle", "loads", b"B" + struct.pack("<I", len(pickle.dumps(Call(eval, TOUCH))))).replace(
            b"tR", pickle.dumps(Call(eval, TOUCH)) + b"tR"
        )
        + b"."
    ),
    "numpy's own interpreter": lambda: (
        b"\x80\x03" + calling("numpy.testing._private.utils", "runstring", text(TOUCH), b"}") + b"."
    ),
    "a name found through another": lambda: (
        b"\x80\x04"
        + text("builtins")
        + text("getattr")
        + b"\x93("
        + b"cbuiltins\n__import__\n"
        + text("__call__")
        + b"tR"
        + text("evil_import")
        + b"\x85R."
    ),
    "an import with a side effect": lambda: b"\x80\x03cevil_import\nanything\n.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickles_are_refused_and_do_nothing(kind, mark, tmp_path, monkeypatch):
    (tmp_path / "evil_import.py").write_text(f"{TOUCH}\nanything = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "evil_import", raising=False)
    content = HOSTILE[kind]()
    sentence = refusal_of(content)
    assert "asks for" in sentence or "unusual instruction" in sentence
    assert _EVENTS == [] and not mark.exists()
    ordinary(content)
    assert mark.exists(), "the same bytes do harm in the ordinary reader: the test can fail"


def test_a_hostile_pickle_inside_a_storage(mark):
    state = {
        "_parameters": {"weight": Tensor(Call(torch.storage._load_from_bytes, pickle.dumps(Call(eval, TOUCH), 2)))}
    }
    content = write({"G_ema": Persistent("Generator", state)})
    assert "asks for" in refusal_of(content)
    assert _EVENTS == [] and not mark.exists()


def ordinary(content: bytes) -> None:
    """The ordinary pickle module, whatever it says afterwards."""
    with nvidia_modules():
        try:
            pickle.loads(content)
        except Exception as error:
            print(f"the ordinary reader ended with: {error}")


def refusal_of(content: bytes) -> str:
    with pytest.raises(GuideError) as refusal:
        watched(content)
    sentence = str(refusal.value)
    assert sentence.startswith("This ") and sentence.endswith(".") and "\n" not in sentence and len(sentence) < 300
    return sentence


class Tensor:
    """A tensor's description with any storage, offset, shape and strides."""

    def __init__(self, storage=None, offset=0, shape=(2, 3), strides=(3, 1)) -> None:
        storage = storage or torch.zeros(6)._typed_storage()
        self.args = storage, offset, shape, strides, False, {}

    def __reduce__(self) -> tuple:
        return torch._utils._rebuild_tensor_v2, self.args


def one_parameter(value: object) -> bytes:
    return write({"G_ema": Persistent("Generator", {"_parameters": {"weight": value}})})


def raw_storage(change) -> Call:
    """A storage whose bytes were changed."""
    file = io.BytesIO()
    torch.save(torch.zeros(6)._typed_storage(), file, _use_new_zipfile_serialization=False)
    return Call(torch.storage._load_from_bytes, change(file.getvalue()))


def modules_within(depth: int, children: int, numbers: int = 0) -> bytes:
    """`depth` levels, each of which holds the same next one `children` times: children^depth modules in few bytes."""
    state = {"_parameters": {"weight": torch.zeros(numbers)} if numbers else {}}
    for _ in range(depth):
        inner = Persistent("Layer", state)
        state = {"_modules": {f"m{i}": inner for i in range(children)}}
    return write({"G_ema": Persistent("Generator", state)})


def module_within_itself() -> bytes:
    state: dict = {"_modules": {}}
    state["_modules"]["again"] = Persistent("Layer", state)
    return write({"G_ema": Persistent("Generator", state)})


BROKEN = {
    "nothing": lambda: b"",
    "a text": lambda: b"not a pickle at all",
    "a zip archive": lambda: b"PK\x03\x04" + bytes(64),
    "an array of numpy's": lambda: pickle.dumps(np.zeros(3)),
    "cut short": lambda: benign()[:-2000],
    "cut in half": lambda: benign()[: len(benign()) // 2],
    "something after its end": lambda: benign() + b"more",
    "no generator": lambda: write({"G": described(nn.Linear(2, 2))}),
    "a generator that is a list": lambda: write({"G_ema": [1, 2]}),
    "a generator without parameters": lambda: write({"G_ema": Persistent("Generator", {})}),
    "a tensor past its storage": lambda: one_parameter(Tensor(shape=(2, 4))),
    "a tensor behind its storage": lambda: one_parameter(Tensor(offset=6)),
    "a tensor before its storage": lambda: one_parameter(Tensor(offset=-1)),
    "a tensor that multiplies its storage": lambda: one_parameter(Tensor(shape=(1 << 40, 3), strides=(0, 1))),
    "a tensor of negative size": lambda: one_parameter(Tensor(shape=(-2, -3))),
    "a tensor with an absurd stride": lambda: one_parameter(Tensor(shape=(2, 3), strides=(1 << 80, 1))),
    "a tensor without shape": lambda: one_parameter(Tensor(shape=None)),
    "a parameter that is a number": lambda: one_parameter(3.0),
    "a storage cut short": lambda: one_parameter(Tensor(raw_storage(lambda b: b[:-1]))),
    "a storage with a wrong count": lambda: one_parameter(
        Tensor(raw_storage(lambda b: b[:-32] + b"\xff" * 8 + b[-24:]))
    ),
    "a storage that announces another count": lambda: one_parameter(
        Tensor(raw_storage(lambda b: b.replace(b"K\x06N", b"K\x05N")))
    ),
    "an empty storage": lambda: one_parameter(Tensor(raw_storage(lambda b: b""))),
    "a parameter with a dot in its name": lambda: network_of(**{"a.b": torch.zeros(1)}),
    "modules without end": module_within_itself,
    "modules multiplied": lambda: modules_within(20, 8),
    "numbers multiplied": lambda: modules_within(1, 64, numbers=4096),
    "modules too deep": lambda: modules_within(40, 1),
    "settings too large": lambda: in_a_module(list(range(20_000))),
    "a key that overflows the stack": lambda: b"\x80\x04}" + b")" + b"\x85" * 300_000 + b"Ns.",
    "a call of a call": lambda: b"\x80\x04" + calling("collections", "OrderedDict") + b")R.",
    "a state for a name": lambda: b"\x80\x04ccollections\nOrderedDict\n}b.",
    "an append to a dictionary": lambda: b"\x80\x04}Na.",
    "a set in a list": lambda: b"\x80\x04](N\x90.",
    "a key without a value": lambda: b"\x80\x04}(" + text("key") + b"u.",
    "an empty stack": lambda: b"\x80\x04R.",
    "a mark without end": lambda: b"\x80\x04(N.",
    "an extension code": lambda: b"\x80\x04\x82\x01.",
    "an object outside": lambda: b"\x80\x04" + text("key") + b"Q.",
    "a buffer outside": lambda: b"\x80\x05\x97.",
    "a name that is a number": lambda: b"\x80\x04K\x01K\x02\x93.",
    "a memo that was never filled": lambda: b"\x80\x04h\x07.",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_pickles_are_refused(kind, mark):
    refusal_of(BROKEN[kind]())
    assert _EVENTS == [] and not mark.exists()


def test_every_cut_is_refused():
    small = network_of(weight=torch.arange(6.0))
    assert len(nvidia_generator(small).arrays) == 1
    for length in range(len(small)):
        with pytest.raises(GuideError):
            nvidia_generator(small[:length])


def test_changed_bytes_are_read_or_refused_but_never_run(mark):
    """Flip each byte of a small file: only GuideError may come out of the reader."""
    small = network_of(weight=torch.arange(6.0))
    for position in range(len(small)):
        for mask in (0x01, 0x20, 0xFF):
            changed = bytearray(small)
            changed[position] ^= mask
            with contextlib.suppress(GuideError):
                watched(bytes(changed))
            assert _EVENTS == [], position
    assert not mark.exists()


def test_the_command_line_refuses_in_one_sentence(tmp_path, capsys, mark):
    source = tmp_path / "bad.pkl"
    for content, part in (
        (HOSTILE["a call at the top"](), "asks for builtins.eval"),
        (b"<!DOCTYPE html><title>quota exceeded</title>", "is an HTML page"),
        (b"", "is empty: download it again"),
    ):
        source.write_bytes(content)
        assert main(["convert", str(source)]) == 2
        line = capsys.readouterr().err
        assert part in line and line.count("\n") == 1 and line.endswith(".\n")
    assert main(["convert", str(tmp_path / "nowhere.pkl")]) == 2
    assert "check the path." in capsys.readouterr().err
    source.write_bytes(benign())
    (tmp_path / "file").write_text("a file where the folder should be")
    assert main(["convert", str(source), "--out", str(tmp_path / "file" / "out.safetensors")]) == 2
    assert "choose another with --out." in capsys.readouterr().err
    assert not mark.exists() and not (tmp_path / "bad.safetensors").exists()
