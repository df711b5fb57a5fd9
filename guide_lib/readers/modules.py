"""Whole modules of PyTorch as a pickle describes them: of each only the parameters, buffers and settings are taken.

NVIDIA's networks carry their own source code in their pickle; it is text here, and stays text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from guide_lib.readers.common import Arrays, expect
from guide_lib.readers.symbolic import Made
from guide_lib.readers.tensors import GROWTH, PARAMETER, STORAGES, TENSOR, LazyArrays, Storage, tensor

_FORMAT = "generator pickle"
PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
DTYPE = "numpy.dtype"
DICTIONARIES = ("dnnlib.util.EasyDict", "collections.OrderedDict", "collections.defaultdict")
# classes of modules and of their settings; they are only written down
_CLASSES = ("torch.nn.modules.", "torch_utils.", "training.", "dnnlib.")
_NAMES = {PARAMETER, TENSOR, DTYPE, *STORAGES, *DICTIONARIES}
_NAMES |= {"builtins.set", "__builtin__.set", "torch.device", "torch.Size"}
_NAMES |= {f"torch.{kind}" for kind in ("float16", "bfloat16", "float32", "float64", "int32", "int64", "uint8", "bool")}
_NAMES |= {f"numpy.{core}.multiarray.{made}" for core in ("core", "_core") for made in ("scalar", "_reconstruct")}
_NAMES |= {"numpy.ndarray"}
TENSORFLOW = "dnnlib.tflib."
_MAX_DEPTH, _MAX_MODULES, _MAX_SETTINGS, _MAX_TEXT = 32, 10_000, 10_000, 1000
_LEFT_OUT = object()


@dataclass(frozen=True)
class StoredNetwork:
    """What is left of a network.

    arrays: its tensors by name. class_name: of the network, if the file has it. settings: the plain values.
    """

    arrays: Mapping[str, np.ndarray]
    class_name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the tensors, by name; reads none of them."""
        if isinstance(self.arrays, LazyArrays):
            return self.arrays.shapes()
        return {name: array.shape for name, array in self.arrays.items()}


def module_names(path: str) -> bool:
    """Whether the pickle of a module may mention this name."""
    return path in _NAMES or path.startswith(_CLASSES) and not path.startswith(TENSORFLOW)


def is_module(value: Any) -> bool:
    """Whether a pickle describes a module, of a class that carries its source or of another."""
    return isinstance(value, Made) and (value.path == PERSISTENT or value.path.startswith(_CLASSES))


def read_module(value: Any, storage: Storage, limit: int) -> StoredNetwork:
    """The tensors of a module and of all below it, and its settings. limit: the size of its file in bytes.

    `settings` holds the constructor's arguments and the numbers, text and lists among the attributes, such as
    `init_kwargs`, `rendering_kwargs` and `neural_rendering_resolution`.
    """
    class_name, state = _module(value)
    arrays: Arrays = {}
    held = 0
    for count, (prefix, part) in enumerate(_modules(state)):
        expect(count < _MAX_MODULES, _FORMAT, "it nests too many modules")
        own = _tensors(part, prefix, storage)
        held += sum(array.nbytes for array in own.values())
        expect(held <= GROWTH * limit, _FORMAT, "its tensors are larger than the file")
        arrays |= own
    expect(bool(arrays), _FORMAT, "its generator has no parameters")
    return StoredNetwork(arrays, class_name, _settings(state))


def entries(value: Any) -> dict[Any, Any]:
    """The entries of a dictionary of any kind."""
    found = value.entries if isinstance(value, Made) else value
    expect(isinstance(found, dict), _FORMAT, "a part of it is not a dictionary")
    return found


def _module(value: Any) -> tuple[str, dict[str, Any]]:
    """Class name and attributes of a module, whether it carries its source or not."""
    expect(isinstance(value, Made), _FORMAT, "a module in it is something else")
    if value.path == PERSISTENT:
        expect(len(value.args) == 1, _FORMAT, "a module in it is described oddly")
        meta = entries(value.args[0])
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
    for name, child in entries(state.get("_modules", {})).items():
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
    own = {**entries(state.get("_parameters", {})), **entries(state.get("_buffers", {}))}
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
    held = value.entries if isinstance(value, Made) and value.path in DICTIONARIES else value
    if isinstance(held, dict):
        found = {str(key): _plain(item, budget, depth + 1) for key, item in held.items()}
        return {key: item for key, item in found.items() if item is not _LEFT_OUT}
    simple = value is None or isinstance(value, bool | int) or isinstance(value, str) and len(value) <= _MAX_TEXT
    return value if simple or isinstance(value, float) and math.isfinite(value) else _LEFT_OUT


def _scalar(value: Made) -> Any:
    """A numpy number: its kind and its bytes."""
    kind, content = value.args if len(value.args) == 2 else (None, None)
    code = kind.args[0] if isinstance(kind, Made) and kind.path == DTYPE and kind.args else None
    if code not in ("f4", "f8", "i4", "i8", "b1") or not isinstance(content, bytes):
        return _LEFT_OUT
    dtype = np.dtype(f"<{code}")
    expect(len(content) == dtype.itemsize, _FORMAT, "a number in it has a wrong size")
    return np.frombuffer(content, dtype)[0].item()
