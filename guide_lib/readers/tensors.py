"""PyTorch's tensors as its files describe them: a storage of numbers, and the shape and strides that look at it.

`older_file` reads what torch.save wrote before 1.6; `tensor` makes an array of each description in it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
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
    "torch.BFloat16Storage": "<u2",  # NumPy has no such numbers: see `widened`
}
GROWTH = 2  # how much larger than its file an honest checkpoint becomes, if all its numbers are bfloat16
OLDER_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how every file of the older format begins
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001

Storage = Callable[[Any], np.ndarray]


class StorageKey(NamedTuple):
    """What a pickle says about a storage that lies outside it; kind, name, count: of its numbers."""

    kind: str
    name: str
    count: int

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.count * np.dtype(STORAGES[self.kind]).itemsize

    def numbers(self, content: bytes) -> np.ndarray:
        """The storage as an array."""
        flat = np.frombuffer(content, STORAGES[self.kind])
        return widened(flat) if self.kind == "torch.BFloat16Storage" else flat


def widened(flat: np.ndarray) -> np.ndarray:
    """bfloat16, read as uint16, in single precision, whose upper half it is.

    >>> widened(np.uint16([0x3F80, 0xC000]))
    array([ 1., -2.], dtype=float32)
    """
    return (flat.astype("<u4") << 16).view("<f4")


def storage_key(value: Any) -> StorageKey:
    """Its kind, name and size, from the pickle's reference."""
    key = value.key if isinstance(value, Persistent) else None
    right = isinstance(key, tuple) and len(key) >= 5 and key[0] == "storage" and isinstance(key[1], Name)
    right = right and isinstance(key[2], str) and isinstance(key[4], int) and key[5:] in ((), (None,))
    expect(right and key[1].path in STORAGES, _FORMAT, "a storage is described oddly")
    return StorageKey(key[1].path, key[2], key[4])


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
    count = int.from_bytes(file.read(8), "little")
    left = file.getbuffer().nbytes - file.tell()
    expect(count == key.count and 0 <= key.size <= left, _FORMAT, "a storage has a wrong size")
    return key.numbers(file.read(key.size))


def is_tensor(value: Any) -> bool:
    """Whether a pickle describes a tensor, or a parameter."""
    return isinstance(value, Made) and value.path in (PARAMETER, TENSOR)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a tensor, as it is described."""
    return _counts(_parts(value)[2])


def tensor(value: Any, storage: Storage) -> np.ndarray:
    """A tensor as an array: a view of its storage, copied, after a check that it stays inside."""
    described, offset, shape, strides = _parts(value)
    expect(isinstance(described, Made | Persistent), _FORMAT, "a storage is described oddly")
    flat = storage(described)
    shape, strides = _counts(shape), _counts(strides)
    expect(len(shape) == len(strides) and isinstance(offset, int) and offset >= 0, _FORMAT, "a tensor has no shape")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    inside = last < flat.size and 0 < math.prod(shape) <= flat.size
    expect(inside, _FORMAT, "a tensor reaches past its storage")
    steps = [stride * flat.itemsize if size > 1 else 0 for size, stride in zip(shape, strides, strict=True)]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy(order="C")


def _parts(value: Any) -> tuple[Any, Any, Any, Any]:
    """Storage, offset, shape and strides of a tensor or of a parameter."""
    expect(is_tensor(value), _FORMAT, "a tensor in it is something else")
    if value.path == PARAMETER:
        expect(bool(value.args), _FORMAT, "a parameter in it is empty")
        value = value.args[0]
    right = is_tensor(value) and value.path == TENSOR and len(value.args) >= 4
    expect(right, _FORMAT, "a tensor in it is something else")
    return value.args[:4]


def _counts(value: Any) -> tuple[int, ...]:
    value = value.args[0] if isinstance(value, Made) and value.path == "torch.Size" and value.args else value
    right = isinstance(value, tuple) and len(value) <= 8 and all(isinstance(n, int) and n >= 0 for n in value)
    expect(right, _FORMAT, "a tensor has no shape")
    return value


class LazyArrays(Mapping):
    """The tensors of a file of `limit` bytes by name; each becomes an array when it is asked for, so that few of many
    cost little."""

    def __init__(self, described: dict[str, Made], storage: Storage, limit: int) -> None:
        self._described, self._storage = described, storage
        self._left = GROWTH * limit  # a few bytes can name one storage many times

    def __iter__(self) -> Iterator[str]:
        return iter(self._described)

    def __len__(self) -> int:
        return len(self._described)

    def __contains__(self, name: object) -> bool:
        return name in self._described

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the tensors, as the file describes them."""
        return {name: shape_of(value) for name, value in self._described.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        array = tensor(self._described[name], self._storage)
        self._left -= array.nbytes
        expect(self._left >= 0, _FORMAT, "its tensors are larger than the file")
        return array
