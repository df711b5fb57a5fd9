"""SFace, a face recogniser stored as ONNX with weights in int8 blocks (OpenCV Zoo's `int8bq` build)."""

from typing import Any

import numpy as np

from guide_lib.readers.common import Arrays, expect, refuse
from guide_lib.readers.onnx_graph import GRAPH_ERRORS, attributes, load_graph, stored_constants

_FORMAT = "SFace ONNX"
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_STRIDE_2 = ("conv_3_dw", "conv_5_dw", "conv_7_dw", "conv_13_dw")
# output channels of the pointwise convolutions in conv_2 ... conv_14, each after a depthwise one
_POINTWISE = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


def dequantise_blocks(quantised: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int) -> np.ndarray:
    """ONNX DequantizeLinear with `block_size`: (quantised - zero) * scale, one scale per block along `axis`.

    quantised int8 [..., B * n, ...]; scale float32 and zero int8 [..., n, ...]; result float32.

    >>> dequantise_blocks(np.int8([[2, 4, 2, 4]]), np.float32([[0.5, 10]]), np.int8([[0, 2]]), axis=1)
    array([[ 1.,  2.,  0., 20.]], dtype=float32)
    """
    expect(
        quantised.dtype == zero.dtype == np.int8 and scale.dtype == np.float32,
        _FORMAT,
        "weights are not int8",
    )
    block = quantised.shape[axis] // max(scale.shape[axis], 1)
    covered = tuple(size * block if at == axis else size for at, size in enumerate(scale.shape))
    expect(scale.shape == zero.shape and covered == quantised.shape, _FORMAT, "blocks do not cover a weight")
    scale, zero = np.repeat(scale, block, axis), np.repeat(zero, block, axis)
    return (quantised.astype(np.float32) - zero.astype(np.float32)) * scale


def _constants(graph: Any) -> Arrays:
    """Every constant of the graph by name, after dequantisation and reshaping."""
    values = stored_constants(graph)
    held, made = sum(array.nbytes for array in values.values()), 0
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and all(name in values for name in node.input):
            quantised, scale, zero = (values[name] for name in node.input)
            values[node.output[0]] = dequantise_blocks(quantised, scale, zero, attributes(node).get("axis", 1))
            made += values[node.output[0]].nbytes
            expect(made <= 4 * held, _FORMAT, "its weights are used twice")  # from 8 to 32 bits
        elif node.op_type == "Reshape" and all(name in values for name in node.input):
            array, shape = (values[name] for name in node.input)
            values[node.output[0]] = array.reshape(shape)
    return values


def _named(node: Any, names: tuple[str, ...], values: Arrays) -> Arrays:
    """The node's constant inputs (all but its first input) under `<node>.<name>`."""
    inputs = list(node.input)[1:]
    known = len(inputs) == len(names) and all(name in values for name in inputs)
    expect(known, _FORMAT, f"{node.name!r} has unknown inputs")
    arrays = (np.ascontiguousarray(values[name], dtype="<f4") for name in inputs)
    return {f"{node.name}.{name}": array for name, array in zip(names, arrays, strict=True)}


def _layer(node: Any, values: Arrays) -> Arrays:
    """The parameters of one layer, after a check of the settings that the network code takes for granted."""
    settings = attributes(node)
    if node.op_type == "Conv":
        tensors = _named(node, ("weight",), values)
        weight = tensors[f"{node.name}.weight"]
        stride = 2 if node.name.startswith(_STRIDE_2) else 1
        right = list(settings["strides"]) == [stride] * 2 and settings["kernel_shape"] == list(weight.shape[2:])
        groups = weight.shape[0] if "_dw_" in node.name else 1
        pads_right = list(settings["pads"]) == [weight.shape[2] // 2] * 4
        expect(right and pads_right and settings["group"] == groups, _FORMAT, f"{node.name!r} is set otherwise")
        return tensors
    if node.op_type == "BatchNormalization":
        epsilon = 1e-3 if node.name.endswith("_batchnorm") else 2e-5
        expect(abs(settings["epsilon"] - epsilon) < 1e-3 * epsilon, _FORMAT, f"epsilon of {node.name!r}")
        return _named(node, _BATCH_NORM, values)
    if node.op_type == "PRelu":
        slopes = _named(node, ("weight",), values)
        return {name: array.reshape(-1) for name, array in slopes.items()}
    expect(settings["transB"] == 1 and settings["alpha"] == settings["beta"] == 1.0, _FORMAT, "the last product")
    return _named(node, ("weight", "bias"), values)


def _expected_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, in graph order."""
    convolutions = [("conv_1", (32, 3, 3, 3))]
    c_in = 32
    for i, width in enumerate(_POINTWISE, start=2):
        convolutions += [(f"conv_{i}_dw", (c_in, 1, 3, 3)), (f"conv_{i}", (width, c_in, 1, 1))]
        c_in = width
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in convolutions:
        shapes[f"{name}_conv2d.weight"] = shape
        shapes |= {f"{name}_batchnorm.{part}": shape[:1] for part in _BATCH_NORM}
        shapes[f"{name}_relu.weight"] = shape[:1]
    shapes |= {f"bn1.{part}": (1024,) for part in _BATCH_NORM}
    shapes |= {"pre_fc1.weight": (128, 1024 * 7 * 7), "pre_fc1.bias": (128,)}
    return shapes | {f"fc1.{part}": (128,) for part in _BATCH_NORM}


def _read_graph(graph: Any) -> Arrays:
    values = _constants(graph)
    shift, factor = values.get("scalar_op1"), values.get("scalar_op2")
    expect(shift is not None and shift.tolist() == [127.5], _FORMAT, "the input is shifted otherwise")
    expect(factor is not None and factor.tolist() == [1 / 128], _FORMAT, "the input is scaled otherwise")
    tensors: Arrays = {}
    for node in graph.node:
        if node.op_type in ("Conv", "BatchNormalization", "PRelu", "Gemm"):
            tensors |= _layer(node, values)
        else:
            known = ("DequantizeLinear", "Reshape", "Sub", "Mul", "Constant", "Dropout", "Flatten")
            expect(node.op_type in known, _FORMAT, f"it has a {node.op_type} layer")
    shapes = {name: array.shape for name, array in tensors.items()}
    expect(list(shapes.items()) == list(_expected_shapes().items()), _FORMAT, "its layers are not SFace's")
    return tensors


def sface(content: bytes) -> Arrays:
    """SFace's parameters, float32, by ONNX node: the network is RGB [N, 3, 112, 112] in 0..255 -> [N, 128].

    - the picture x becomes (x - 127.5) / 128
    - a convolution NAME is `NAME_conv2d.weight` [O, I, k, k] (no bias, padding k // 2),
      `NAME_batchnorm.{weight, bias, running_mean, running_var}` [O] (epsilon 1e-3) and `NAME_relu.weight` [O]
      (PReLU). NAME runs over conv_1, then conv_i_dw (3x3 depthwise) and conv_i (1x1) for i = 2 ... 14; stride
      2 in conv_3_dw, conv_5_dw, conv_7_dw and conv_13_dw, else 1
    - `bn1.*` [1024] (epsilon 2e-5), flattened [1024, 7, 7], `pre_fc1.{weight [128, 50176], bias}`, `fc1.*`
      [128] (epsilon 2e-5). The output is not normalised.
    """
    try:
        return _read_graph(load_graph(content, _FORMAT))
    except GRAPH_ERRORS as error:
        refuse(_FORMAT, f"it is damaged: {error!r}")
