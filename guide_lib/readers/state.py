"""State dicts that torch.save wrote (encoder_FFHQ.pt, model_ir_se50.pth, ...), in its zip and in its older format.

Both hold a pickle, which is read as data (`symbolic_pickle`): a dictionary of tensors comes out or nothing at all.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from guide_lib.readers.common import ZIP_ERRORS, Arrays, expect, refuse
from guide_lib.readers.symbolic import Made, symbolic_pickle
from guide_lib.readers.tensors import OLDER_MAGIC, PARAMETER, STORAGES, TENSOR, Storage, older_file, storage_key, tensor

_FORMAT = "checkpoint"
_NAMES = {PARAMETER, TENSOR, "torch.Size", "collections.OrderedDict", *STORAGES}
_ZIP = b"PK\x03\x04"


def is_torch_file(content: bytes) -> bool:
    """Whether it begins as torch.save's files do, the newer or the older ones.

    >>> is_torch_file(b"PK\\x03\\x04..."), is_torch_file(b"<html>")
    (True, False)
    """
    return content.startswith((_ZIP, OLDER_MAGIC))


def torch_state(content: bytes) -> Arrays:
    """The tensors of a state dict by name. Raises `GuideError` at anything but a dictionary of tensors.

    >>> file = io.BytesIO()
    >>> torch.save({"conv.bias": torch.ones(3)}, file)
    >>> torch_state(file.getvalue())
    {'conv.bias': array([1., 1., 1.], dtype=float32)}
    """
    tree, storage = _zipped(content) if content.startswith(_ZIP) else older_file(content, _NAMES.__contains__)
    entries = tree.entries if isinstance(tree, Made) and tree.path == "collections.OrderedDict" else tree
    expect(isinstance(entries, dict) and bool(entries), _FORMAT, "it is not a dictionary of tensors")
    arrays: Arrays = {}
    held = 0
    for name, value in entries.items():
        right = isinstance(name, str) and name.isprintable() and not name.startswith("__")  # safetensors has its own
        expect(right, _FORMAT, "a name in it is odd")
        arrays[name] = tensor(value, storage)
        held += arrays[name].nbytes
        expect(held <= len(content), _FORMAT, "its tensors are larger than the file")
    return arrays


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
    tree = symbolic_pickle(pickled, _NAMES.__contains__)
    expect(pickled.tell() == len(files["data.pkl"]), _FORMAT, "something follows its end")

    def storage(value: Any) -> np.ndarray:
        key = storage_key(value)
        numbers = files.get(f"data/{key.name}", b"")
        expect(len(numbers) == key.count * key.dtype.itemsize, _FORMAT, "a storage has a wrong size")
        return np.frombuffer(numbers, key.dtype)

    return tree, storage
