"""EdgeFace-S, a face recogniser of 3.7 million parameters: a second judge.

George et al. 2024, "EdgeFace: Efficient Face Recognition Model for Edge Devices", IEEE Transactions on Biometrics,
Behavior, and Identity Science. It is EdgeNeXt (Maaz et al. 2022), whose last block of a stage attends to channels in
place of positions, with linear layers of half rank.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from guide_lib.readers.edgeface import DEPTHS, KERNELS, SPLITS, TOKENS, WIDTHS

HEADS, EPSILON = 8, 1e-6


class LowRankLinear(nn.Sequential):
    """A linear layer whose matrix is the product of two, through half of the smaller width (the paper's LoRaLin).

    >>> layer = LowRankLinear(8, 32)
    >>> list(layer(torch.ones(2, 5, 8)).shape), sum(p.numel() for p in layer.parameters())    # instead of 288
    ([2, 5, 32], 192)
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        rank = min(c_in, c_out) // 2
        self.add_module("linear1", nn.Linear(c_in, rank, bias=False))
        self.add_module("linear2", nn.Linear(rank, c_out))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of [N, C, H, W], at each place by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return _channels_second(super().forward(x.permute(0, 2, 3, 1)))


def _channels_second(x: Tensor) -> Tensor:
    """[N, H, W, C] -> [N, C, H, W], also in memory: Apple's GPU has convolved other layouts wrongly."""
    return x.permute(0, 3, 1, 2).contiguous()


class Mixer(nn.Module):
    """x + gamma MLP(norm(hidden)), place by place: what every block ends with.

    x, hidden: [N, C, H, W].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", LowRankLinear(channels, 4 * channels))
        self.mlp.add_module("act", nn.GELU())
        self.mlp.add_module("fc2", LowRankLinear(4 * channels, channels))
        self.gamma = nn.Parameter(torch.ones(channels))

    def mixed(self, x: Tensor, hidden: Tensor) -> Tensor:
        """The block's output."""
        change = self.gamma * self.mlp(self.norm(hidden.permute(0, 2, 3, 1)))
        return x + _channels_second(change)


class ConvolutionBlock(Mixer):
    """A depthwise convolution, then the mixer."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels)
        self.conv_dw = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(x, self.conv_dw(x))


class ChannelAttention(nn.Module):
    """Attention between channels (El-Nouby et al. 2021): [N, places, C] -> the same, C a multiple of 8.

    Queries and keys are unit vectors over the places, so that their products are cosines; each head has a temperature.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.qkv = LowRankLinear(channels, 3 * channels)
        self.proj = LowRankLinear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, places, channels = x.shape
        parts = self.qkv(x).view(n, places, 3, HEADS, channels // HEADS)
        query, key, value = parts.permute(2, 0, 3, 4, 1)  # each [N, heads, C / heads, places]
        cosines = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        attended = (cosines * self.temperature).softmax(dim=-1) @ value
        return self.proj(attended.permute(0, 3, 1, 2).reshape(n, places, channels))


class SplitBlock(Mixer):
    """Channels in parts, each convolved together with the one before it; attention between them; then the mixer.

    places: how many positions are encoded; 0 for none.
    """

    def __init__(self, channels: int, parts: int, places: int = 0) -> None:
        super().__init__(channels)
        self.parts = parts
        width = -(-channels // parts)
        convolutions = (nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(parts - 1))
        self.convs = nn.ModuleList(convolutions)
        if places:
            self.places = nn.Parameter(torch.zeros(places, channels))
        self.norm_xca = nn.LayerNorm(channels, eps=EPSILON)
        self.xca = ChannelAttention(channels)
        self.gamma_xca = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        *parts, untouched = x.chunk(self.parts, dim=1)
        done: list[Tensor] = []
        for part, convolution in zip(parts, self.convs, strict=True):
            done.append(convolution(part + done[-1] if done else part))
        hidden = torch.cat([*done, untouched], dim=1)
        tokens = hidden.flatten(2).transpose(1, 2)
        if hasattr(self, "places"):
            tokens = tokens + self.places
        tokens = tokens + self.gamma_xca * self.xca(self.norm_xca(tokens))
        return self.mixed(x, tokens.transpose(1, 2).view_as(hidden))


class Stage(nn.Module):
    """Half the size but in the first stage, then the blocks one after another."""

    def __init__(self, number: int) -> None:
        super().__init__()
        width, places = WIDTHS[number], TOKENS if number == 1 else 0
        count = DEPTHS[number] - (number > 0)
        blocks: list[Mixer] = [ConvolutionBlock(width, KERNELS[number]) for _ in range(count)]
        if number > 0:
            before = WIDTHS[number - 1]
            self.downsample = nn.Sequential(ChannelNorm(before), nn.Conv2d(before, width, 2, 2))
            blocks.append(SplitBlock(width, SPLITS[number], places))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x) if hasattr(self, "downsample") else x)


class EdgeFace(nn.Module):
    """[N, 3, 112, 112] RGB in [-1, 1] -> [N, 512], not normalised. Named as the file is (`guide_lib.readers.edgeface`).

    >>> list(EdgeFace()(torch.zeros(2, 3, 112, 112)).shape)
    [2, 512]
    """

    size = 112

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 4, 4), ChannelNorm(WIDTHS[0]))
        self.stages = nn.Sequential(*map(Stage, range(len(WIDTHS))))
        self.head = nn.Sequential()
        self.head.add_module("norm", nn.LayerNorm(WIDTHS[-1], eps=EPSILON))
        self.head.add_module("fc", LowRankLinear(WIDTHS[-1], 512))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(image)).mean((2, 3)))
