"""MobileFaceNet, a face recogniser of a million parameters: the eyes of an attacker who does not know the loss's.

Chen et al. 2018, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices": the
bottlenecks of MobileNetV2 (Sandler et al. 2018), and at the end a weight for each place instead of a mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from guide_lib.readers.mobilefacenet import BOTTLENECKS

SHRINKING = (0, 5, 12)  # the bottlenecks that halve the size
# The mean and spread of ImageNet's colours, by which facesdk prepares its pictures (levels in [0, 1]).
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Layer(nn.Sequential):
    """A convolution of kernel // 2 padding, its batch normalisation and, unless it is linear, an activation."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, activation: nn.Module | None = None, **options: Any
    ) -> None:
        """options: what else nn.Conv2d takes."""
        super().__init__()
        settings = {"padding": kernel // 2, "bias": False} | options
        self.add_module("conv", nn.Conv2d(c_in, c_out, kernel, stride, **settings))
        self.add_module("norm", nn.BatchNorm2d(c_out))
        if activation is not None:
            self.add_module("act", activation)

    def fold_batch_norm(self) -> None:
        """Merge the normalisation into the convolution: the same function, less memory."""
        self.conv = fuse_conv_bn_eval(self.conv, self.norm)
        del self.norm


class Bottleneck(nn.Sequential):
    """Widen, convolve each channel by itself, narrow; the input is added where the shape stays.

    >>> list(Bottleneck(8, 16, 8, stride=2)(torch.ones(1, 8, 6, 6)).shape)
    [1, 8, 3, 3]
    """

    def __init__(self, c_in: int, inside: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.adds = stride == 1 and c_in == c_out
        self.add_module("expand", Layer(c_in, inside, 1, activation=nn.ReLU6()))
        self.add_module("depthwise", Layer(inside, inside, 3, stride, nn.ReLU6(), groups=inside))
        self.add_module("project", Layer(inside, c_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x) if self.adds else super().forward(x)


class MobileFaceNet(nn.Sequential):
    """[N, 3, 112, 112] RGB in [-1, 1] -> [N, 128], not normalised. Named as `guide_lib.readers.mobilefacenet` does.

    >>> list(MobileFaceNet().eval()(torch.zeros(2, 3, 112, 112)).shape)
    [2, 128]
    """

    size = 112

    def __init__(self) -> None:
        super().__init__()
        self.add_module("stem", Layer(3, 64, 3, 2, nn.ReLU6()))
        self.add_module("depthwise", Layer(64, 64, 3, activation=nn.ReLU(), groups=64))
        self.add_module("pointwise", Layer(64, 64, 1, activation=nn.ReLU()))
        blocks, width = [], 64
        for i, (inside, after) in enumerate(BOTTLENECKS):
            blocks.append(Bottleneck(width, inside, after, stride=2 if i in SHRINKING else 1))
            width = after
        self.add_module("bottlenecks", nn.Sequential(*blocks))
        self.add_module("widen", Layer(width, 512, 1, activation=nn.ReLU6()))
        self.add_module("whole", Layer(512, 512, 7, padding=0, groups=512))
        self.add_module("numbers", Layer(512, 128, 1, bias=True))
        self.add_module("flatten", nn.Flatten())
        for name, values in (("mean", MEAN), ("spread", SPREAD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(((image + 1) / 2 - self.mean) / self.spread)

    def fold_batch_norms(self) -> MobileFaceNet:
        """Merge each batch normalisation into the convolution before it: the same function, less memory."""
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.fold_batch_norm()
        return self.to(memory_format=torch.channels_last)  # faster on a CPU
