"""An inversion encoder: the latent of a photo in one pass (in the spirit of e4e and GOAE).

Like e4e (Tov et al. 2021, arXiv 2102.02766) and GOAE (Yuan et al. 2023, ICCV), the answer is built in two parts: a
base code, the same for all rows, and small offsets for the coarse, middle and fine rows, each read off a feature map
of matching depth. The backbone starts as SFace's and is trained on; data/recipes/encoder.py trains it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from guide_lib.assets import shipped
from guide_lib.perception.crops import area_resized
from guide_lib.perception.identity import SFace
from guide_lib.runtime import picture_layout

SIZE = 128  # px, the input
W_DIM = 512


class Offsets(nn.Module):
    """Offsets [N, rows, 512] for one group of rows, from a feature map [N, C, h, w] seen at 4 x 4 places."""

    def __init__(self, channels: int, rows: int, width: int = 128) -> None:
        super().__init__()
        self.rows = rows
        self.reduce = nn.Conv2d(channels, width // 2, 1)
        self.hidden = nn.Linear(16 * (width // 2), width)
        self.out = nn.Linear(width, rows * W_DIM)
        nn.init.zeros_(self.out.weight)  # training starts in W
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        x = F.leaky_relu(F.adaptive_avg_pool2d(self.reduce(features), 4), 0.2)
        x = F.leaky_relu(self.hidden(x.flatten(1)), 0.2)
        return self.out(x).view(-1, self.rows, W_DIM)


class Encoder(nn.Module):
    """images [N, 3, S, S] in [-1, 1], FFHQ-aligned, any S -> ws [N, 23, 512] = w_avg + base + offsets.

    No layer behaves differently in training and in evaluation: the backbone's batch normalisations are folded into
    its convolutions and there is no dropout, so the same photo always has the same code.

    >>> encoder = Encoder(w_avg=torch.zeros(1, 23, 512)).eval()                # `load_encoder` gives the trained one
    >>> list(encoder(photo).shape)
    [1, 23, 512]
    """

    # Name of the backbone's layer, its channels, and how many rows its offsets serve, from the last to the first row.
    LEVELS = (("conv_6_relu", 256, 9), ("conv_12_relu", 512, 7), ("conv_14_relu", 1024, 7))

    def __init__(self, w_avg: Tensor) -> None:
        super().__init__()
        backbone = SFace().eval().fold_batch_norms()
        for name in ("bn1", "flatten", "pre_fc1", "fc1"):
            delattr(backbone, name)
        self.backbone = backbone
        self.reduce = nn.Conv2d(1024, 96, 1)
        self.hidden = nn.Linear(96 * (SIZE // 16) ** 2, 768)
        self.base = nn.Linear(768, W_DIM)
        self.offsets = nn.ModuleList(Offsets(channels, rows) for _, channels, rows in self.LEVELS)
        self.register_buffer("w_avg", w_avg.clone())

    def forward(self, images: Tensor) -> Tensor:
        return self.code(*self.parts(images))

    def code(self, base: Tensor, offsets: Tensor) -> Tensor:
        """w_avg + base [N, 512] + offsets [N, 23, 512]."""
        return self.w_avg + base[:, None] + offsets

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The base code [N, 512] and the offsets [N, 23, 512]."""
        return self.read(self.maps(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """The backbone's map at each level, from fine to coarse."""
        wanted, maps = {name for name, _, _ in self.LEVELS}, []
        x = area_resized(images, SIZE) * (127.5 / 128)
        for name, layer in self.backbone.named_children():
            x = layer(x)
            if name in wanted:
                maps.append(x)
        return maps

    def read(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What the heads make of the maps: base code and offsets, as `parts`."""
        x = F.leaky_relu(self.reduce(maps[-1]), 0.2)
        x = F.leaky_relu(self.hidden(x.flatten(1)), 0.2)
        groups = [offsets(features) for offsets, features in zip(self.offsets, maps, strict=True)]
        return self.base(x), torch.cat(groups[::-1], dim=1)


def load_encoder(device: torch.device | str | None = None) -> Encoder:
    """The shipped encoder, for `mobilestylegan-ffhq`, frozen, on `device` (the CPU by default)."""
    state = load_file(shipped("mobilestylegan-ffhq-encoder.safetensors"))
    encoder = Encoder(state["w_avg"].float())
    encoder.load_state_dict(state)
    layout = picture_layout(torch.device(device or "cpu"))
    return encoder.eval().requires_grad_(False).to(device, memory_format=layout)
