"""MobileStyleGAN (Belousov 2021, arXiv 2104.04767) from its OpenVINO graphs."""

import math

import numpy as np

from guide_lib.readers.common import Arrays, expect, refuse
from guide_lib.readers.openvino import IR, openvino_constants

_WIDTHS = (512, 512, 512, 512, 512, 256, 128, 64)  # channels at 4, 8, ..., 512 px


class _Constants:
    """Float constants of a graph, taken out one by one, so that whatever is left over can be noticed."""

    def __init__(self, constants: Arrays) -> None:
        self.left = {name: array for name, array in constants.items() if array.dtype == np.float32}

    def named(self, name: str, old_shape: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
        array = self.left.pop(name, None)
        expect(array is not None, IR, f"the constant {name!r} is missing")
        expect(array.shape == old_shape, IR, f"{name!r} has shape {array.shape}, not {old_shape}")
        return np.ascontiguousarray(array.reshape(shape))

    def first(self, prefix: str, suffix: str, shape: tuple[int, ...]) -> np.ndarray:
        """The first remaining constant in graph order with a machine-made name `<prefix><digits><suffix>`."""
        for name, array in self.left.items():
            digits = name[len(prefix) : len(name) - len(suffix)]
            if name == f"{prefix}{digits}{suffix}" and digits.isdigit() and array.shape == shape:
                return self.named(name, shape, shape)
        refuse(IR, f"no constant {prefix}<number>{suffix} of shape {shape} is left")

    def finish(self, allowed: set[float]) -> None:
        """Refuse the graph if a left-over constant holds anything but the fixed numbers in `allowed`."""
        for name, array in self.left.items():
            known = np.isclose(array.reshape(-1, 1), sorted(allowed), rtol=1e-6, atol=0).any(axis=1).all()
            expect(bool(known), IR, f"the constant {name!r} is not expected")


def _mapping_from_ir(constants: _Constants) -> Arrays:
    tensors: Arrays = {}
    for i in range(8):
        tensors[f"mapping_network.{i}.weight"] = constants.first("", "", (512, 512))
        tensors[f"mapping_network.{i}.bias"] = constants.first("", "", (512,))
    # powers 2, 0.5 and -1 and the 1e-8 of the normalisation; leaky ReLU's 0.2, then the gain sqrt(2)
    constants.finish({1.0, 2.0, 0.5, -1.0, float(np.float32(1e-8)), 0.2, math.sqrt(2)})
    return tensors


def _modulation(constants: _Constants, source: str, target: str, width: int) -> Arrays:
    return {
        f"{target}.modulation.weight": constants.named(f"{source}.weight", (width, 512), (width, 512)),
        f"{target}.modulation.bias": constants.named(f"{source}.bias", (1, width), (width,)),
    }


def _styled_convolution(constants: _Constants, name: str, c_in: int, c_out: int, size: int) -> Arrays:
    """One of the two depthwise-separable convolutions of a block."""
    source, target = f"m.{name}", f"synthesis_network.{name}"
    tensors = _modulation(constants, f"{source}.conv.modulation", target, c_in)
    depthwise = constants.named(f"{source}.conv.weight_dw", (c_in, 1, 1, 3, 3), (c_in, 1, 3, 3))
    return tensors | {
        f"{target}.depthwise": depthwise,
        f"{target}.pointwise": constants.first("Mul_", "_copy", (c_out, c_in, 1, 1)),
        f"{target}.noise": constants.first("", "", (1, 1, size, size)),
        f"{target}.bias": constants.named(f"{source}.bias", (1, c_out, 1, 1), (c_out,)),
    }


def _synthesis_from_ir(constants: _Constants) -> Arrays:
    first, net = "synthesis_network.conv1", "synthesis_network"
    tensors = {f"{net}.input": constants.named("m.input.input", (1, 512, 4, 4), (1, 512, 4, 4))}
    tensors |= _modulation(constants, "m.conv1.conv.modulation", first, 512)
    tensors[f"{first}.weight"] = constants.first("Mul_", "_copy", (512, 512, 3, 3))
    tensors[f"{first}.noise"] = constants.first("", "", (1, 1, 4, 4))
    tensors[f"{first}.bias"] = constants.named("m.conv1.bias", (1, 512, 1, 1), (512,))
    fans = [512]
    for i, (c_in, c_out) in enumerate(zip(_WIDTHS[:-1], _WIDTHS[1:], strict=True)):
        block, size = f"layers.{i}", 8 << i
        tensors |= _modulation(constants, f"m.{block}.up.modulation", f"{net}.{block}.up", c_in)
        tensors |= _styled_convolution(constants, f"{block}.conv1", c_in // 4, c_out, size)
        tensors |= _styled_convolution(constants, f"{block}.conv2", c_out, c_out, size)
        fans += [c_in // 4, c_out]
    head = "m.layers.6.to_img"
    tensors |= _modulation(constants, f"{head}.conv.modulation", f"{net}.to_img", 64)
    tensors[f"{net}.to_img.weight"] = constants.named(f"{head}.conv.weight", (12, 64, 1, 1), (12, 64, 1, 1))
    tensors[f"{net}.to_img.bias"] = constants.named(f"{head}.bias", (1, 12, 1, 1), (12,))
    haar = {math.sqrt(0.5), -math.sqrt(0.5)}
    constants.finish(haar | {0.2, 1 / 8} | {1 / math.sqrt(9 * fan) for fan in fans})
    return tensors


def mobilestylegan_from_ir(
    mapping_xml: bytes, mapping_bin: bytes, synthesis_xml: bytes, synthesis_bin: bytes
) -> Arrays:
    """MobileStyleGAN-FFHQ's parameters, float32, under the names of a plain PyTorch module.

    - `mapping_network.{0..7}.weight` [512 out, 512 in], `.bias` [512]
    - `synthesis_network.input` [1, 512, 4, 4]; `synthesis_network.conv1.{weight, noise, bias}` with weight
      [512, 512, 3, 3]
    - `synthesis_network.layers.{0..6}.{conv1, conv2}.{depthwise [C,1,3,3], pointwise [O,C,1,1],
      noise [1,1,S,S], bias [O]}`
    - `synthesis_network.to_img.{weight [12,64,1,1], bias [12]}`
    - `.modulation.{weight [C, 512], bias [C]}` of conv1, of each block's up, conv1, conv2 and of to_img

    The graph's fixed numbers stay out and are only checked: modulations are scaled by 1/sqrt(9 C_in) in the
    convolutions and by 1/8 in to_img; `up` is not scaled; demodulation is folded into the weights. Constants
    without a name of their own are told apart by their shape and their order in the graph.
    """
    mapping = _mapping_from_ir(_Constants(openvino_constants(mapping_xml, mapping_bin)))
    return mapping | _synthesis_from_ir(_Constants(openvino_constants(synthesis_xml, synthesis_bin)))
