"""What the tree of a pickle holds that can be used: a whole module, or tensors in dictionaries of dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from guide_lib.readers.common import expect
from guide_lib.readers.modules import DICTIONARIES, StoredNetwork, is_module, module_names, read_module
from guide_lib.readers.symbolic import Made
from guide_lib.readers.tensors import LazyArrays, Storage, is_tensor

_FORMAT = "checkpoint"
# what training scripts save beside the tensors: their options, and the bytes of NumPy's numbers
_BESIDE = {"argparse.Namespace", "_codecs.encode", "builtins.dict", "builtins.list", "__builtin__.dict"}
_MAX_DEPTH, _MAX_PARTS = 8, 100_000


def tree_names(path: str) -> bool:
    """Whether a checkpoint may mention this name.

    >>> tree_names("collections.OrderedDict"), tree_names("os.system")
    (True, False)
    """
    return path in _BESIDE or module_names(path)


def network_in(tree: Any, storage: Storage, limit: int) -> StoredNetwork:
    """A module of NVIDIA's, alone or as `G_ema`, with its settings; else every tensor by its path, `a.b` for b in a.

    limit: the size of the file in bytes. Raises `GuideError` if there is neither.
    """
    for module in (tree, (_dictionary(tree) or {}).get("G_ema")):
        if is_module(module):
            return read_module(module, storage, limit)
    described: dict[str, Made] = {}
    for name, value in _tensors(tree, iter(range(_MAX_PARTS))):
        right = name.isprintable() and not name.startswith("__")  # safetensors has its own
        expect(right and name not in described, _FORMAT, "a name in it is odd")
        described[name] = value
    expect(bool(described), _FORMAT, "it holds no network")
    return StoredNetwork(LazyArrays(described, storage, limit))


def _dictionary(value: Any) -> dict[Any, Any] | None:
    """The entries of a dictionary of any kind; None for anything else."""
    value = value.entries if isinstance(value, Made) and value.path in DICTIONARIES else value
    return value if isinstance(value, dict) else None


def _tensors(value: Any, budget: Iterator[int], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Made]]:
    """Every tensor in dictionaries of dictionaries, by its path."""
    for key, item in (_dictionary(value) or {}).items():
        expect(next(budget, None) is not None and depth < _MAX_DEPTH, _FORMAT, "it nests too many dictionaries")
        if is_tensor(item):
            yield f"{prefix}{key}", item
        else:
            yield from _tensors(item, budget, f"{prefix}{key}.", depth + 1)
