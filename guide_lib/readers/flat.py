"""Safetensors files of other programs: tensors by name, and nothing that could run."""

from __future__ import annotations

import json

import numpy as np
import safetensors

from guide_lib.readers.common import expect, refuse
from guide_lib.readers.modules import StoredNetwork
from guide_lib.readers.tensors import widened

_FORMAT = "safetensors"
_KINDS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "|u1",
    "BOOL": "|b1",
}


def safetensors_facts(content: bytes) -> dict[str, str] | None:
    """What a safetensors file says of itself beside its tensors; None for any other file.

    >>> from safetensors.numpy import save
    >>> safetensors_facts(save({"a": np.ones(2)}, {"of": "this"})), safetensors_facts(b"<html>")
    ({'of': 'this'}, None)
    """
    length = int.from_bytes(content[:8], "little")
    if content[8:9] != b"{" or length > len(content) - 8:
        return None
    try:
        facts = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else {}


def safetensors_file(content: bytes) -> StoredNetwork:
    """The tensors of a safetensors file. Raises `GuideError` if it is damaged or its numbers are of an unknown kind.

    >>> from safetensors.numpy import save
    >>> safetensors_file(save({"a": np.ones(2)})).shapes
    {'a': (2,)}
    """
    try:
        described = dict(safetensors.deserialize(content))
    except safetensors.SafetensorError as error:
        refuse(_FORMAT, str(error))
    arrays = {}
    for name, tensor in described.items():
        kind = tensor["dtype"]
        expect(kind in _KINDS, _FORMAT, f"{name} holds numbers of the kind {kind}")
        flat = np.frombuffer(tensor["data"], _KINDS[kind])
        arrays[name] = (widened(flat) if kind == "BF16" else flat).reshape(tensor["shape"])
    return StoredNetwork(arrays)
