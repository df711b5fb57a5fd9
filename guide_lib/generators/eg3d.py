"""EG3D (Chan et al. 2022, arXiv 2112.07945): faces in three dimensions from tri-planes.

A StyleGAN2 backbone draws three feature planes. A point in space looks up all three, a small network turns the mean
into density and colour, volume rendering gives a picture of features, and more of StyleGAN2's blocks enlarge it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from guide_lib.assets.layouts import CAMERA_NUMBERS
from guide_lib.generators.alignment import EG3D_FFHQ, MeanFace
from guide_lib.generators.base import Generator, Rendering, StyleLayer, View
from guide_lib.generators.cameras import camera_vector, intrinsics, look_at, looking_along, pixel_rays
from guide_lib.generators.stylegan2 import (
    Backbone,
    FullyConnected,
    MappingNetwork,
    Noise,
    SynthesisBlock,
    SynthesisNetwork,
    block_style_layers,
    initialise,
)
from guide_lib.generators.volume import Jitter, Sampling, render
from guide_lib.runtime import full_precision

# GUIDE's training cameras: yaw ~ U(-15, 15), and EG3D's pitch parameter of pi/2 - 0.2
YAW_RANGE, PITCH = 15.0, math.degrees(math.asin(0.4 / math.pi))
JUDGING_YAWS = range(-15, 16, 3)  # GUIDE's ID is the mean over these 11
CLAMP = 256.0  # the released super-resolution limits its activations so, in single precision too


@dataclass(frozen=True)
class EG3DConfig:
    """Sizes and settings; the defaults are those of EG3D-FFHQ-512.

    z_dim, w_dim, mapping_layers: of the mapping network. channel_base, channel_max: the backbone's layers at r px
    have min(channel_base / r, channel_max) channels. decoder_width: hidden numbers of the network that turns features
    into density and colour. sampling: where rays are looked at.
    plane_size, plane_channels: of each of the three planes. render_size: rays along a side. enlarge_from: the side
    to which the rendered features are resized before super-resolution. enlarge_widths: channels of its blocks, each of
    which doubles the side. box_warp: side of the cube that the planes span, in scene units. field_of_view:
    degrees along the diagonal. pivot, radius: what the cameras look at, and from how far. alignment: how the pictures
    of the training were cut. camera_scale: factor of the camera that conditions the mapping.
    axis_slip: project the third plane to (z, x), as the released networks were trained, not to (z, y).
    """

    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    plane_size: int = 256
    plane_channels: int = 32
    channel_base: int = 32768
    channel_max: int = 512
    decoder_width: int = 64
    render_size: int = 128
    enlarge_from: int = 128
    enlarge_widths: tuple[int, ...] = (256, 128)
    sampling: Sampling = field(default_factory=Sampling)
    box_warp: float = 1.0
    field_of_view: float = 18.837
    radius: float = 2.7
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.2)
    alignment: MeanFace = EG3D_FFHQ
    camera_scale: float = 1.0
    axis_slip: bool = True


def look_up(planes: Tensor, points: Tensor, box_warp: float = 1.0, axis_slip: bool = True) -> Tensor:
    """Mean of the three planes' features at points [N, M, 3]: bilinear, zero outside. planes: [N, 3C, P, P].

    The planes see (x, y), (x, z) and (z, x), or (z, y) without the slip. A lookup at (z, x) is one of the transposed
    plane at (x, z), and lookups are linear: so two planes can be added first.

    >>> planes = torch.ones(1, 3 * 8, 16, 16)
    >>> found = look_up(planes, torch.tensor([[[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]]]))     # inside, outside
    >>> list(found.shape), found[0, 0].tolist()
    ([1, 8, 2], [1.0, 0.0])
    """
    xy, xz, zx = planes.unflatten(1, (3, -1)).unbind(1)
    scaled = points[:, :, None] * (2 / box_warp)
    # Slices, since a list of axes would be sent to a GPU each time; contiguous, a CPU looks up six times as fast.
    at_xy, at_xz = scaled[..., :2].contiguous(), scaled[..., ::2].contiguous()
    pairs = [(xy, at_xy), (xz + zx.mT, at_xz)]
    if not axis_slip:
        pairs = [(xy, at_xy), (xz, at_xz), (zx, scaled[..., 1:].flip(-1))]
    found = [F.grid_sample(plane, places, align_corners=False)[..., 0] for plane, places in pairs]
    return sum(found) / 3


class Decoder(nn.Module):
    """Features [N, C, M] of M points -> density [N, M], before its softplus, and colours [N, C, M]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(FullyConnected(channels, width), nn.Softplus(), FullyConnected(width, 1 + channels))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        out = self.net(features.mT).mT
        # a sigmoid that can reach 0 and 1 (Mip-NeRF)
        return out[:, 0], torch.sigmoid(out[:, 1:]) * 1.002 - 0.001


