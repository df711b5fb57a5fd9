"""How bright a place on a head is: light that wraps around, the sky, and highlights as seen from in front."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from guide_lib.heads.raster import Fragments, look_up
from guide_lib.heads.scene import Part

VIEWER = (0.0, 0.0, 2.7)  # from where highlights are seen, whatever the camera
HAIR_MIDDLE = (0.0, 0.02, -0.03)  # hair is shaded as if it lay on a ball around this point
WRAP = (0.30, 0.15, 0.10)  # how far red, green and blue light reach around skin
CUT_WIDTH, CUT_NOISE = 0.04, 0.03  # of the ends of long hair, world units


@dataclass(frozen=True)
class Light:
    """A lamp far away and the sky. direction: [3], toward the lamp. lamp, sky: [3], linear RGB.

    The usual light is fixed to the head, from the upper left of the picture.
    """

    direction: tuple[float, float, float] = (-0.35, 0.42, 0.84)
    lamp: tuple[float, float, float] = (1.0, 1.0, 1.0)
    sky: tuple[float, float, float] = (0.52, 0.52, 0.52)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        """Another light: a lamp within 55 degrees to the sides and from -5 to 50 degrees up, a little warm or cold.

        >>> Light.draw(np.random.default_rng(0)).direction == Light.draw(np.random.default_rng(1)).direction
        False
        """
        aside, up = np.radians(rng.uniform(-55, 55)), np.radians(rng.uniform(-5, 50))
        direction = (math.sin(aside) * math.cos(up), math.sin(up), math.cos(aside) * math.cos(up))
        strength, ambient, warmth = rng.uniform(0.75, 1.15), rng.uniform(0.4, 0.6), rng.normal(0, 0.04)
        lamp = (strength * (1 + warmth), strength, strength * (1 - warmth))
        return cls(direction, lamp, (ambient * (1 - warmth), ambient, ambient * (1 + warmth)))


@dataclass(frozen=True)
class Place:
    """Points of a part that are to be lit.

    part, fragments: what they belong to. position, normal: [K, 3], in the world; the normal has length 1. uv: [K, 2],
    places in the texture.
    """

    part: Part
    fragments: Fragments
    position: Tensor
    normal: Tensor
    uv: Tensor

    @classmethod
    def of(cls, part: Part, fragments: Fragments) -> Place:
        """The points that a part's fragments show."""
        faces = part.surface.faces
        normal = F.normalize(fragments.at(part.normals, faces), dim=1)
        return cls(part, fragments, fragments.at(part.vertices, faces), normal, fragments.uv(part.surface))

    def painted(self) -> Tensor:
        """The part's layers of paint, [K, P]."""
        return self.fragments.at(self.part.paint, self.part.surface.faces)

    def density(self) -> Tensor:
        """How much of what is behind hair or a card it hides, [K]; long hair thins out where it is cut."""
        density = look_up(self.part.texture, self.uv)[:, 3]
        if self.part.cut > -1:
            end = self.part.cut - CUT_NOISE * (grain(3 * self.uv) - 0.5)
            density = density * ((self.position[:, 1] - end) / CUT_WIDTH).clamp(0, 1)
        return density


@dataclass(frozen=True)
class Lamp:
    """A light at the places of a part. toward: [3]. falls: [K], cosine of its angle. mirrors: [K], of the highlight's.

    colour, sky: [3].
    """

    colour: Tensor
    sky: Tensor
    falls: Tensor
    mirrors: Tensor

    @classmethod
    def on(cls, light: Light, position: Tensor, normal: Tensor) -> Lamp:
        """A light as it falls on points with normals, [K, 3] each."""
        toward = F.normalize(torch.tensor(light.direction), dim=0)
        viewer = F.normalize(torch.tensor(VIEWER) - position, dim=1)
        between = F.normalize(toward + viewer, dim=1)
        mirrors = (normal * between).sum(1).clamp(min=0)
        return cls(torch.tensor(light.lamp), torch.tensor(light.sky), normal @ toward, mirrors)

    def wrapped(self, by: float) -> Tensor:
        """Light that reaches beyond the edge between day and night, [K, 1]."""
        return ((self.falls + by) / (1 + by)).clamp(min=0)[:, None]


