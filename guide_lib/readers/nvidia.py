"""Generators from NVIDIA's pickles (StyleGAN2-ADA, StyleGAN3, EG3D), whose objects carry their own source code.

Such a file asks to run the source that it carries. Here it is read as data (`symbolic_pickle`): of every module only
the parameters, buffers and settings are taken, and neither its source nor anything else in the file runs.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np

from guide_lib.readers.common import expect
from guide_lib.readers.modules import StoredNetwork
from guide_lib.readers.symbolic import Made, symbolic_pickle
from guide_lib.readers.tensors import STORAGES, Storage, older_file
from guide_lib.readers.trees import network_in, tree_names

_FORMAT = "generator pickle"
STORED = "torch.storage._load_from_bytes"


def _allowed(path: str) -> bool:
    return path == STORED or tree_names(path)


def nvidia_generator(content: bytes) -> StoredNetwork:
    """The moving-average generator `G_ema` of a pickle, read without running anything in it.

    So are the tensors of a state that was pickled alone. Raises `GuideError` at anything but networks.
    """
    expect(content[:2] != b"PK", _FORMAT, "it is a zip archive, not a pickle of networks")
    file = io.BytesIO(content)
    tree = symbolic_pickle(file, _allowed)
    expect(file.tell() == len(content), _FORMAT, "something follows its end")
    return network_in(tree, _storages(), len(content))


def _storages() -> Storage:
    """What finds the numbers of a storage, each of them once: many tensors may look at one."""
    read = functools.cache(_storage)

    def storage(value: Any) -> np.ndarray:
        expect(isinstance(value, Made), _FORMAT, "a storage in it is something else")  # others are costly to look up
        return read(value)

    return storage


def _storage(value: Made) -> np.ndarray:
    """The numbers of a storage, saved by torch.save's older format as a file of its own."""
    right = value.path == STORED and len(value.args) == 1
    expect(right and isinstance(value.args[0], bytes), _FORMAT, "a storage in it is something else")
    described, read = older_file(value.args[0], STORAGES.__contains__)
    return read(described)
