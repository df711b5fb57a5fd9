"""A person as parts that can be drawn: triangles in the world, each with its texture or paint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from guide_lib.heads import paint
from guide_lib.heads.pack import Pack, Surface
from guide_lib.heads.person import Person
from guide_lib.heads.shape import SCALE, mesh, normals

Kind = Literal["skin", "cloth", "eye", "card", "hair"]
AFRO, AFRO_SHARE = "afro01", 0.93  # its usual size would leave the picture
ABOVE_THE_SKIN = 0.004  # of the shirt, world units


@dataclass(frozen=True)
class Part:
    """What is drawn alike.

    kind: of material; a card is a thin surface of hairs, brows and lashes. vertices: [V, 3] in the world. surface: its
    triangles. normals: [V, 3]. texture: [H, W, 3 or 4], linear RGB and opacity. paint: [V, P] from 0 to 1; of skin, how
    open it is to the sky, scalp, beard, lips and blush; of cloth, how open it is and how far above its edge.
    tints: [3, 3], of skin: the colour of hair, what lips are multiplied by, what a blush adds to 1. cut: the height in
    the world where hair ends.
    """

    kind: Kind
    vertices: Tensor
    surface: Surface
    normals: Tensor
    texture: Tensor
    paint: Tensor | None = None
    tints: Tensor | None = None
    cut: float = -1.0


def build(pack: Pack, person: Person) -> list[Part]:
    """The parts of a person, those that hide what is behind them first."""
    vertices, origin, scale = mesh(pack, person)
    world = (vertices - origin) * scale
    parts = [_skin(pack, person, world), _shirt(pack, person, world)]
    colour = np.minimum(0.4 * person.hair_colour, 0.08)
    looks = {
        "eye_high": ("eye", paint.iris_texture(pack, person.iris)),
        person.brow: ("card", paint.plain_texture(pack.textures[person.brow], colour)),
        "lash": ("card", paint.plain_texture(pack.textures["lash"], paint.LASHES)),
    }
    if person.hair in pack.fitted:
        contrast = 0.25 if person.hair == AFRO else 0.65
        looks[person.hair] = ("hair", paint.hair_texture(pack, person.hair, person.hair_colour, contrast))
    for name, (kind, texture) in looks.items():
        surface = pack.fitted[name]
        placed = (surface.fit(vertices) - origin) * scale
        if name == AFRO:
            middle = torch.tensor([0.0, 0.02, -0.03])
            placed = middle + AFRO_SHARE * (placed - middle)
        cut = person.cut * SCALE if name == "long01" else -1.0
        parts.append(Part(kind, placed, surface, normals(placed, surface.faces), texture, cut=cut))
    return parts


def _skin(pack: Pack, person: Person, world: Tensor) -> Part:
    scalp = torch.zeros(len(world))
    if person.hair in pack.fitted:
        scalp = 0.85 * paint.scalp(pack, person.hair)
    elif person.hair == "buzz":
        scalp = 0.72 * paint.scalp(pack, None)
    layers = [pack.occlusion, scalp, paint.beard(pack) * person.beard, paint.lips(pack), paint.blush(pack)]
    texture, tints = paint.skin_texture(pack, person), paint.tints(person)
    return Part("skin", world, pack.skin, normals(world, pack.skin.faces), texture, torch.stack(layers, dim=1), tints)


def _shirt(pack: Pack, person: Person, world: Tensor) -> Part:
    outward = normals(world, pack.shirt)
    surface = Surface(pack.shirt, torch.zeros(len(world), 2), pack.shirt)  # of one colour everywhere
    texture = torch.tensor(person.shirt).view(1, 1, 3)
    layers = torch.stack([pack.occlusion, paint.above_the_neckline(pack)], dim=1)
    return Part("cloth", world + ABOVE_THE_SKIN * outward, surface, outward, texture, layers)
