"""StyleGAN2's building blocks (Karras et al. 2020, arXiv 1912.04958) in plain PyTorch.

Parameters and buffers carry the names of NVIDIA's checkpoints, so a converted one loads strictly. Weights are kept
at unit variance and scaled when they are used ("equalised learning rate"); a fresh module holds no values until
`initialise` or `load_state_dict` gives it some.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from guide_lib.generators.base import StyleLayer
from guide_lib.generators.convolution import convolve

# Per-pixel noise: the stored map, none, or fresh draws from a CPU generator.
Noise: TypeAlias = Literal["const", "none"] | torch.Generator
GAIN = math.sqrt(2)  # of every leaky ReLU: keeps the variance
MAPPING_LR = 0.01  # the mapping network learns a hundred times slower than the rest


def binomial_filter() -> Tensor:
    """The low-pass filter of every resampling, [1, 3, 3, 1] x [1, 3, 3, 1] / 64: [4, 4]."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64


def filter_2d(x: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    """Convolve every channel of x [N, C, H, W] with kernel [kh, kw]; zeros around it."""
    channels = x.shape[1]
    depthwise = kernel.flip((0, 1)).to(x.dtype).expand(channels, 1, -1, -1)
    return convolve(x, depthwise, padding, groups=channels)


def upsample_2d(x: Tensor, kernel: Tensor) -> Tensor:
    """Double the size: zeros between the pixels, then the 4 x 4 low-pass `kernel` times 4. [N, C, 2H, 2W].

    >>> upsample_2d(torch.ones(1, 1, 4, 4), binomial_filter())[0, 0, 3, :4].tolist()      # darker at the border
    [0.75, 1.0, 1.0, 1.0]
    """
    channels = x.shape[1]
    depthwise = (4 * kernel).to(x.dtype).expand(channels, 1, -1, -1)
    return F.conv_transpose2d(x, depthwise, stride=2, padding=1, groups=channels)


def unit_second_moment(x: Tensor) -> Tensor:
    """Scale each row of x [N, D] so that its mean square is 1.

    >>> unit_second_moment(torch.tensor([[3.0, 4.0]])).square().mean().item()
    1.0
    """
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2 times `GAIN`."""
    return F.leaky_relu(x, 0.2) * GAIN


def limited(x: Tensor, clamp: float | None) -> Tensor:
    """x between -clamp and clamp; None is no limit."""
    return x if clamp is None else x.clamp(-clamp, clamp)


def modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, *, demodulate: bool = True, up: Tensor | None = None, gain: float = 1.0
) -> Tensor:
    """Convolution whose weight is scaled per picture: weight * styles, then to norm `gain` per output channel.

    x: [N, I, H, W]; weight: [O, I, k, k]; styles: [N, I]; without `demodulate` there is no norm, and no gain. With a
    low-pass filter `up` [4, 4] the output has twice the size. Scaling the channels before and after one shared
    convolution equals scaling the weight (equations 1 and 3 of the paper) and needs no weight per picture; the norm
    only needs the weight's squares summed over taps.

    >>> x, weight, styles = torch.randn(2, 4, 8, 8), torch.randn(5, 4, 3, 3), torch.rand(2, 4) + 0.5
    >>> torch.allclose(modulated_conv2d(x, weight, styles), modulated_conv2d(x, weight, 10 * styles), atol=1e-4)
    True
    """
    if demodulate and x.dtype == torch.float16:
        # Demodulation undoes any scale; this one keeps half precision from overflowing on the way.
        weight = weight / (weight.abs().amax((1, 2, 3), keepdim=True) * math.sqrt(weight[0].numel()))
        styles = styles / styles.abs().amax(1, keepdim=True)
    y = x * styles.to(x.dtype)[:, :, None, None]
    kernel = weight.to(x.dtype)
    if up is None:
        y = convolve(y, kernel, padding=weight.shape[-1] // 2)
    else:
        y = convolve(y, kernel.transpose(0, 1), doubles=True)
        y = filter_2d(y, 4 * up, padding=1)
    if not demodulate:
        return y
    energy = styles.square() @ weight.square().sum((2, 3)).T
    return y * (gain * torch.rsqrt(energy + 1e-8)).to(y.dtype)[:, :, None, None]


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate: [N, I] -> [N, O]."""

    def __init__(self, c_in: int, c_out: int, lr: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(c_out, c_in))
        self.bias = nn.Parameter(torch.empty(c_out))
        self.gain, self.lr = lr / math.sqrt(c_in), lr

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.lr)

    def style_layer(self, row: int) -> StyleLayer:
        """This layer as one that makes styles of a row of W+; such layers learn at the common rate (lr = 1)."""
        return StyleLayer(self.weight, self.bias, row, self.gain)