def shade(place: Place, light: Light) -> Tensor:
    """Linear RGB of every place, [K, 3]."""
    return {"skin": _skin, "cloth": _cloth, "eye": _eye, "card": _card, "hair": _hair}[place.part.kind](place, light)


def _skin(place: Place, light: Light) -> Tensor:
    lamp = Lamp.on(light, place.position, place.normal)
    open_to_sky, scalp, beard, lips, blush = place.painted().split(1, dim=1)
    hair_tint, lip_tint, blush_tint = place.part.tints
    fine = grain(place.uv)[:, None]
    colour = look_up(place.part.texture, place.uv)
    colour = colour * (1 + lips * (lip_tint - 1)) * (1 + blush * blush_tint)
    stubble, whiskers = (scalp * (0.75 + 0.5 * fine)).clamp(0, 1), (beard * (0.55 + 0.9 * fine)).clamp(0, 0.93)
    colour = torch.lerp(colour, hair_tint, stubble)
    colour = torch.lerp(colour, 0.8 * hair_tint + 0.008, whiskers)
    direct = torch.cat([lamp.wrapped(by) for by in WRAP], dim=1)
    above = 0.72 + 0.28 * place.normal[:, 1:2]
    gloss = (0.10 * lamp.mirrors**18 + 0.05 * lamp.mirrors**60)[:, None] * (1 - stubble) * (1 - 0.8 * whiskers)
    return colour * (lamp.colour * direct + lamp.sky * above * open_to_sky) + 0.6 * lamp.colour * gloss


def _cloth(place: Place, light: Light) -> Tensor:
    lamp = Lamp.on(light, place.position, place.normal)
    above = (0.72 + 0.28 * place.normal[:, 1:2]) * place.painted()[:, :1]
    return place.part.texture[0, 0] * (lamp.colour * lamp.wrapped(0.1) + lamp.sky * above)


def _eye(place: Place, light: Light) -> Tensor:
    lamp = Lamp.on(light, place.position, place.normal)
    colour = 0.62 * look_up(place.part.texture, place.uv)[:, :3]
    spark = 0.9 * lamp.colour * (lamp.mirrors**220)[:, None]
    return colour * (lamp.colour * lamp.wrapped(0.4) + 0.8 * lamp.sky) + spark


def _card(place: Place, light: Light) -> Tensor:
    lamp = Lamp.on(light, place.position, _toward_viewer(place))
    colour = look_up(place.part.texture, place.uv)[:, :3]
    return colour * (lamp.colour * lamp.wrapped(0.3) + 0.8 * lamp.sky)


def _hair(place: Place, light: Light) -> Tensor:
    ball = F.normalize(place.position - torch.tensor(HAIR_MIDDLE), dim=1)
    normal = F.normalize(0.45 * _toward_viewer(place) + 0.8 * ball, dim=1)
    lamp = Lamp.on(light, place.position, normal)
    colour = look_up(place.part.texture, place.uv)[:, :3]
    direct, above = 1.1 * lamp.colour * lamp.wrapped(0.35), 0.7 * lamp.sky * (0.7 + 0.3 * normal[:, 1:2])
    gloss = 0.55 * (0.8 * colour + 0.006) * lamp.colour * (lamp.mirrors**14)[:, None]
    return colour * (direct + above) + gloss


def _toward_viewer(place: Place) -> Tensor:
    """The normal on the side that is seen: thin surfaces have none of their own."""
    viewer = torch.tensor(VIEWER) - place.position
    return place.normal * torch.sign((place.normal * viewer).sum(1, keepdim=True) + 1e-6)


@functools.lru_cache(maxsize=1)
def _noise() -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).random((256, 256, 1), dtype=np.float64)).float()


def grain(uv: Tensor) -> Tensor:
    """Fine noise around one half at places of a texture [K, 2]: [K], in [0, 1]."""
    fine, coarse = (look_up(_noise(), uv * scale)[:, 0] for scale in (1.9, 0.7))
    return (0.5 + 0.9 * (fine - 0.5) + 0.6 * (coarse - 0.5)).clamp(0, 1)
