"""Inception v3 as FID uses it: pictures to 2048 numbers (Szegedy et al. 2016; Heusel et al. 2017, arXiv 1706.08500).

FID is defined by one file of weights, TensorFlow's of 2015, whose average pools do not count the padding and whose
last block takes a maximum instead. The file comes as a TorchScript archive; only its numbers are read (see
`guide_lib.readers.torchscript`), and the network below is written here from the architecture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from guide_lib.assets import fetch
from guide_lib.runtime import picture_layout

SIZE = 299  # px, the input
FEATURES = 2048


class Convolution(nn.Module):
    """Convolution, batch normalisation without a scale, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.stride, self.padding = stride, tuple(k // 2 if pad else 0 for k in kernel)
        self.weight = nn.Parameter(torch.empty(c_out, c_in, *kernel))
        for name in ("beta", "mean", "var"):
            self.register_buffer(name, torch.empty(c_out))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight, None, self.stride, self.padding)
        return F.relu(F.batch_norm(x, self.mean, self.var, None, self.beta, False, 0.0, 1e-3))


class Average(nn.AvgPool2d):
    """Mean of the 3x3 neighbours inside the picture."""

    def __init__(self) -> None:
        super().__init__(3, 1, padding=1, count_include_pad=False)


def _tower(*layers: nn.Module) -> nn.Sequential:
    """Layers one after another; convolutions are named conv, conv_1, conv_2, ... as in the archive."""
    tower, count = nn.Sequential(), 0
    for layer in layers:
        if isinstance(layer, Convolution):
            tower.add_module(f"conv_{count}" if count else "conv", layer)
            count += 1
        else:
            tower.add_module("pool", layer)
    return tower


class Mixed(nn.Module):
    """Branches beside one another, their channels put together; names -> branches, in order."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


def block_35(c_in: int, c_pool: int) -> Mixed:
    """The blocks at 35 x 35: 1x1, 5x5, two times 3x3, pool."""
    return Mixed(
        conv=Convolution(c_in, 64, 1),
        tower=_tower(Convolution(c_in, 48, 1), Convolution(48, 64, 5)),
        tower_1=_tower(Convolution(c_in, 64, 1), Convolution(64, 96, 3), Convolution(96, 96, 3)),
        tower_2=_tower(Average(), Convolution(c_in, c_pool, 1)),
    )


def block_17(width: int) -> Mixed:
    """The blocks at 17 x 17: 7x7 as 1x7 and 7x1, once and twice. `width`: channels inside."""
    row, column = (1, 7), (7, 1)
    return Mixed(
        conv=Convolution(768, 192, 1),
        tower=_tower(Convolution(768, width, 1), Convolution(width, width, row), Convolution(width, 192, column)),
        tower_1=_tower(
            Convolution(768, width, 1),
            *(Convolution(width, width, kernel) for kernel in (column, row, column)),
            Convolution(width, 192, row),
        ),
        tower_2=_tower(Average(), Convolution(768, 192, 1)),
    )


def reduce_to_17() -> Mixed:
    """35 x 35 to 17 x 17.

    >>> list(reduce_to_17()(torch.zeros(1, 288, 35, 35)).shape)
    [1, 768, 17, 17]
    """
    return Mixed(
        conv=Convolution(288, 384, 3, 2, pad=False),
        tower=_tower(Convolution(288, 64, 1), Convolution(64, 96, 3), Convolution(96, 96, 3, 2, pad=False)),
        pool=nn.MaxPool2d(3, 2),
    )


def reduce_to_8() -> Mixed:
    """17 x 17 to 8 x 8."""
    long = (Convolution(768, 192, 1), Convolution(192, 192, (1, 7)), Convolution(192, 192, (7, 1)))
    return Mixed(
        tower=_tower(Convolution(768, 192, 1), Convolution(192, 320, 3, 2, pad=False)),
        tower_1=_tower(*long, Convolution(192, 192, 3, 2, pad=False)),
        pool=nn.MaxPool2d(3, 2),
    )


class Block8(nn.Module):
    """The blocks at 8 x 8, whose 3x3 ends in a 1x3 beside a 3x1."""

    def __init__(self, c_in: int, pool: nn.Module) -> None:
        super().__init__()
        self.conv = Convolution(c_in, 320, 1)
        self.tower_conv = Convolution(c_in, 384, 1)
        self.tower_mixed_conv = Convolution(384, 384, (1, 3))
        self.tower_mixed_conv_1 = Convolution(384, 384, (3, 1))
        self.tower_1_conv = Convolution(c_in, 448, 1)
        self.tower_1_conv_1 = Convolution(448, 384, 3)
        self.tower_1_mixed_conv = Convolution(384, 384, (1, 3))
        self.tower_1_mixed_conv_1 = Convolution(384, 384, (3, 1))
        self.tower_2_pool = pool
        self.tower_2_conv = Convolution(c_in, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.tower_conv(x), self.tower_1_conv_1(self.tower_1_conv(x))
        branches = [self.conv(x), self.tower_mixed_conv(a), self.tower_mixed_conv_1(a)]
        branches += [self.tower_1_mixed_conv(b), self.tower_1_mixed_conv_1(b)]
        return torch.cat([*branches, self.tower_2_conv(self.tower_2_pool(x))], dim=1)


class Inception(nn.Sequential):
    """Pictures [N, 3, S, S] in [-1, 1], any S, of any device -> [N, 2048]. Layers have the archive's names."""

    def __init__(self) -> None:
        super().__init__()
        layers = {
            "conv": Convolution(3, 32, 3, 2, pad=False),
            "conv_1": Convolution(32, 32, 3, pad=False),
            "conv_2": Convolution(32, 64, 3),
            "pool0": nn.MaxPool2d(3, 2),
            "conv_3": Convolution(64, 80, 1),
            "conv_4": Convolution(80, 192, 3, pad=False),
            "pool1": nn.MaxPool2d(3, 2),
            "mixed": block_35(192, 32),
            "mixed_1": block_35(256, 64),
            "mixed_2": block_35(288, 64),
            "mixed_3": reduce_to_17(),
            **{f"mixed_{4 + i}": block_17(width) for i, width in enumerate((128, 160, 160, 192))},
            "mixed_8": reduce_to_8(),
            "mixed_9": Block8(1280, Average()),
            "mixed_10": Block8(2048, nn.MaxPool2d(3, 1, padding=1)),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Resized to 299 px without aliasing, then (level - 128) / 128 with levels 0..255, as TensorFlow did."""
        images = images.to(self.conv.weight.device)  # photos come from the disk, generated pictures from the device
        images = F.interpolate(images.clamp(-1, 1), size=(SIZE, SIZE), mode="bilinear", antialias=True)
        return super().forward(((images + 1) * 127.5 - 128) / 128).mean((2, 3))


def load_inception(device: torch.device | str | None = None) -> Inception:
    """The network of FID, frozen; fetched once. Pictures [N, 3, S, S] in [-1, 1] -> features [N, 2048]."""
    inception = Inception()
    inception.load_state_dict(load_file(fetch("inception-fid")), strict=True)
    layout = picture_layout(torch.device(device or "cpu"))  # a third faster on a CPU, the same numbers
    return inception.to(device, memory_format=layout)