class MappingNetwork(nn.Module):
    """z [N, z_dim] and, if c_dim is not 0, a condition c [N, c_dim] -> w [N, w_dim]."""

    def __init__(self, z_dim: int, w_dim: int, depth: int, c_dim: int = 0) -> None:
        super().__init__()
        self.depth = depth
        self.embed = FullyConnected(c_dim, w_dim) if c_dim else None
        widths = (z_dim + (w_dim if c_dim else 0), *[w_dim] * depth)
        for i in range(depth):
            self.add_module(f"fc{i}", FullyConnected(widths[i], widths[i + 1], MAPPING_LR))
        self.register_buffer("w_avg", torch.empty(w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        x = unit_second_moment(z)
        if self.embed is not None:
            x = torch.cat([x, unit_second_moment(self.embed(c))], dim=1)
        for i in range(self.depth):
            x = activate(self.get_submodule(f"fc{i}")(x))
        return x

    def rows(self, w: Tensor, rows: int, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """w [N, w_dim] -> ws [N, rows, w_dim], pulled toward w_avg by `truncation` in the first `cutoff` rows."""
        ws = w[:, None].expand(-1, rows, -1)
        pulled = torch.lerp(self.w_avg.expand_as(ws), ws, truncation)
        return pulled if cutoff is None else torch.cat([pulled[:, :cutoff], ws[:, cutoff:]], dim=1)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU: [N, I, H, W] -> [N, O, size, size]; takes one row of W+."""

    def __init__(
        self, c_in: int, c_out: int, w_dim: int, size: int, *, up: bool = False, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.up, self.clamp = up, clamp
        self.affine = FullyConnected(w_dim, c_in)
        self.weight = nn.Parameter(torch.empty(c_out, c_in, 3, 3))
        self.noise_strength = nn.Parameter(torch.empty(()))
        self.bias = nn.Parameter(torch.empty(c_out))
        self.register_buffer("resample_filter", binomial_filter())
        self.register_buffer("noise_const", torch.empty(size, size))

    def forward(self, x: Tensor, w: Tensor, noise: Noise = "const") -> Tensor:
        # The gain of the activation goes in front of it, into the norm and the offset: a pass over the picture less.
        up = self.resample_filter if self.up else None
        x = modulated_conv2d(x, self.weight, self.affine(w), up=up, gain=GAIN)
        offset = self.bias[:, None, None]
        if noise == "const":
            offset = offset + self.noise_const * self.noise_strength
        elif noise != "none":
            drawn = torch.randn(len(x), 1, *self.noise_const.shape, generator=noise)
            offset = offset + drawn.to(self.noise_const) * self.noise_strength
        return limited(F.leaky_relu(x + (GAIN * offset).to(x.dtype), 0.2, inplace=True), self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution without demodulation: [N, C, H, W] -> [N, image_channels, H, W]."""

    def __init__(self, channels: int, image_channels: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp, self.gain = clamp, 1 / math.sqrt(channels)
        self.affine = FullyConnected(w_dim, channels)
        self.weight = nn.Parameter(torch.empty(image_channels, channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(image_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = modulated_conv2d(x, self.weight, self.affine(w) * self.gain, demodulate=False)
        x = x + self.bias.to(x.dtype)[:, None, None]
        return limited(x, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: double the size and convolve twice, add to the picture. The first block starts from a constant.

    `half` computes in half precision on CUDA, as the released networks were trained; the picture stays in single.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        w_dim: int,
        size: int,
        image_channels: int,
        *,
        clamp: float | None = None,
        half: bool = False,
    ) -> None:
        super().__init__()
        self.half_on_cuda = half
        if c_in:
            self.conv0 = StyledConv(c_in, c_out, w_dim, size, up=True, clamp=clamp)
        else:
            self.const = nn.Parameter(torch.empty(c_out, size, size))
        self.register_buffer("resample_filter", binomial_filter())
        self.conv1 = StyledConv(c_out, c_out, w_dim, size, clamp=clamp)
        self.torgb = ToRGB(c_out, image_channels, w_dim, clamp)

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, noise: Noise = "const"
    ) -> tuple[Tensor, Tensor]:
        """x: features, image: the picture so far (both None in the first block); ws: [N, 3, w_dim], 2 in the first."""
        dtype = torch.float16 if self.half_on_cuda and ws.is_cuda else torch.float32
        if image is None:
            x, skip = self.const.to(dtype).expand(len(ws), -1, -1, -1), 0.0
        else:
            x, skip = self.conv0(x.to(dtype), ws[:, 0], noise), upsample_2d(image, self.resample_filter)
        x = self.conv1(x, ws[:, -2], noise)
        return x, skip + self.torgb(x, ws[:, -1]).float()


def block_style_layers(block: SynthesisBlock, rows: Sequence[int]) -> dict[str, StyleLayer]:
    """The style layers of a block by name within it; rows: of W+, three as its `forward` takes, or two in the first."""
    convolutions = [name for name in ("conv0", "conv1", "torgb") if hasattr(block, name)]
    pairs = zip(convolutions, rows, strict=True)
    return {f"{name}.affine": block.get_submodule(name).affine.style_layer(row) for name, row in pairs}


class SynthesisNetwork(nn.Module):
    """ws [N, rows, w_dim] -> the picture [N, image_channels, size, size] and the last feature map.

    Blocks b4, b8, ... b{size}; at resolution r they are min(channel_base / r, channel_max) wide. The head of a block
    shares its row of W+ with the first convolution of the next one. The last `half_blocks` may run in half precision.
    """

    def __init__(
        self,
        w_dim: int,
        size: int,
        image_channels: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        clamp: float | None = None,
        half_blocks: int = 0,
    ) -> None:
        super().__init__()
        self.sizes = [4 << i for i in range(size.bit_length() - 2)]
        self.rows = 2 * len(self.sizes)
        c_in = 0
        for i, r in enumerate(self.sizes):
            c_out, half = min(channel_base // r, channel_max), i >= len(self.sizes) - half_blocks
            block = SynthesisBlock(c_in, c_out, w_dim, r, image_channels, clamp=clamp, half=half)
            self.add_module(f"b{r}", block)
            c_in = c_out

    def forward(self, ws: Tensor, noise: Noise = "const") -> tuple[Tensor, Tensor]:
        x, image = self.b4(None, None, ws[:, :2], noise)
        for i, r in enumerate(self.sizes[1:]):
            x, image = self.get_submodule(f"b{r}")(x, image, ws[:, 2 * i + 1 : 2 * i + 4], noise)
        return image, x.float()

    def style_layers(self) -> dict[str, StyleLayer]:
        """By name in this network, each with the row of W+ that `forward` hands to it."""
        found = {}
        for i, r in enumerate(self.sizes):
            rows = range(2 * i - 1, 2 * i + 2) if i else range(2)
            layers = block_style_layers(self.get_submodule(f"b{r}"), rows)
            found |= {f"b{r}.{name}": layer for name, layer in layers.items()}
        return found


class Backbone(nn.Module):
    """Both networks under the names that NVIDIA's checkpoints give them; the methods of a `Generator` need others."""

    def __init__(self, synthesis: SynthesisNetwork, mapping: MappingNetwork) -> None:
        super().__init__()
        self.synthesis, self.mapping = synthesis, mapping


@torch.no_grad()
def initialise(network: nn.Module, rng: torch.Generator) -> None:
    """Draw fresh weights as training starts with: unit normal, biases 0 (1 for styles), noise switched off."""
    for name, tensor in network.state_dict().items():
        if name.endswith("affine.bias"):
            tensor.fill_(1)
        elif name.endswith((".bias", "noise_strength", "w_avg")):
            tensor.zero_()
        elif not name.endswith("resample_filter"):
            tensor.copy_(torch.randn(tensor.shape, generator=rng))
            if ".fc" in f".{name}":
                tensor.div_(MAPPING_LR)
