"""What torch.save wrote (encoder_FFHQ.pt, stylegan2-ffhq-config-f.pt, ...), in its zip and in its older format.

Both hold a pickle, which is read as data (`symbolic_pickle`): dictionaries of tensors, however nested, or a whole
module of PyTorch's or NVIDIA's. Numbers and text beside the tensors are passed over.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from guide_lib.readers.common import ZIP_ERRORS, expect, refuse
from guide_lib.readers.modules import StoredNetwork
from guide_lib.readers.symbolic import symbolic_pickle
from guide_lib.readers.tensors import OLDER_MAGIC, Storage, older_file, storage_key
from guide_lib.readers.trees import network_in, tree_names

_FORMAT = "checkpoint"
_ZIP = b"PK\x03\x04"


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
    tree, storage = _zipped(content) if content.startswith(_ZIP) else older_file(content, tree_names)
    return network_in(tree, storage, len(content))


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
    tree = symbolic_pickle(pickled, tree_names)
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
