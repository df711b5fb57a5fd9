"""StyleGAN2-FFHQ (Karras et al. 2020) as a `Generator`: the paper's second, flat generator."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from guide_lib.generators.base import Generator, Rendering, StyleLayer, View
from guide_lib.generators.stylegan2 import Backbone, MappingNetwork, SynthesisNetwork


@dataclass(frozen=True)
class StyleGAN2Config:
    """Sizes; the defaults are config F of the paper.

    resolution: px. z_dim, w_dim, mapping_layers: of the mapping network. channel_base, channel_max: layers at r px have
    min(channel_base / r, channel_max) channels. clamp, half_blocks: the limit of activations (None: none) and the
    number of last blocks in half precision on CUDA, both from half-precision training.
    """

    resolution: int = 1024
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    clamp: float | None = None
    half_blocks: int = 0


class StyleGAN2(Generator):
    """z [N, z_dim] -> ws [N, rows, w_dim] -> RGB; rows = 2 log2(resolution) - 2, 18 at 1024 px.

    `backbone` loads NVIDIA's checkpoints strictly. The noise maps are the stored ones, so a latent has one picture.
    `features` is the last feature map: the counterpart in two dimensions of the tri-planes on which GUIDE defines
    the first term of its distance.

    >>> tiny = StyleGAN2(StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, channel_max=8))
    >>> tiny.rows, len(tiny.drawing_parts()[0].sizes)     # 4, 8 and 16 px: two rows each
    (6, 3)
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config, self.resolution = config, config.resolution
        self.z_dim, self.w_dim = config.z_dim, config.w_dim
        synthesis = SynthesisNetwork(
            config.w_dim,
            config.resolution,
            image_channels=3,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
            clamp=config.clamp,
            half_blocks=config.half_blocks,
        )
        self.backbone = Backbone(synthesis, MappingNetwork(config.z_dim, config.w_dim, config.mapping_layers))
        self.rows = synthesis.rows

    @property
    def w_avg(self) -> Tensor:
        """[1, rows, w_dim], as in the base class."""
        return self.backbone.mapping.w_avg.expand(1, self.rows, -1)

    def mapping(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        return self.backbone.mapping.rows(self.backbone.mapping(z), self.rows, truncation)

    def synthesis(self, ws: Tensor, view: View | None = None) -> Rendering:
        return Rendering(*self.backbone.synthesis(ws))

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        return {f"backbone.synthesis.{name}": p for name, p in self.backbone.synthesis.named_parameters()}

    def is_style(self, name: str) -> bool:
        return ".affine." in name

    def style_layers(self) -> dict[str, StyleLayer]:
        return {f"backbone.synthesis.{name}": layer for name, layer in self.backbone.synthesis.style_layers().items()}

    def drawing_parts(self) -> list[nn.Module]:
        return [self.backbone.synthesis]
