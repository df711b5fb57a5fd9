"""Names and shapes of the tensors of the networks that can be loaded, written down without PyTorch.

The arguments are the sizes of the configurations in `guide_lib.generators`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

Shapes = dict[str, tuple[int, ...]]
CAMERA_NUMBERS = 25  # on which EG3D's mapping network is conditioned
_COUNTERS = ".num_batches_tracked"  # of batch normalisation: older files lack them, and nothing needs them


def stylegan2_layout(
    resolution: int, z_dim: int, w_dim: int, mapping_layers: int, channel_base: int, channel_max: int
) -> Shapes:
    """Every tensor of an unconditional StyleGAN2.

    >>> layout = stylegan2_layout(1024, z_dim=512, w_dim=512, mapping_layers=8, channel_base=32768, channel_max=512)
    >>> len(layout), layout["synthesis.b1024.conv1.weight"], layout["mapping.w_avg"]
    (182, (32, 32, 3, 3), (512,))
    """
    synthesis = _synthesis(resolution, 3, w_dim, channel_base, channel_max)
    return _below("synthesis", synthesis) | _below("mapping", _mapping(z_dim, w_dim, mapping_layers))


def eg3d_layout(
    plane_size: int,
    plane_channels: int,
    z_dim: int,
    w_dim: int,
    mapping_layers: int,
    channel_base: int,
    channel_max: int,
    decoder_width: int,
    enlarge_from: int,
    enlarge_widths: tuple[int, int],
) -> Shapes:
    """Every tensor of an EG3D whose super-resolution makes pictures four times as large as `enlarge_from`."""
    mapping = _mapping(z_dim + w_dim, w_dim, mapping_layers) | _linear("embed", CAMERA_NUMBERS, w_dim)
    synthesis = _synthesis(plane_size, 3 * plane_channels, w_dim, channel_base, channel_max)
    layout = _below("backbone.synthesis", synthesis) | _below("backbone.mapping", mapping)
    widths = (plane_channels, *enlarge_widths)
    for i in (0, 1):
        block = _block(widths[i], widths[i + 1], 3, w_dim, (2 << i) * enlarge_from)
        layout |= _below(f"superresolution.block{i}", block)
    layout |= _linear("decoder.net.0", plane_channels, decoder_width)
    return layout | _linear("decoder.net.2", decoder_width, 1 + plane_channels)


def digest(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """A short name of a layout, the same whatever the order.

    >>> digest({"a": (1,), "b": (2, 3)}) == digest({"b": (2, 3), "a": (1,)}) != digest({"a": (1,), "b": (6,)})
    True
    """
    lines = sorted(f"{name} {tuple(shape)}" for name, shape in shapes.items() if not name.endswith(_COUNTERS))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _below(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _mapping(inputs: int, w_dim: int, layers: int) -> Shapes:
    shapes: Shapes = {"w_avg": (w_dim,)}
    for i in range(layers):
        shapes |= _linear(f"fc{i}", inputs if i == 0 else w_dim, w_dim)
    return shapes


def _synthesis(size: int, image_channels: int, w_dim: int, channel_base: int, channel_max: int) -> Shapes:
    shapes: Shapes = {}
    before = 0
    for r in (4 << i for i in range(size.bit_length() - 2)):
        width = min(channel_base // r, channel_max)
        shapes |= _below(f"b{r}", _block(before, width, image_channels, w_dim, r))
        before = width
    return shapes


def _block(c_in: int, c_out: int, image_channels: int, w_dim: int, size: int) -> Shapes:
    """Two convolutions and a head; the first block has a constant in place of the first convolution."""
    first = _below("conv0", _layer(c_in, c_out, w_dim, size)) if c_in else {"const": (c_out, size, size)}
    head = {"weight": (image_channels, c_out, 1, 1), "bias": (image_channels,)} | _linear("affine", w_dim, c_out)
    rest = _below("conv1", _layer(c_out, c_out, w_dim, size)) | _below("torgb", head)
    return first | rest | {"resample_filter": (4, 4)}


def _layer(c_in: int, c_out: int, w_dim: int, size: int) -> Shapes:
    shapes = {"weight": (c_out, c_in, 3, 3), "bias": (c_out,), "noise_strength": (), "noise_const": (size, size)}
    return shapes | {"resample_filter": (4, 4)} | _linear("affine", w_dim, c_in)
