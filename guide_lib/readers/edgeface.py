"""EdgeFace, a face recogniser stored as the ONNX graph that PyTorch exported (George et al. 2024)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from guide_lib.readers.common import Arrays, expect, refuse
from guide_lib.readers.onnx_graph import GRAPH_ERRORS, attributes, load_graph, stored_constants

_FORMAT = "EdgeFace ONNX"
WIDTHS, DEPTHS, KERNELS = (48, 96, 160, 304), (3, 3, 9, 3), (3, 5, 7, 9)
SPLITS = (1, 2, 3, 4)  # into how many parts the last block of a stage cuts its channels; the first stage has none
TOKENS = 14 * 14  # places in the second stage, whose attention alone knows where they lie
_HEADS, _NUMBERS = 8, 512
# the scalars of layer normalisation, GELU and the normalised attention; anything else would be another network
_SCALARS = {"Pow": (2,), "Div": (math.sqrt(2),), "Mul": (0.5,), "Add": (1e-6, 1), "Clip": (1e-12,)}
_PLAIN = {"Concat", "Erf", "Expand", "Flatten", "GlobalAveragePool", "MatMul", "ReduceL2", "ReduceMean", "Reshape"}
_PLAIN |= {"Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Transpose"}


def _path(node: Any) -> str:
    """The layer an operation belongs to: /model/stages/stages.0/blocks/blocks.1/mlp/fc1/linear1/MatMul is of
    stages.0.blocks.1.mlp.fc1.linear1."""
    parts = node.name.split("/")[2:-1]
    own = [part for part, after in zip(parts, [*parts[1:], ""], strict=True) if not after.startswith(f"{part}.")]
    return ".".join(["head", *own] if own[:1] == ["fc"] else own)


def _check_convolution(node: Any, weight: np.ndarray) -> None:
    """Depthwise ones keep the size, the others do not overlap."""
    settings, (kernel, wide) = attributes(node), weight.shape[2:]
    depthwise = weight.shape[1] == 1
    step, pad = (1, kernel // 2) if depthwise else (kernel, 0)
    right = kernel == wide and list(settings["strides"]) == [step] * 2 and list(settings["pads"]) == [pad] * 4
    right = right and settings["group"] == (weight.shape[0] if depthwise else 1)
    expect(right and list(settings["dilations"]) == [1, 1], _FORMAT, f"{node.name!r} is set otherwise")


def _check_scalars(node: Any, values: Arrays) -> None:
    for value in (values[name] for name in node.input if name in values):
        known = value.ndim > 0 or any(math.isclose(value, scalar, rel_tol=1e-3) for scalar in _SCALARS[node.op_type])
        expect(known, _FORMAT, f"{node.name!r} has the number {value}")


def _read_graph(graph: Any) -> Arrays:
    values = stored_constants(graph)
    tensors = {name.removeprefix("model."): array for name, array in values.items() if name.startswith("model.")}
    for node in graph.node:
        kind, added = node.op_type, values.get(node.input[1]) if len(node.input) > 1 else None
        if kind == "Conv":
            _check_convolution(node, added)
        elif kind == "MatMul" and added is not None:
            tensors[f"{_path(node)}.weight"] = added.T
        elif kind == "Add" and added is not None and added.ndim == 3:
            tensors[f"{_path(node)}.places"] = added[0]
        elif kind in _SCALARS:
            _check_scalars(node, values)
        elif kind == "Gemm":
            right = attributes(node)["transB"] == 1
            expect(right and attributes(node)["alpha"] == attributes(node)["beta"] == 1, _FORMAT, "the last product")
        else:
            expect(kind in _PLAIN, _FORMAT, f"it has a {kind} layer")
    expected = _expected_shapes()
    expect({name: a.shape for name, a in tensors.items()} == expected, _FORMAT, "its layers are not EdgeFace-S's")
    return {name: np.ascontiguousarray(tensors[name], dtype="<f4") for name in expected}


def _expected_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor."""
    shapes = _pair("stem.0", (WIDTHS[0], 3, 4, 4)) | _pair("stem.1", (WIDTHS[0],))
    for i, (width, depth, kernel, splits) in enumerate(zip(WIDTHS, DEPTHS, KERNELS, SPLITS, strict=True)):
        stage = f"stages.{i}"
        if i > 0:
            before = WIDTHS[i - 1]
            shapes |= _pair(f"{stage}.downsample.0", (before,)) | _pair(f"{stage}.downsample.1", (width, before, 2, 2))
        for k in range(depth):
            last = splits > 1 and k == depth - 1
            block = f"{stage}.blocks.{k}"
            shapes |= _split(block, width, splits) if last else _pair(f"{block}.conv_dw", (width, 1, kernel, kernel))
            shapes |= {f"{block}.gamma": (width,)} | _pair(f"{block}.norm", (width,))
            shapes |= _low_rank(f"{block}.mlp.fc1", width, 4 * width) | _low_rank(f"{block}.mlp.fc2", 4 * width, width)
    shapes[f"stages.1.blocks.{DEPTHS[1] - 1}.places"] = (TOKENS, WIDTHS[1])
    return shapes | _pair("head.norm", (WIDTHS[-1],)) | _low_rank("head.fc", WIDTHS[-1], _NUMBERS)


def _pair(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _low_rank(name: str, c_in: int, c_out: int) -> dict[str, tuple[int, ...]]:
    rank = min(c_in, c_out) // 2
    return {f"{name}.linear1.weight": (rank, c_in)} | _pair(f"{name}.linear2", (c_out, rank))


def _split(block: str, width: int, splits: int) -> dict[str, tuple[int, ...]]:
    part = math.ceil(width / splits)
    shapes = {f"{block}.gamma_xca": (width,), f"{block}.xca.temperature": (_HEADS, 1, 1)}
    for k in range(splits - 1):
        shapes |= _pair(f"{block}.convs.{k}", (part, 1, 3, 3))
    shapes |= _pair(f"{block}.norm_xca", (width,)) | _low_rank(f"{block}.xca.qkv", width, 3 * width)
    return shapes | _low_rank(f"{block}.xca.proj", width, width)


def edgeface(content: bytes) -> Arrays:
    """EdgeFace-S's parameters, float32: the network is RGB [N, 3, 112, 112] in [-1, 1] -> [N, 512], not normalised.

    Named as in PyTorch without the leading `model.`: a convolution or linear layer is `.weight` (linear: [out, in])
    and `.bias`, a layer normalisation over channels (epsilon 1e-6) the same two. Every linear layer is two, `.linear1`
    without a bias and `.linear2`, through half of the smaller width (`guide_lib.perception.edgeface`).
    `stages.1.blocks.2.places` [196, 96] is the encoding of positions, a constant at this size.
    """
    try:
        return _read_graph(load_graph(content, _FORMAT))
    except GRAPH_ERRORS as error:
        refuse(_FORMAT, f"it is damaged: {error!r}")