class SuperResolution(nn.Module):
    """Rendered features [N, C, R, R] -> RGB [N, 3, S, S]; modulated by the last row of W+ alone.

    The features are brought to `size`, and each block doubles it.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], w_dim: int, size: int) -> None:
        super().__init__()
        self.size = size
        for i, (c_in, c_out) in enumerate(itertools.pairwise((channels, *widths))):
            block = SynthesisBlock(c_in, c_out, w_dim, (2 << i) * size, 3, clamp=CLAMP, half=True)
            self.add_module(f"block{i}", block)

    def forward(self, features: Tensor, ws: Tensor) -> Tensor:
        if features.shape[-1] != self.size:
            features = F.interpolate(features, (self.size, self.size), mode="bilinear", antialias=True)
        x, image, last = features, features[:, :3], ws[:, -1:].expand(-1, 3, -1)
        for block in self.children():
            x, image = block(x, image, last, noise="none")
        return image


class EG3D(Generator):
    """z [N, z_dim] -> ws [N, rows, w_dim] -> tri-planes -> RGB at any `View`.

    `features` are the tri-planes [N, 3C, P, P] of the very pass that renders. Noise maps are the stored ones.
    Parameters are named as in NVIDIA's checkpoints. The super-resolution runs in half precision on CUDA.
    """

    drawn_at_once = 1  # with gradients, each picture of 512 px takes several GB
    perceptual = "vgg"  # the paper's

    def __init__(self, config: EG3DConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or EG3DConfig()
        self.z_dim, self.w_dim = c.z_dim, c.w_dim
        self.resolution = c.enlarge_from << len(c.enlarge_widths)
        self.alignment = c.alignment
        synthesis = SynthesisNetwork(
            c.w_dim, c.plane_size, 3 * c.plane_channels, channel_base=c.channel_base, channel_max=c.channel_max
        )
        mapping = MappingNetwork(c.z_dim, c.w_dim, c.mapping_layers, CAMERA_NUMBERS)
        self.backbone = Backbone(synthesis, mapping)
        self.superresolution = SuperResolution(c.plane_channels, c.enlarge_widths, c.w_dim, c.enlarge_from)
        self.decoder = Decoder(c.plane_channels, c.decoder_width)
        self.rows = synthesis.rows

    @classmethod
    def random(cls, config: EG3DConfig, rng: torch.Generator) -> EG3D:
        """A network that was never trained: right sizes, coloured clouds instead of faces.

        >>> tiny = EG3DConfig(z_dim=8, w_dim=8, plane_size=16, plane_channels=4, channel_max=8, render_size=8,
        ...                   enlarge_from=8, enlarge_widths=(8, 4), sampling=Sampling(coarse=4, fine=4))
        >>> clouds = EG3D.random(tiny, rng)
        >>> rendering = clouds.synthesis(clouds.sample(1, rng), View(yaw=15))
        >>> list(rendering.image.shape), list(rendering.features.shape)          # the picture, the tri-planes
        ([1, 3, 32, 32], [1, 12, 16, 16])
        """
        generator = cls(config)
        initialise(generator, rng)
        with torch.no_grad():
            ws = generator.sample(1024, rng)
            generator.backbone.mapping.w_avg.copy_(ws[:, 0].mean(0))
            generator._spread(ws[:1], rng)
        return generator.requires_grad_(False).eval()

    def _spread(self, ws: Tensor, rng: torch.Generator) -> None:
        """Scale the decoder's last layer so that density and colours of an untrained network differ between places."""
        points = self.config.box_warp * (torch.rand(1, 4096, 3, generator=rng) - 0.5)
        layer, looked_up = self.decoder.net[-1], look_up(self.planes(ws), points, self.config.box_warp)
        found = self.decoder.net(looked_up.mT)[0]
        gain = torch.tensor([20.0] + [1.5] * (len(layer.bias) - 1)) / found.std(0)
        layer.weight.mul_(gain[:, None])
        layer.bias.sub_(found.mean(0)).mul_(gain)

    @property
    def w_avg(self) -> Tensor:
        """[1, rows, w_dim], as in the base class."""
        return self.backbone.mapping.w_avg.expand(1, self.rows, -1)

    def camera(self, view: View) -> tuple[Tensor, Tensor]:
        """Pose [1, 4, 4] and intrinsics [1, 3, 3] of a view, on the device of the weights."""
        pose = look_at(view.yaw, view.pitch, self.config.radius, self.config.pivot)
        return pose[None].to(self.w_avg), intrinsics(self.config.field_of_view)[None].to(self.w_avg)

    def mapping(self, z: Tensor, truncation: float = 1.0, view: View | None = None) -> Tensor:
        """As in the base class; `view` conditions the mapping, on the frontal camera by default."""
        c = camera_vector(*self.camera(view or View())) * self.config.camera_scale
        w = self.backbone.mapping(z, c.expand(len(z), -1))
        return self.backbone.mapping.rows(w, self.rows, truncation)

    def planes(self, ws: Tensor, noise: Noise = "const") -> Tensor:
        """P(w), the tri-planes of ws [N, rows, w_dim]: [N, 3C, P, P]."""
        return self.backbone.synthesis(ws, noise)[0]

    def render(
        self, planes: Tensor, cam2world: Tensor, intrinsics: Tensor, jitter: Jitter | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features [N, C, R, R] and depth [N, 1, R, R] of tri-planes [N, 3C, P, P].

        cam2world: [N, 4, 4]; intrinsics: [N, 3, 3]; one camera serves a whole batch. R is the config's render_size.
        The first three features are the raw picture, in [-1, 1].
        """
        c, n = self.config, len(planes)
        with full_precision(planes.device):  # eight bits of a direction are a ray several pixels off
            origins, directions = pixel_rays(cam2world, intrinsics, c.render_size)

        def radiance(points: Tensor) -> tuple[Tensor, Tensor]:
            return self.decoder(look_up(planes, points, c.box_warp, c.axis_slip))

        rays = origins.expand(n, -1, -1), directions.expand(n, -1, -1)
        features, depth = render(radiance, *rays, c.sampling, jitter)
        square = (c.render_size, c.render_size)
        return features.unflatten(-1, square), depth[:, None].unflatten(-1, square)

    def synthesis(self, ws: Tensor, view: View | None = None) -> Rendering:
        view = view or View()
        planes = self.planes(ws)
        features, _ = self.render(planes, *self.camera(view), self.jitter(view))
        return Rendering(self.superresolution(features, ws), planes)

    def jitter(self, view: View) -> Jitter | None:
        """The draws that a view's seed stands for; every generator that renders the view gets the same."""
        if view.jitter is None:
            return None
        return Jitter.of_seed(self.config.sampling, self.config.render_size**2, view.jitter, self.w_avg.device)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        return {f"backbone.synthesis.{name}": p for name, p in self.backbone.synthesis.named_parameters()}

    def is_style(self, name: str) -> bool:
        return ".affine." in name

    def style_layers(self) -> dict[str, StyleLayer]:
        """The tri-planes' and the super-resolution's: the latter reads the last row of W+ alone."""
        found = {f"backbone.synthesis.{name}": layer for name, layer in self.backbone.synthesis.style_layers().items()}
        for name, block in self.superresolution.named_children():
            layers = block_style_layers(block, [self.rows - 1] * 3)
            found |= {f"superresolution.{name}.{layer}": value for layer, value in layers.items()}
        return found

    def drawing_parts(self) -> list[nn.Module]:
        return [self.backbone.synthesis, self.decoder, self.superresolution]

    def judging_views(self) -> list[View]:
        return [View(float(yaw), PITCH) for yaw in JUDGING_YAWS]

    def view_of(self, landmarks: np.ndarray) -> View:
        """The camera on the sphere that looks at the head as the photo does, whatever the photo's roll."""
        c = self.config
        return View(*looking_along(*c.alignment.direction(landmarks), c.radius, c.pivot))

    def sample_views(self, n: int, rng: torch.Generator) -> list[View]:
        """GUIDE's cameras: yaw ~ U(-15, 15) degrees at one pitch; each has its own draw of the ray samples."""
        yaws = YAW_RANGE * (2 * torch.rand(n, generator=rng) - 1)
        seeds = torch.randint(1 << 31, (n,), generator=rng)
        return [View(yaw, PITCH, seed) for yaw, seed in zip(yaws.tolist(), seeds.tolist(), strict=True)]
