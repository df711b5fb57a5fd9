"""State dicts of torch.save: what is read, what is refused, and that nothing in any of them runs."""

import argparse
import collections
import contextlib
import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from test_nvidia_reader import HOSTILE, TOUCH, Call

from guide_lib.errors import GuideError
from guide_lib.readers import is_torch_file, torch_file

NEW, OLD = True, False


def torch_state(content: bytes) -> dict[str, np.ndarray]:
    """All tensors of a file, read."""
    return dict(torch_file(content).arrays)


def saved(value: object, zipped: bool = NEW) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def good() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0).view(4, 6)
    return {"whole": base, "part": base[1:3, 2:5], "turned": base.T, "count": torch.tensor(7), "shared": base[0]}


def repacked(content: bytes, change, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same archive with some of its members changed: `change(name, content)` gives the new content or None."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for name in old.namelist():
            kept = change(name.partition("/")[2], old.read(name))
            if kept is not None:
                new.writestr(name, kept)
    return file.getvalue()


def with_pickle(pickled: bytes) -> bytes:
    return repacked(saved(good()), lambda name, content: pickled if name == "data.pkl" else content)


@pytest.fixture(autouse=True)
def mark(tmp_path, monkeypatch):
    """A file that every hostile pickle tries to make."""
    path = tmp_path / "mark"
    monkeypatch.setenv("GUIDE_TEST_MARK", str(path))
    return path


@pytest.mark.parametrize("zipped", [NEW, OLD])
@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_a_state_dict_is_read_exactly(zipped, kind):
    content = saved(kind(good()), zipped)
    found = torch_state(content)
    assert is_torch_file(content) and list(found) == list(good())
    for name, tensor in good().items():
        assert found[name].dtype == tensor.numpy().dtype and found[name].flags.c_contiguous
        np.testing.assert_array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize("zipped", [NEW, OLD])
def test_the_state_of_a_module_is_read(zipped):
    """It carries versions of its modules beside the tensors, which are no tensors."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    found = torch_state(saved(module.state_dict(), zipped))
    twin = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in found.items()}, strict=True)
    assert torch.equal(twin[0].weight, module[0].weight)
    assert torch_state(saved(dict(module.named_parameters()), zipped)).keys() == dict(module.named_parameters()).keys()


@pytest.mark.parametrize("zipped", [NEW, OLD])
def test_tensors_in_dictionaries_of_dictionaries_have_their_paths_and_the_rest_is_passed_over(zipped):
    options = argparse.Namespace(size=256, betas=(0.0, 0.99), when=np.float64(0.5))
    tree = {"g_ema": good(), "latent_avg": torch.ones(3), "args": options, "iteration": 7, "names": ["a", "b"]}
    tree["optim"] = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]}
    found = torch_state(saved(tree, zipped))
    expected = {f"g_ema.{name}": tensor for name, tensor in good().items()}
    expected |= {"latent_avg": torch.ones(3), "optim.state.0.step": torch.tensor(3.0)}
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


@pytest.mark.parametrize("zipped", [NEW, OLD])
def test_bfloat16_is_read_exactly(zipped):
    """Every finite number of it, and the same in a view and beside single precision."""
    bits = torch.arange(1 << 16).to(torch.uint16).view(torch.bfloat16)
    base = bits[bits.isfinite()]
    found = torch_state(saved({"all": base, "some": base[3:40:7], "single": torch.ones(2)}, zipped))
    for name, part in {"all": base, "some": base[3:40:7]}.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], part.float().numpy())


@pytest.mark.parametrize("zipped", [NEW, OLD])
def test_a_whole_module_of_pytorchs_is_read_without_making_it(zipped):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    found = torch_file(saved(module, zipped))
    assert found.class_name == "Sequential" and list(found.arrays) == list(module.state_dict())
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(found.arrays[name], tensor.numpy())


def test_tensors_that_nobody_asks_for_are_not_read():
    """Of a file with one damaged tensor the others can be had: a training state holds many more than a generator."""
    content = repacked(saved(good() | {"last": torch.ones(5)}), lambda n, part: None if n == "data/2" else part)
    arrays = torch_file(content).arrays
    np.testing.assert_array_equal(arrays["whole"], good()["whole"].numpy())
    with pytest.raises(GuideError, match="a storage has a wrong size"):
        arrays["last"]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickles_inside_an_archive_are_refused_and_do_nothing(kind, mark):
    with pytest.raises(GuideError, match="asks for|unusual instruction"):
        torch_state(with_pickle(HOSTILE[kind]()))
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [NEW, OLD])
def test_a_call_beside_the_tensors_is_refused_and_does_nothing(zipped, mark):
    content = saved(good() | {"more": Call(eval, TOUCH)}, zipped)
    with pytest.raises(GuideError, match="asks for"):
        torch_state(content)
    assert not mark.exists()
    torch.load(io.BytesIO(content), weights_only=False)
    assert mark.exists(), "the same bytes do harm in the ordinary reader: the test can fail"


def lying_storage(zipped: bool, factor: int) -> bytes:
    """A tensor whose pickle announces `factor` times the numbers that are there."""
    content = saved({"a": torch.zeros(6)}, zipped)
    old, new = b"K\x06", b"K" + bytes([6 * factor])
    if not zipped:
        return content.replace(old, new, 1)
    return repacked(content, lambda name, part: part.replace(old, new) if name == "data.pkl" else part)


BROKEN = {
    "nothing": lambda: b"",
    "no archive": lambda: b"PK\x03\x04" + bytes(64),
    "an archive cut short": lambda: saved(good())[:-40],
    "an older file cut short": lambda: saved(good(), OLD)[:-8],
    "something after an older file": lambda: saved(good(), OLD) + b"more",
    "a compressed archive": lambda: repacked(saved(good()), lambda name, part: part, zipfile.ZIP_DEFLATED),
    "no pickle in it": lambda: repacked(saved(good()), lambda name, part: None if name == "data.pkl" else part),
    "a storage missing": lambda: repacked(saved(good()), lambda name, part: None if name == "data/0" else part),
    "a storage cut short": lambda: repacked(saved(good()), lambda name, part: part[:-4] if name == "data/0" else part),
    "a storage announced too large": lambda: lying_storage(NEW, 2),
    "an older storage announced too large": lambda: lying_storage(OLD, 2),
    "another byte order": lambda: repacked(saved(good()), lambda name, part: b"big" if name == "byteorder" else part),
    "something after its pickle": lambda: repacked(
        saved(good()), lambda name, part: part + b"N." if name == "data.pkl" else part
    ),
    "a list": lambda: saved([torch.zeros(2)]),
    "a tensor": lambda: saved(torch.zeros(2)),
    "nothing in the dictionary": lambda: saved({}),
    "a number": lambda: saved({"a": 3}),
    "dictionaries without end": lambda: with_pickle(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."),
    "dictionaries that multiply": lambda: with_pickle(
        b"\x80\x02}q\x00" + b"}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00uq\x00" * 60 + b"."
    ),
    "a module of a class that nobody knows": lambda: saved(Unheard(2, 2)),
    "nothing but numbers": lambda: saved({"a": {"b": 3}}),
    "two tensors of one name": lambda: saved({"a": {"b": torch.zeros(2)}, "a.b": torch.zeros(2)}),
    "an empty tensor": lambda: saved({"a": torch.zeros(0)}),
    "a sparse tensor": lambda: saved({"a": torch.eye(2).to_sparse()}),
    "numbers multiplied": lambda: saved({str(k): torch.zeros(1).expand(1) for k in range(3)} | many_views()),
}


class Unheard(torch.nn.Linear):
    """A class outside PyTorch."""


def many_views() -> dict[str, torch.Tensor]:
    base = torch.zeros(10_000)
    return {f"v{k}": base for k in range(50)}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_refused_in_one_sentence(kind):
    with pytest.raises(GuideError) as refusal:
        torch_state(BROKEN[kind]())
    sentence = str(refusal.value)
    assert sentence.startswith("This ") and sentence.endswith(".") and "\n" not in sentence and len(sentence) < 300


@pytest.mark.parametrize("zipped", [NEW, OLD])
def test_changed_bytes_are_read_or_refused_but_never_run(zipped, mark):
    small = saved({"a": torch.arange(6.0)}, zipped)
    for position in range(len(small)):
        for mask in (0x01, 0x20, 0xFF):
            changed = bytearray(small)
            changed[position] ^= mask
            with contextlib.suppress(GuideError):
                torch_state(bytes(changed))
    assert not mark.exists()


def test_a_plain_pickle_is_no_torch_file():
    assert not is_torch_file(pickle.dumps({"a": np.zeros(3)}))
