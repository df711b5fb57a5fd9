"""Generators from NVIDIA's pickles (StyleGAN2-ADA, StyleGAN3, EG3D), whose objects carry their own source code.

Such a file asks to run the source that it carries. Here it is read as data (`symbolic_pickle`): of every module only
the parameters, buffers and settings are taken, and neither its source nor anything else in the file runs.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from guide_lib.readers.common import Arrays, expect
from guide_lib.readers.symbolic import Made, symbolic_pickle
from guide_lib.readers.tensors import PARAMETER, STORAGES, TENSOR, Storage, older_file, tensor

_FORMAT = "generator pickle"
_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
_STORAGE = "torch.storage._load_from_bytes"
_DTYPE = "numpy.dtype"
_DICTIONARIES = ("dnnlib.util.EasyDict", "collections.OrderedDict")
_NAMES = {_PERSISTENT, PARAMETER, TENSOR, _STORAGE, _DTYPE, *STORAGES}
_NAMES |= {*_DICTIONARIES, "builtins.set", "__builtin__.set", "torch.device", "torch.Size"}
_NAMES |= {f"torch.{kind}" for kind in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")}
_NAMES |= {f"numpy.{core}.multiarray.{made}" for core in ("core", "_core") for made in ("scalar", "_reconstruct")}
_NAMES |= {"numpy.ndarray"}
# classes of modules and of their settings; they are only written down
_CLASSES = ("torch.nn.modules.", "torch_utils.", "training.", "dnnlib.")
_MAX_DEPTH, _MAX_MODULES, _MAX_SETTINGS, _MAX_TEXT = 32, 10_000, 10_000, 1000
_LEFT_OUT = object()


@dataclass(frozen=True)
class NvidiaNetwork:
    """What is left of `G_ema`: class_name: of the network; arrays: its tensors by name; settings: the plain values."""

    class_name: str
    arrays: Arrays
    settings: dict[str, Any]


def _allowed(path: str) -> bool:
    return path in _NAMES or path.startswith(_CLASSES)


def nvidia_generator(content: bytes) -> NvidiaNetwork:
    """The moving-average generator `G_ema` of a pickle, read without running anything in it.

    `settings` holds the constructor's arguments and the numbers, text and lists among the attributes, such as
    `init_kwargs`, `rendering_kwargs` and `neural_rendering_resolution`. Raises `GuideError` at anything but networks.
    """
    expect(content[:2] != b"PK", _FORMAT, "it is a zip archive, not a pickle of networks")
    file = io.BytesIO(content)
    tree = _entries(symbolic_pickle(file, _allowed))
    expect(file.tell() == len(content), _FORMAT, "something follows its end")
    expect("G_ema" in tree, _FORMAT, "there is no generator 'G_ema' in it")
    class_name, state = _module(tree["G_ema"])
    arrays: Arrays = {}
    held, storage = 0, functools.cache(_storage)  # many tensors may look at one storage
    for count, (prefix, part) in enumerate(_modules(state)):
        expect(count < _MAX_MODULES, _FORMAT, "it nests too many modules")
        own = _tensors(part, prefix, storage)
        held += sum(array.nbytes for array in own.values())
        expect(held <= len(content), _FORMAT, "its tensors are larger than the file")
        arrays |= own
    expect(bool(arrays), _FORMAT, "its generator has no parameters")
    return NvidiaNetwork(class_name, arrays, _settings(state))


def _entries(value: Any) -> dict[Any, Any]:
    """The entries of a dictionary of any kind."""
    entries = value.entries if isinstance(value, Made) else value
    expect(isinstance(entries, dict), _FORMAT, "a part of it is not a dictionary")
    return entries


def _module(value: Any) -> tuple[str, dict[str, Any]]:
    """Class name and attributes of a module, whether it carries its source or not."""
    expect(isinstance(value, Made), _FORMAT, "a module in it is something else")
    if value.path == _PERSISTENT:
        expect(len(value.args) == 1, _FORMAT, "a module in it is described oddly")
        meta = _entries(value.args[0])
        class_name, state = meta.get("class_name"), meta.get("state")
    else:
        class_name, state = value.path.rsplit(".", 1)[-1], value.state
    right = isinstance(class_name, str) and class_name.isprintable() and isinstance(state, dict)
    expect(right, _FORMAT, "a module in it is described oddly")
    return class_name, state


def _modules(state: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every module below one, with the beginning of its tensors' names."""
    expect(depth < _MAX_DEPTH, _FORMAT, "its modules are nested too deeply")
    yield prefix, state
    for name, child in _entries(state.get("_modules", {})).items():
        _check_name(name)
        if child is not None:
            yield from _modules(_module(child)[1], f"{prefix}{name}.", depth + 1)


