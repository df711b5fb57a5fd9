"""What torch.save wrote (encoder_FFHQ.pt, stylegan2-ffhq-config-f.pt, ...), in its zip and in its older format.

Both hold a pickle, which is read as data (`symbolic_pickle`): dictionaries of tensors, however nested, or a whole
module of PyTorch's or NVIDIA's. Numbers and text beside the tensors are passed over.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from guide_lib.readers.common import ZIP_ERRORS, expect, refuse
from guide_lib.readers.modules import DICTIONARIES, StoredNetwork, is_module, module_names, read_module
from guide_lib.readers.symbolic import Made, symbolic_pickle
from guide_lib.readers.tensors import OLDER_MAGIC, LazyArrays, Storage, is_tensor, older_file, storage_key

_FORMAT = "checkpoint"
# what training scripts save beside the tensors: their options, and the bytes of NumPy's numbers
_BESIDE = {"argparse.Namespace", "_codecs.encode", "builtins.dict", "builtins.list", "__builtin__.dict"}
_ZIP = b"PK\x03\x04"
_MAX_DEPTH, _MAX_PARTS = 8, 100_000


def is_torch_file(content: bytes) -> bool:
    """Whether it begins as torch.save's files do, the newer or the older ones.

    >>> is_torch_file(b"PK\\x03\\x04..."), is_torch_file(b"<html>")
    (True, False)
    """
    return content.startswith((_ZIP, OLDER_MAGIC))


def torch_file(content: bytes) -> StoredNetwork:
    """The tensors by name, `a.b` for b in a dictionary a. Raises `GuideError` if there are none, or at other objects.

    Of a module of NVIDIA's, alone in the file or under `G_ema`, its settings as well. A tensor is read when it is asked
    for.

    >>> file = io.BytesIO()
    >>> torch.save({"g_ema": {"conv.bias": torch.ones(3)}, "step": 7}, file)
    >>> dict(torch_file(file.getvalue()).arrays)
    {'g_ema.conv.bias': array([1., 1., 1.], dtype=float32)}
    """
    tree, storage = _zipped(content) if content.startswith(_ZIP) else older_file(content, _allowed)
    held = _dictionary(tree) or {}
    for module in (tree, held.get("G_ema")):
        if is_module(module):
            return read_module(module, storage, len(content))
    described: dict[str, Made] = {}
    for name, value in _tensors(tree, iter(range(_MAX_PARTS))):
        right = name.isprintable() and not name.startswith("__")  # safetensors has its own
        expect(right and name not in described, _FORMAT, "a name in it is odd")
        described[name] = value
    expect(bool(described), _FORMAT, "it is not a dictionary of tensors")
    return StoredNetwork(LazyArrays(described, storage, len(content)))


def _allowed(path: str) -> bool:
    return path in _BESIDE or module_names(path)


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


def _zipped(content: bytes) -> tuple[Any, Storage]:
    """The newer format: an uncompressed zip archive of one folder with data.pkl and a file for each storage."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            whole = sum(member.file_size for member in members) <= len(content)
            expect(stored and whole, _FORMAT, "it is compressed, as no checkpoint is")
            files = {member.filename.partition("/")[2]: archive.read(member) for member in members}
    except ZIP_ERRORS as error:
        refuse(_FORMAT, f"it is a damaged archive: {str(error)[:80]}")
    expect(files.get("byteorder", b"little") == b"little", _FORMAT, "it is not little-endian")
    pickled = io.BytesIO(files.get("data.pkl", b""))
    tree = symbolic_pickle(pickled, _allowed)
    expect(pickled.tell() == len(files["data.pkl"]), _FORMAT, "something follows its end")
    read: dict[str, np.ndarray] = {}

    def storage(value: Any) -> np.ndarray:
        key = storage_key(value)
        if key.name not in read:
            numbers = files.get(f"data/{key.name}", b"")
            expect(len(numbers) == key.size, _FORMAT, "a storage has a wrong size")
            read[key.name] = key.numbers(numbers)
        expect(len(read[key.name]) == key.count, _FORMAT, "a storage is described twice")
        return read[key.name]

    return tree, storage
