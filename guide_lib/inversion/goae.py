"""GOAE (Yuan et al., ICCV 2023), the inversion encoder of the paper's setting: a photo's latent in one pass.

A SwinV2 backbone is tapped at four depths. Its output gives one base code for all rows; the tokens before the last
stage ask the earlier taps for offsets: rows 1 to 3 the coarse one, 4 to 6 the middle one, 7 to 13 the fine one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from guide_lib.assets.official import converted
from guide_lib.errors import GuideError
from guide_lib.perception.swin import SwinConfig, SwinV2

SIZE, ROWS, W_DIM = 256, 14, 512  # px of the input; rows and width of EG3D's W+
GROUPS = {"coarse": 3, "mid": 3, "fine": 7}  # rows of each; the first row has no offset
TOKENS = {"coarse": 256, "mid": 1024, "fine": 4096}
TOP, TOP_TOKENS = 1024, 64  # width and number of the deepest tokens


def head(inputs: int, outputs: int) -> nn.Sequential:
    """Two layers; the first keeps the width."""
    return nn.Sequential(nn.Linear(inputs, inputs), nn.LeakyReLU(), nn.Linear(inputs, outputs))


def expansion(*widths: int) -> nn.Sequential:
    """Layers of these widths, a leaky ReLU after each."""
    pairs = zip(widths, widths[1:], strict=False)
    return nn.Sequential(*(layer for a, b in pairs for layer in (nn.Linear(a, b), nn.LeakyReLU())))


class CrossAttention(nn.Module):
    """Queries [N, rows, 512] look at tokens [N, T, 512]; then a norm without parameters and two layers for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(W_DIM, 4, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(W_DIM, 2 * W_DIM), nn.Linear(2 * W_DIM, W_DIM)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        found = self.multihead_attn(queries, tokens, tokens, need_weights=False)[0]
        x = F.layer_norm(queries + found, (W_DIM,))
        return x + self.linear2(F.relu(self.linear1(x)))


class GOAE(nn.Module):
    """images [N, 3, 256, 256] in [-1, 1] -> the code's offset from w_avg, [N, 14, 512].

    Named as `encoder_FFHQ.pt` is. Training used dropout and drop-path; here they are left out, since they would move
    the answer by a seventh of its length, another way each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.swin_model = SwinV2(SwinConfig())
        self.mapper_base_spatial, self.mapper_base_channel = head(TOP_TOKENS, 1), head(TOP, W_DIM)
        for group, rows in GROUPS.items():
            self.add_module(f"mapper_query_spatial_{group}", head(TOP_TOKENS, rows))
            self.add_module(f"mapper_query_channel_{group}", head(TOP, W_DIM))
            self.add_module(f"cross_att_{group}", CrossAttention())
        self.mapper_coarse_channel = expansion(512, W_DIM)
        self.mapper_mid_channel = expansion(256, W_DIM)
        self.mapper_fine_channel = expansion(128, 256, W_DIM)
        self.mapper_coarse_to_mid_spatial = expansion(TOKENS["coarse"], 512, TOKENS["mid"])
        self.mapper_mid_to_fine_spatial = expansion(TOKENS["mid"], 2048, TOKENS["fine"])

    def forward(self, images: Tensor) -> Tensor:
        fine, mid, coarse, query, base = self.swin_model(images)
        tokens = self.pyramid(coarse, mid, fine)
        offsets = [self.offsets(group, query, tokens[group]) for group in GROUPS]
        code = summary(base, self.mapper_base_spatial, self.mapper_base_channel)
        return code + F.pad(torch.cat(offsets, dim=1), (0, 0, 1, 0))

    def pyramid(self, coarse: Tensor, mid: Tensor, fine: Tensor) -> dict[str, Tensor]:
        """What each group looks at, [N, tokens, 512]: its own tap, and the coarser group's tokens made more."""
        tokens = {"coarse": self.mapper_coarse_channel(coarse)}
        tokens["mid"] = self.mapper_mid_channel(mid) + self.mapper_coarse_to_mid_spatial(tokens["coarse"].mT).mT
        tokens["fine"] = self.mapper_fine_channel(fine) + self.mapper_mid_to_fine_spatial(tokens["mid"].mT).mT
        return tokens

    def offsets(self, group: str, query: Tensor, tokens: Tensor) -> Tensor:
        """[N, rows, 512] of one group."""
        heads = (self.get_submodule(f"mapper_query_{kind}_{group}") for kind in ("spatial", "channel"))
        return self.get_submodule(f"cross_att_{group}")(summary(query, *heads), tokens)

    @torch.no_grad()
    def latents(self, images: Tensor, w_avg: Tensor) -> Tensor:
        """FFHQ-aligned pictures [N, 3, S, S] in [-1, 1], any S -> ws [N, 14, 512] = w_avg + E(x)."""
        small = F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
        return w_avg + self(small)


def summary(tokens: Tensor, spatial: nn.Module, channel: nn.Module) -> Tensor:
    """[N, 64, 1024] -> [N, rows, 512]: mixtures of the tokens, each with the maximum over all of them added.

    >>> list(summary(torch.randn(2, TOP_TOKENS, TOP), spatial=head(TOP_TOKENS, 3), channel=head(TOP, W_DIM)).shape)
    [2, 3, 512]
    """
    return channel(spatial(tokens.mT).mT + tokens.amax(dim=1, keepdim=True))


def load_goae(device: torch.device | str | None = None) -> GOAE:
    """The released encoder, frozen; `GuideError` says where to get its file, or that it is another one."""
    path, encoder = converted("goae-ffhq"), GOAE()
    try:
        encoder.load_state_dict(load_file(path), strict=True)
    except RuntimeError as error:
        raise GuideError(f"{path} is not GOAE's encoder for FFHQ; convert encoder_FFHQ.pt again.") from error
    return encoder.to(device).eval().requires_grad_(False)