def _check_name(name: Any) -> None:
    # a dot would let one tensor take the name of another
    right = isinstance(name, str) and (name.isidentifier() or name.isdigit())
    expect(right, _FORMAT, "a name in it is odd")


def _tensors(state: dict[str, Any], prefix: str, storage: Storage) -> Arrays:
    """The module's own parameters and those buffers that belong into a state dict."""
    passing = _members(state.get("_non_persistent_buffers_set", set()))
    own = {**_entries(state.get("_parameters", {})), **_entries(state.get("_buffers", {}))}
    found: Arrays = {}
    for name, value in own.items():
        _check_name(name)
        if value is not None and name not in passing:
            found[f"{prefix}{name}"] = tensor(value, storage)
    return found


def _members(value: Any) -> set[Any]:
    """The members of a set, as protocols 3 and 4 write it."""
    if isinstance(value, Made):
        value = value.args[0] if value.args else []
    expect(isinstance(value, set | list), _FORMAT, "a part of it is not a set")
    return {member for member in value if isinstance(member, str)}


def _storage(value: Any) -> np.ndarray:
    """The numbers of a storage, saved by torch.save's older format as a file of its own."""
    right = isinstance(value, Made) and value.path == _STORAGE and len(value.args) == 1
    expect(right and isinstance(value.args[0], bytes), _FORMAT, "a storage in it is something else")
    described, read = older_file(value.args[0], STORAGES.__contains__)
    return read(described)


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    """The plain values among the attributes, without those of `nn.Module` itself."""
    named = {"init_kwargs": state.get("_init_kwargs", {}), "init_args": state.get("_init_args", ())}
    named |= {name: value for name, value in state.items() if isinstance(name, str) and not name.startswith("_")}
    return _plain(named, iter(range(_MAX_SETTINGS)))


def _plain(value: Any, budget: Iterator[int], depth: int = 0) -> Any:
    """Numbers, text, None, and lists and dictionaries of them; what is none of these is left out."""
    expect(next(budget, None) is not None and depth < _MAX_DEPTH, _FORMAT, "its settings are too large")
    if isinstance(value, Made) and value.path.endswith(".multiarray.scalar"):
        return _scalar(value)
    if isinstance(value, list | tuple):
        items = [_plain(item, budget, depth + 1) for item in value]
        return _LEFT_OUT if any(item is _LEFT_OUT for item in items) else items
    entries = value.entries if isinstance(value, Made) and value.path in _DICTIONARIES else value
    if isinstance(entries, dict):
        found = {str(key): _plain(item, budget, depth + 1) for key, item in entries.items()}
        return {key: item for key, item in found.items() if item is not _LEFT_OUT}
    simple = value is None or isinstance(value, bool | int) or isinstance(value, str) and len(value) <= _MAX_TEXT
    return value if simple or isinstance(value, float) and math.isfinite(value) else _LEFT_OUT


def _scalar(value: Made) -> Any:
    """A numpy number: its kind and its bytes."""
    kind, content = value.args if len(value.args) == 2 else (None, None)
    code = kind.args[0] if isinstance(kind, Made) and kind.path == _DTYPE and kind.args else None
    if code not in ("f4", "f8", "i4", "i8", "b1") or not isinstance(content, bytes):
        return _LEFT_OUT
    dtype = np.dtype(f"<{code}")
    expect(len(content) == dtype.itemsize, _FORMAT, "a number in it has a wrong size")
    return np.frombuffer(content, dtype)[0].item()
