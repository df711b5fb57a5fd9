"""SwinV2 (Liu et al. 2022, arXiv 2111.09883): attention in windows that shift from block to block.

>>> config = SwinConfig(size=32, width=8, depths=(2, 2), heads=(1, 2), window=4, pretrained=(4, 4))
>>> [list(tap.shape) for tap in SwinV2(config)(torch.zeros(1, 3, 32, 32))]   # what enters each stage, and the output
[[1, 64, 8], [1, 16, 16], [1, 16, 16]]

Parameters and buffers carry the names of the authors' release, so its checkpoints load strictly. There is no
dropout and no drop-path: this backbone is only evaluated, and must give one answer for one picture.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BIAS_WIDTH = 512  # hidden numbers of the network that turns a distance into an attention bias
MASKED = -100.0  # added where two tokens are neighbours only because the picture was rolled


@dataclass(frozen=True)
class SwinConfig:
    """Sizes; the defaults are those of GOAE's backbone.

    size: px of the square input. patch: px of a token's side. width: channels in the first stage, doubled from stage to
    stage. depths, heads: blocks and attention heads of each stage. window: tokens along a window's side. pretrained:
    the windows for which the distances were once scaled.
    """

    size: int = 256
    patch: int = 4
    width: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 16
    pretrained: tuple[int, ...] = (12, 12, 12, 6)


def log_distances(window: int, pretrained: int) -> Tensor:
    """Every offset (rows, columns) inside a window, on the signed logarithmic scale: [1, 2w - 1, 2w - 1, 2]."""
    steps = torch.arange(1 - window, window).float() * 8 / (pretrained - 1)
    scaled = steps.sign() * torch.log2(steps.abs() + 1) / 3
    return torch.stack(torch.meshgrid(scaled, scaled, indexing="ij"), dim=-1)[None]


def pair_index(window: int) -> Tensor:
    """Which of those offsets lies between two tokens of a window: [w^2, w^2].

    >>> pair_index(2)[0]                                  # from the first token to each of the four
    tensor([4, 3, 1, 0])
    """
    rows, columns = (part.flatten() for part in torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij"))
    down, right = (x[:, None] - x[None] + window - 1 for x in (rows, columns))
    return down * (2 * window - 1) + right


def to_windows(x: Tensor, window: int) -> Tensor:
    """[N, H, W, C] -> [N * windows, w^2, C], row by row.

    >>> windows = to_windows(torch.arange(16.0).view(1, 4, 4, 1), window=2)
    >>> windows[1, :, 0].tolist(), from_windows(windows, size=4)[0, 0, :, 0].tolist()
    ([2.0, 3.0, 6.0, 7.0], [0.0, 1.0, 2.0, 3.0])
    """
    n, size, _, width = x.shape
    grid = x.reshape(n, size // window, window, size // window, window, width)
    return grid.transpose(2, 3).reshape(-1, window * window, width)


def from_windows(windows: Tensor, size: int) -> Tensor:
    """The inverse of `to_windows`: [N, size, size, C]."""
    window = math.isqrt(windows.shape[1])
    grid = windows.view(-1, size // window, size // window, window, window, windows.shape[-1])
    return grid.transpose(2, 3).reshape(-1, size, size, windows.shape[-1])


def rolled_mask(size: int, window: int, shift: int) -> Tensor:
    """[windows, w^2, w^2]: 0 between tokens that were neighbours before the picture was rolled, else `MASKED`."""
    places = torch.arange(size)
    part = (places >= size - window).long() + (places >= size - shift).long()
    parts = to_windows((3 * part[:, None] + part[None]).float()[None, :, :, None], window)
    return (parts != parts.mT).float() * MASKED


class WindowAttention(nn.Module):
    """Scaled cosine attention among the tokens of one window, with a bias that depends on their distance."""

    def __init__(self, width: int, heads: int, window: int, pretrained: int) -> None:
        super().__init__()
        self.heads = heads
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10)))
        self.cpb_mlp = nn.Sequential(nn.Linear(2, BIAS_WIDTH), nn.ReLU(), nn.Linear(BIAS_WIDTH, heads, bias=False))
        self.register_buffer("relative_coords_table", log_distances(window, pretrained))
        self.register_buffer("relative_position_index", pair_index(window))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [N * windows, w^2, width]; mask: [windows, w^2, w^2]."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scale = self.logit_scale.clamp(max=math.log(100)).exp()
        attention = scale * (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT) + self.distance_bias()
        if mask is not None:
            attention = (attention.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1)
        return self.proj((attention.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def distance_bias(self) -> Tensor:
        """[heads, w^2, w^2], between 0 and 16."""
        per_offset = self.cpb_mlp(self.relative_coords_table).flatten(0, 2)
        return 16 * torch.sigmoid(per_offset[self.relative_position_index]).permute(2, 0, 1)


class SwinBlock(nn.Module):
    """Attention, then two layers for each token; what they give is normalised BEFORE it is added (SwinV2's order)."""

    def __init__(self, width: int, size: int, heads: int, window: int, pretrained: int, shifted: bool) -> None:
        super().__init__()
        self.size, self.window = size, min(window, size)
        self.shift = self.window // 2 if shifted and self.window < size else 0
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, self.window, pretrained)
        layers = {"fc1": nn.Linear(width, 4 * width), "act": nn.GELU(), "fc2": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.register_buffer("attn_mask", rolled_mask(size, self.window, self.shift) if self.shift else None)

    def forward(self, x: Tensor) -> Tensor:
        rolled = x.unflatten(1, (self.size, self.size)).roll((-self.shift, -self.shift), (1, 2))
        seen = self.attn(to_windows(rolled, self.window), self.attn_mask)
        seen = from_windows(seen, self.size).roll((self.shift, self.shift), (1, 2)).flatten(1, 2)
        x = x + self.norm1(seen)
        return x + self.norm2(self.mlp(x))


class PatchMerging(nn.Module):
    """Four neighbouring tokens become one of twice the width."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        grid = x.unflatten(1, (self.size, self.size))
        four = [grid[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.norm(self.reduction(torch.cat(four, dim=-1).flatten(1, 2)))


class Stage(nn.Module):
    """Blocks at one size; every second one shifts its windows. `downsample` leads to the next stage."""

    def __init__(self, config: SwinConfig, index: int) -> None:
        super().__init__()
        width, size = config.width << index, config.size // config.patch >> index
        sizes = width, size, config.heads[index], config.window, config.pretrained[index]
        self.blocks = nn.Sequential(*(SwinBlock(*sizes, shifted=k % 2 == 1) for k in range(config.depths[index])))
        self.downsample = PatchMerging(width, size) if index < len(config.depths) - 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))


class PatchEmbedding(nn.Module):
    """[N, 3, S, S] -> one token for each patch: [N, (S / patch)^2, width]."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.proj(images).flatten(2).mT)


class SwinV2(nn.Module):
    """images [N, 3, size, size] -> tokens [N, tokens, width] that enter each stage, then the normalised output.

    With the defaults: [N, 4096, 128], [N, 1024, 256], [N, 256, 512], [N, 64, 1024], [N, 64, 1024].
    """

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(config.patch, config.width)
        self.layers = nn.ModuleList(Stage(config, k) for k in range(len(config.depths)))
        self.norm = nn.LayerNorm(config.width << len(config.depths) - 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, taps = self.patch_embed(images), []
        for stage in self.layers:
            taps.append(x)
            x = stage(x)
        return [*taps, self.norm(x)]
