"""MobileStyleGAN-FFHQ (Belousov 2021, arXiv 2104.04767): the default generator, in plain PyTorch.

A mapping network turns z into w. The synthesis network starts from a learned constant at 4 px; each of its seven
blocks doubles the size with an inverse Haar transform and applies two depthwise-separable convolutions whose
input channels w scales ("modulation"). An image head turns the last feature map into RGB.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from guide_lib.assets import fetch, shipped
from guide_lib.errors import GuideError
from guide_lib.generators.base import Generator, Rendering, StyleLayer, View
from guide_lib.runtime import picture_layout

W_DIM = 512
INPUT_SIZE = 4
BLOCK_WIDTHS = (512, 512, 512, 512, 256, 128, 64)  # at 8, 16, ..., 512 px
BLOCKS_FOR = {128: 4, 256: 5, 512: 7, 1024: 7}  # output resolution -> number of blocks it needs


def inverse_haar(x: Tensor) -> Tensor:
    """One level of the inverse 2-D Haar transform: [N, 4C, H, W] -> [N, C, 2H, 2W].

    The first C channels are the low band; the others hold, for each output channel in turn, the detail between
    rows, the detail between columns, and the diagonal one.

    >>> low_only = torch.tensor([2.0, 0.0, 0.0, 0.0]).view(1, 4, 1, 1)
    >>> inverse_haar(low_only)[0, 0].tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    n, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1)  # channels last, as nearly all devices want them
    low, detail = x[..., : channels // 4], x[..., channels // 4 :]
    vertical, horizontal, diagonal = detail.unflatten(-1, (-1, 3)).unbind(-1)
    top, bottom = low + vertical, low - vertical
    top_step, bottom_step = horizontal + diagonal, horizontal - diagonal
    phases = (top + top_step, top - top_step, bottom + bottom_step, bottom - bottom_step)
    grid = 0.5 * torch.stack(phases, dim=3).unflatten(3, (2, 2))  # [N, H, W, 2, 2, C]
    doubled = grid.transpose(2, 3).reshape(n, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)
    return doubled.contiguous(memory_format=picture_layout(x.device))


class Mapping(nn.ModuleList):
    """z [N, 512] -> w [N, 512]: unit second moment, then eight linear layers with a leaky ReLU."""

    def __init__(self, depth: int = 8) -> None:
        super().__init__(nn.Linear(W_DIM, W_DIM) for _ in range(depth))

    def forward(self, z: Tensor) -> Tensor:
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self:
            x = F.leaky_relu(layer(x), 0.2) * math.sqrt(2)
        return x


class Upsample(nn.Module):
    """Scale the channels by a linear function of w, then double the size: [N, C, H, W] -> [N, C/4, 2H, 2W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(W_DIM, channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return inverse_haar(x * self.modulation(w)[:, :, None, None])


class StyledConv(nn.Module):
    """A modulated depthwise 3x3 and pointwise 1x1 convolution, fixed noise, bias and leaky ReLU.

    Demodulation is constant in this network and already folded into `pointwise`.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(W_DIM, in_channels)
        self.depthwise = nn.Parameter(torch.empty(in_channels, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.register_buffer("noise", torch.empty(1, 1, size, size))
        self.gain = 1 / math.sqrt(9 * in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.modulation(w)[:, :, None, None] * self.gain
        x = F.conv2d(x * style, self.depthwise, padding=1, groups=x.shape[1])
        x = F.conv2d(x, self.pointwise, self.bias)
        return F.leaky_relu(x + self.noise.to(x.dtype), 0.2, inplace=True)


class InputConv(nn.Module):
    """The first convolution: modulated, full 3x3, on the learned constant."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(W_DIM, channels)
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("noise", torch.empty(1, 1, size, size))
        self.gain = 1 / math.sqrt(9 * channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.modulation(w)[:, :, None, None] * self.gain
        x = F.conv2d(x * style, self.weight, self.bias, padding=1)
        return F.leaky_relu(x + self.noise.to(x.dtype), 0.2, inplace=True)


class Block(nn.Module):
    """Double the size, then two styled convolutions; takes three rows of W+."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.up = Upsample(in_channels)
        self.conv1 = StyledConv(in_channels // 4, out_channels, size)
        self.conv2 = StyledConv(out_channels, out_channels, size)

    def forward(self, x: Tensor, ws: Tensor) -> Tensor:
        x = self.up(x, ws[:, 0])
        x = self.conv1(x, ws[:, 1])
        return self.conv2(x, ws[:, 2])


class ImageHead(nn.Module):
    """Modulated 1x1 convolution to 12 channels, then an inverse Haar: [N, C, H, W] -> RGB [N, 3, 2H, 2W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(W_DIM, channels)
        self.weight = nn.Parameter(torch.empty(12, channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(12))
        self.gain = 1 / math.sqrt(channels)

    def bands(self, x: Tensor, w: Tensor) -> Tensor:
        """The four Haar bands of the picture, [N, 12, H, W]; half the first three is the picture at H x W."""
        return F.conv2d(x * (self.modulation(w)[:, :, None, None] * self.gain), self.weight, self.bias).float()

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return inverse_haar(self.bands(x, w))


class DistilledHead(nn.Module):
    """Styled convolutions, then an image head: draws from an early feature map what the later blocks would.

    [N, C, H, W] -> RGB [N, 3, 2H, 2W]. Trained by data/recipes/heads.py against the area-downsampled 1024 px
    picture. ws: [N, depth + 1, 512], a row of W+ for each convolution and one for the image head.
    """

    def __init__(self, channels: int, size: int, width: int = 96, depth: int = 3) -> None:
        super().__init__()
        widths = (channels, *[width] * depth)
        self.convs = nn.ModuleList(StyledConv(widths[i], widths[i + 1], size) for i in range(depth))
        self.to_img = ImageHead(width)

    def forward(self, x: Tensor, ws: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(x, ws[:, i])
        return self.to_img(x, ws[:, -1])


def distilled_head_rows(ws: Tensor, blocks: int) -> Tensor:
    """The rows of W+ that the head after `blocks` blocks takes: those of the next block, and the image head's.

    >>> distilled_head_rows(torch.arange(23.0)[None], blocks=5)[0].tolist()               # at 256 px
    [16.0, 17.0, 18.0, 22.0]
    """
    first = 1 + 3 * blocks
    return torch.cat([ws[:, first : first + 3], ws[:, -1:]], dim=1)  # a list of rows would be sent to a GPU each time


class Synthesis(nn.Module):
    """The backbone: ws [N, 23, 512] -> the feature map after any number of blocks."""

    memory_format: torch.memory_format | None = None  # of the features; None is what the device wants

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.empty(1, BLOCK_WIDTHS[0], INPUT_SIZE, INPUT_SIZE))
        self.conv1 = InputConv(BLOCK_WIDTHS[0], INPUT_SIZE)
        widths = (BLOCK_WIDTHS[0], *BLOCK_WIDTHS)
        self.layers = nn.ModuleList(
            Block(widths[i], widths[i + 1], INPUT_SIZE * 2 ** (i + 1)) for i in range(len(BLOCK_WIDTHS))
        )

    def forward(self, ws: Tensor, blocks: int) -> Tensor:
        layout = self.memory_format or picture_layout(ws.device)
        x = self.input.expand(len(ws), -1, -1, -1).contiguous(memory_format=layout)
        x = self.conv1(x, ws[:, 0])
        for i in range(blocks):
            x = self.layers[i](x, ws[:, 1 + 3 * i : 4 + 3 * i])
        return x


class MobileStyleGAN(Generator):
    """z [N, 512] -> ws [N, 23, 512] -> RGB at 128, 256, 512 or 1024 px.

    A row of W+ for each layer that takes a style: row 0 the input convolution, rows 1 + 3i, 2 + 3i and 3 + 3i the
    up-sampling and the two convolutions of block i, row 22 the image head. The heads at 1024 and 512 px are the
    released network's (512 is half its low band); those at 256 and 128 px were distilled for this package so that
    the last two or three blocks need not run. `features` is the map under the head: GUIDE defines the first term
    of its distance on tri-planes, and this is the counterpart in two dimensions.
    """

    z_dim, w_dim, rows = 512, W_DIM, 23

    def __init__(self, resolution: int = 256) -> None:
        super().__init__()
        self.mapping_network = Mapping()
        self.synthesis_network = Synthesis()
        self.heads = nn.ModuleDict(
            {
                "128": DistilledHead(BLOCK_WIDTHS[3], size=64),
                "256": DistilledHead(BLOCK_WIDTHS[4], size=128),
                "1024": ImageHead(BLOCK_WIDTHS[6]),
            }
        )
        self.register_buffer("w_avg", torch.empty(1, self.rows, self.w_dim))
        self.resolution = self._checked(resolution)

    @staticmethod
    def _checked(resolution: int) -> int:
        if resolution not in BLOCKS_FOR:
            sizes = ", ".join(map(str, BLOCKS_FOR))
            raise GuideError(f"This generator draws at {sizes} px, not at {resolution}; choose one of these.")
        return resolution

    def at(self, resolution: int) -> MobileStyleGAN:
        """The same network, sharing every weight, that draws at another resolution."""
        twin = copy.copy(self)
        twin.resolution = self._checked(resolution)
        return twin

    def small(self) -> MobileStyleGAN:
        return self.at(min(BLOCKS_FOR))

    def mapping(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        ws = self.mapping_network(z)[:, None].expand(-1, self.rows, -1)
        return torch.lerp(self.w_avg.expand_as(ws), ws, truncation)

    def synthesis(self, ws: Tensor, view: View | None = None) -> Rendering:
        blocks = BLOCKS_FOR[self.resolution]
        features = self.synthesis_network(ws, blocks)
        if self.resolution == 512:
            image = self.heads["1024"].bands(features, ws[:, -1])[:, :3] / 2
        elif self.resolution == 1024:
            image = self.heads["1024"](features, ws[:, -1])
        else:
            image = self.heads[str(self.resolution)](features, distilled_head_rows(ws, blocks))
        return Rendering(image, features)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        unused = tuple(f"layers.{i}." for i in range(BLOCKS_FOR[self.resolution], len(BLOCK_WIDTHS)))
        named = self.synthesis_network.named_parameters()
        return {f"synthesis_network.{name}": p for name, p in named if not name.startswith(unused)}

    def _head_rows(self, blocks: int) -> list[int]:
        return distilled_head_rows(torch.arange(self.rows)[None], blocks)[0].tolist()

    def is_style(self, name: str) -> bool:
        return ".modulation." in name

    def style_layers(self) -> dict[str, StyleLayer]:
        """Those for other resolutions as well: a person who is erased at 128 px is erased at 1024."""
        network, last = self.synthesis_network, self.rows - 1
        rows = {network.conv1: 0, self.heads["1024"]: last}
        for i, block in enumerate(network.layers):
            rows |= {block.up: 1 + 3 * i, block.conv1: 2 + 3 * i, block.conv2: 3 + 3 * i}
        for size in ("128", "256"):
            head = self.heads[size]
            rows |= dict(zip([*head.convs, head.to_img], self._head_rows(BLOCKS_FOR[int(size)]), strict=True))
        names = {module: f"{name}.modulation" for name, module in self.named_modules()}
        return {names[m]: StyleLayer(m.modulation.weight, m.modulation.bias, row) for m, row in rows.items()}

    def drawn_rows(self) -> list[int]:
        blocks = BLOCKS_FOR[self.resolution]
        head = self._head_rows(blocks) if blocks < len(BLOCK_WIDTHS) else [self.rows - 1]
        return [*range(1 + 3 * blocks), *head]

    def drawing_parts(self) -> list[nn.Module]:
        return [self.synthesis_network, *self.heads.values()]


def released_state() -> dict[str, Tensor]:
    """The released network's weights (fetched once), under the names of `MobileStyleGAN`."""
    state = load_file(fetch("mobilestylegan-ffhq"))
    return {name.replace("synthesis_network.to_img", "heads.1024"): tensor for name, tensor in state.items()}


def load_mobilestylegan(resolution: int = 256) -> MobileStyleGAN:
    """The released network with this package's heads and mean latent."""
    generator = MobileStyleGAN(resolution)
    shipped_state = load_file(shipped("mobilestylegan-ffhq-heads.safetensors"))
    generator.load_state_dict(released_state() | shipped_state, strict=True)
    return generator
