"""Light on a head: a picture, where the head covers it, and how far away it is.

>>> from guide_lib.generators.cameras import look_at
>>> from guide_lib.heads.person import NUMBERS, describe
>>> photo = photograph(describe(torch.ones(NUMBERS)), look_at(yaw=20, pitch=0), size=32)
>>> list(photo.image.shape), list(photo.alpha.shape), list(photo.depth.shape)
([3, 32, 32], [32, 32], [32, 32])

Cameras are those of `guide_lib.generators.cameras`, and the world is the generator's. A place has one colour, from
wherever it is seen: highlights are those that a camera in front sees. So a radiance field can hold every picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.generators.cameras import intrinsics
from guide_lib.heads.pack import load_pack
from guide_lib.heads.paint import GAMMA
from guide_lib.heads.person import Person
from guide_lib.heads.raster import FAR, Fragments, cover, nearest, opacity
from guide_lib.heads.scene import Part, build
from guide_lib.heads.shade import Light, Place, shade

FOCAL = intrinsics(18.837)[0, 0].item()  # in units of the picture's side; EG3D's
BACKGROUND = (0.62, 0.64, 0.68)  # sRGB
LAYERS = 10  # of hair, counted from the camera; what is behind them is hidden
CARD_MARGIN = 0.004  # how deep a brow may lie in the skin and still be seen, world units
OPAQUE, ONE_SURFACE = 0.97, 0.012  # what a pixel with a depth needs: alpha, and how far its samples are apart


@dataclass(frozen=True)
class Photo:
    """What a camera sees.

    image: [3, S, S], sRGB in [-1, 1]. alpha: [S, S], how much of a pixel the head covers. depth: [S, S], distance along
    the ray to the first surface, world units; 0 where there is none or more than one.
    """

    image: Tensor
    alpha: Tensor
    depth: Tensor


@torch.no_grad()
def photograph(
    person: Person, cam2world: Tensor, size: int = 128, light: Light | None = None, samples: int = 2
) -> Photo:
    """The picture of a person. cam2world: [4, 4]; samples: along the side of a pixel."""
    return photographs(person, cam2world[None], size, light, samples)[0]


@torch.no_grad()
def photographs(
    person: Person, poses: Tensor, size: int = 128, light: Light | None = None, samples: int = 2
) -> list[Photo]:
    """One picture for each pose [N, 4, 4]; the person is put together once."""
    parts = build(load_pack(), person)
    return [_developed(*_exposed(parts, pose, size * samples, light or Light()), size) for pose in poses]


def project(vertices: Tensor, cam2world: Tensor, size: int) -> Tensor:
    """Where points [V, 3] of the world are in a picture of `size` px: x, y in pixels and depth along the axis, [V, 3].

    >>> pose = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.7], [0, 0, 0, 1]])       # in front, upright
    >>> project(torch.zeros(1, 3), pose, size=128)
    tensor([[64.0, 64.0, 2.7]])
    """
    seen = (vertices - cam2world[:3, 3]) @ cam2world[:3, :3]
    depth = seen[:, 2:]
    return torch.cat([(FOCAL * seen[:, :2] / depth + 0.5) * size, depth], dim=1)


def _exposed(parts: list[Part], pose: Tensor, side: int, light: Light) -> tuple[Tensor, Tensor, Tensor]:
    """Linear RGB [P, 3], alpha [P] and depth [P] of every sample of a picture; the colour is not divided by alpha."""
    projected = [project(part.vertices, pose, side) for part in parts]
    solid, depth = [], torch.full((side * side,), FAR)
    for part, points in zip(parts, projected, strict=True):
        if part.kind not in ("hair", "card"):
            found = _opaque(part, cover(points, part.surface.faces, side, one_sided=True))
            depth = nearest(depth, found)
            solid.append((part, found))
    colour, alpha = torch.zeros(side * side, 3), (depth < FAR).float()
    for part, found in solid:
        first = found[found.depth <= depth[found.pixel]]
        colour[first.pixel] = shade(Place.of(part, first), light)
    strands = []
    for part, points in zip(parts, projected, strict=True):
        if part.kind in ("hair", "card"):
            found = cover(points, part.surface.faces, side, one_sided=False)
            margin = CARD_MARGIN if part.kind == "card" else 0.0
            strands.append((part, found[found.depth < depth[found.pixel] + margin]))
    depth = torch.where(alpha > 0, depth, torch.zeros(()))
    return _with_hair(strands, light, colour, alpha, depth)


def _opaque(part: Part, found: Fragments) -> Fragments:
    """Without the clear cornea in front of an eye, and without what lies above a shirt's edge."""
    if part.kind == "eye":
        return found[opacity(part.texture, found.uv(part.surface)) > 0.5]
    if part.kind == "cloth":
        return found[found.at(part.paint, part.surface.faces)[:, 1] < 0]
    return found


