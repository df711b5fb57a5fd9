"""PyTorch's tensors as its files describe them: a storage of numbers, and the shape and strides that look at it.

`older_file` reads what torch.save wrote before 1.6; `tensor` makes an array of each description in it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from guide_lib.readers.common import expect
from guide_lib.readers.symbolic import Made, Name, Persistent, symbolic_pickle

_FORMAT = "checkpoint"
PARAMETER, TENSOR = "torch._utils._rebuild_parameter", "torch._utils._rebuild_tensor_v2"
STORAGES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
    "torch.BoolStorage": "|b1",
}
OLDER_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how every file of the older format begins
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001

Storage = Callable[[Any], np.ndarray]


class StorageKey(NamedTuple):
    """What a pickle says about a storage that lies outside it; dtype, name, count: of its numbers."""

    dtype: np.dtype
    name: str
    count: int


def storage_key(value: Any) -> StorageKey:
    """Its kind, name and size, from the pickle's reference."""
    key = value.key if isinstance(value, Persistent) else None
    right = isinstance(key, tuple) and len(key) >= 5 and key[0] == "storage" and isinstance(key[1], Name)
    right = right and isinstance(key[2], str) and isinstance(key[4], int) and key[5:] in ((), (None,))
    expect(right and key[1].path in STORAGES, _FORMAT, "a storage is described oddly")
    return StorageKey(np.dtype(STORAGES[key[1].path]), key[2], key[4])


def older_file(content: bytes, allowed: Callable[[str], bool]) -> tuple[Any, Storage]:
    """What torch.save's older format holds: four small pickles, the object, a list of names, then the numbers.

    Returns the object as `symbolic_pickle` gives it, and the function that finds the storages it refers to.
    """
    file = io.BytesIO(content)
    magic, version, system = (symbolic_pickle(file, allowed) for _ in range(3))
    expect(magic == _MAGIC and version == _VERSION, _FORMAT, "a storage has no known format")
    expect(isinstance(system, dict) and system.get("little_endian") is True, _FORMAT, "a storage is not little-endian")
    described, names = (symbolic_pickle(file, allowed) for _ in range(2))
    right = isinstance(names, list) and all(isinstance(name, str) for name in names)
    expect(right and len(set(names)) == len(names), _FORMAT, "a storage is described oddly")
    keys = _mentioned(described)
    expect(set(keys) == set(names), _FORMAT, "a storage is described oddly")
    storages = {name: _numbers(file, keys[name]) for name in names}
    expect(file.tell() == len(content), _FORMAT, "a storage has a wrong size")
    return described, lambda value: storages[storage_key(value).name]


def _mentioned(described: Any) -> dict[str, StorageKey]:
    """Every storage that an object refers to, by name."""
    found: dict[str, StorageKey] = {}
    waiting, seen = [described], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Persistent):
            key = storage_key(value)
            expect(found.setdefault(key.name, key) == key, _FORMAT, "a storage is described twice")
        elif isinstance(value, Made):
            waiting += [value.args, value.state, value.entries, value.items]
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return found


def _numbers(file: io.BytesIO, key: StorageKey) -> np.ndarray:
    """A count, and that many numbers."""
    count, size = int.from_bytes(file.read(8), "little"), key.count * key.dtype.itemsize
    left = file.getbuffer().nbytes - file.tell()
    expect(count == key.count and 0 <= size <= left, _FORMAT, "a storage has a wrong size")
    return np.frombuffer(file.read(size), key.dtype)


def tensor(value: Any, storage: Storage) -> np.ndarray:
    """A tensor as an array: a view of its storage, copied, after a check that it stays inside."""
    expect(isinstance(value, Made), _FORMAT, "a tensor in it is something else")
    if value.path == PARAMETER:
        expect(bool(value.args), _FORMAT, "a parameter in it is empty")
        value = value.args[0]
    right = isinstance(value, Made) and value.path == TENSOR and len(value.args) >= 4
    expect(right, _FORMAT, "a tensor in it is something else")
    described, offset, shape, strides = value.args[:4]
    expect(isinstance(described, Made | Persistent), _FORMAT, "a storage is described oddly")
    flat = storage(described)
    shape, strides = _counts(shape), _counts(strides)
    expect(len(shape) == len(strides) and isinstance(offset, int) and offset >= 0, _FORMAT, "a tensor has no shape")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    inside = last < flat.size and 0 < math.prod(shape) <= flat.size
    expect(inside, _FORMAT, "a tensor reaches past its storage")
    steps = [stride * flat.itemsize if size > 1 else 0 for size, stride in zip(shape, strides, strict=True)]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy(order="C")


def _counts(value: Any) -> tuple[int, ...]:
    value = value.args[0] if isinstance(value, Made) and value.path == "torch.Size" and value.args else value
    right = isinstance(value, tuple) and len(value) <= 8 and all(isinstance(n, int) and n >= 0 for n in value)
    expect(right, _FORMAT, "a tensor has no shape")
    return value
