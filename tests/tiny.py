"""Small random stand-ins that obey the interfaces, so that the method's tests take milliseconds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from guide_lib.experiment import Networks
from guide_lib.generators import Generator, Rendering, View
from guide_lib.generators.base import StyleLayer


class TinyGenerator(Generator):
    """z 6 -> ws [N, 3, 6] -> features [N, 5, 4, 4] -> image [N, 3, 16, 16]. `head` stays frozen."""

    z_dim, w_dim, rows, resolution = 6, 6, 3, 16

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.mapper = nn.Linear(6, 6)
        self.backbone = nn.Linear(18, 80)
        self.head = nn.Conv2d(5, 3, 3, padding=1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=rng) / max(parameter.shape[-1], 2) ** 0.5
        self.register_buffer("w_avg", self.mapper.bias.detach().expand(1, 3, -1).clone())
        self.requires_grad_(False).eval()

    def mapping(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        ws = self.mapper(z)[:, None].expand(-1, self.rows, -1)
        return torch.lerp(self.w_avg.expand_as(ws), ws, truncation)

    def synthesis(self, ws: Tensor, view: View | None = None) -> Rendering:
        features = self.backbone(ws.flatten(1)).view(-1, 5, 4, 4)
        image = torch.tanh(self.head(F.interpolate(features, scale_factor=4, mode="bilinear")))
        turn = 0.0 if view is None else 0.01 * view.yaw
        return Rendering(image + turn, features)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        return {f"backbone.{name}": p for name, p in self.backbone.named_parameters()}

    def is_style(self, name: str) -> bool:
        return name == "backbone.bias"  # not a style layer, but a second kind of parameter

    def style_layers(self) -> dict[str, StyleLayer]:
        """One layer reads all rows: as many that share its bias."""
        pieces = self.backbone.weight.split(self.w_dim, dim=1)
        return {f"row {row}": StyleLayer(piece, self.backbone.bias, row) for row, piece in enumerate(pieces)}

    def drawing_parts(self) -> list[nn.Module]:
        return [self.backbone, self.head]


class TinyBlock(nn.Module):
    """Features [N, 5, 4, 4] -> the same size; what an adapter can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(5, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv1(x), 0.2)


class DeepGenerator(TinyGenerator):
    """The same with two blocks between backbone and head, as a pretrained generator has."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        rng = torch.Generator().manual_seed(seed)
        self.layers = nn.ModuleList([TinyBlock(), TinyBlock()])
        for parameter in self.layers.parameters():
            parameter.data = torch.randn(parameter.shape, generator=rng)
        self.requires_grad_(False)

    def synthesis(self, ws: Tensor, view: View | None = None) -> Rendering:
        features = self.backbone(ws.flatten(1)).view(-1, 5, 4, 4)
        for block in self.layers:
            features = block(features)
        return Rendering(torch.tanh(self.head(F.interpolate(features, scale_factor=4, mode="bilinear"))), features)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        blocks = {f"layers.{name}": p for name, p in self.layers.named_parameters()}
        return super().trainable_parameters() | blocks


class TurningGenerator(TinyGenerator):
    """The same with a camera that moves at every step, as a generator in three dimensions has."""

    def sample_views(self, n: int, rng: torch.Generator) -> list[View]:
        return [View(yaw) for yaw in (30 * torch.rand(n, generator=rng) - 15).tolist()]


class TinyPerceptual(nn.Module):
    """Mean square of pixels and of their differences between neighbours, through the interface of LPIPS."""

    def features(self, image: Tensor) -> list[Tensor]:
        return [image, image.diff(dim=-1)]

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        return sum((x - y).square().mean((1, 2, 3)) for x, y in zip(a, b, strict=True))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.distance(self.features(a), self.features(b))


class TinyEmbedder(nn.Module):
    """A fixed linear map of the picture, normalised; a face is found unless the picture is nearly uniform."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.register_buffer("projection", torch.randn(3 * 16 * 16, 7, generator=rng))

    def embed(self, images: Tensor) -> Tensor:
        return F.normalize(images.to(self.projection.device).flatten(1) @ self.projection, dim=1)

    def embed_faces(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.embed(images), images.cpu().flatten(1).std(1) > 1e-3


class AnySize(TinyEmbedder):
    """Takes pictures of every size, as the real ones do."""

    def embed(self, images: Tensor) -> Tensor:
        return super().embed(F.interpolate(images, size=16, mode="area"))


class GreyEncoder(nn.Module):
    """Answers with a code that depends on how bright the picture is."""

    def __init__(self, w_avg: Tensor) -> None:
        super().__init__()
        self.w_avg = w_avg

    def forward(self, images: Tensor) -> Tensor:
        return self.w_avg + images.mean((1, 2, 3)).view(-1, 1, 1)


def networks_on(device: torch.device | str, generator: Generator | None = None) -> Networks:
    """All that a run needs, on a device."""
    networks = generator or TinyGenerator(), TinyPerceptual(), TinyEmbedder(), TinyEmbedder(seed=2)
    return Networks(*(network.to(device) for network in networks))