def _with_hair(
    strands: list[tuple[Part, Fragments]], light: Light, colour: Tensor, alpha: Tensor, depth: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What lies under hair, with the hair over it: all its layers, front to back, each as dense as its texture."""
    pixels, depths, colours, densities = [], [], [], []
    for part, found in strands:
        place = Place.of(part, found[opacity(part.texture, found.uv(part.surface)) > 0.06])
        colours.append(shade(place, light))
        densities.append(place.density())
        pixels.append(place.fragments.pixel)
        depths.append(place.fragments.depth)
    pixel, far = torch.cat(pixels), torch.cat(depths)
    order = torch.argsort(pixel.double() * 16 + far.double())
    pixel, far = pixel[order], far[order]
    tint, density = torch.cat(colours)[order], torch.cat(densities)[order]
    layer = torch.arange(len(pixel)) - torch.searchsorted(pixel, pixel)
    through, hair = torch.ones(len(alpha)), torch.zeros(len(alpha), 3)
    for nth in range(LAYERS):
        now = layer == nth
        at, before = pixel[now], through[pixel[now]]
        hair[at] += (before * density[now])[:, None] * tint[now]
        through[at] = before * (1 - density[now])
        half = (before > 0.5) & (through[at] <= 0.5)  # what is seen of the hair is its outermost half
        depth[at[half]] = far[now][half]
    return hair + colour * through[:, None], 1 - (1 - alpha) * through, depth


def _developed(colour: Tensor, alpha: Tensor, depth: Tensor, size: int) -> Photo:
    """The samples' means, in sRGB, in front of the background."""
    samples = len(alpha) // size**2

    def gathered(values: Tensor) -> Tensor:
        per_side = math.isqrt(samples)
        return values.view(size, per_side, size, per_side, -1).transpose(1, 2).flatten(2, 3)

    cover_share, mean = gathered(alpha).mean((2, 3)), gathered(colour).mean(2)
    light = mean / cover_share.clamp(min=1e-4)[..., None]
    tone = (1.12 * light / (1 + 0.18 * light)).clamp(0, 1) ** (1 / GAMMA)  # bright places bend to white
    image = tone * cover_share[..., None] + torch.tensor(BACKGROUND) * (1 - cover_share[..., None])
    far = gathered(depth)[..., 0]
    near = far.mean(-1)
    one = (far > 0).all(-1) & ((far - near[..., None]).abs().amax(-1) < ONE_SURFACE) & (cover_share > OPAQUE)
    return Photo(
        2 * image.permute(2, 0, 1).clamp(0, 1) - 1, cover_share, torch.where(one, near * _slant(size), torch.zeros(()))
    )


def _slant(size: int) -> Tensor:
    """How much longer the ray to each pixel is than its depth along the camera's axis, [S, S]."""
    place = ((torch.arange(size) + 0.5) / size - 0.5) / FOCAL
    return torch.sqrt(1 + place[None] ** 2 + place[:, None] ** 2)
