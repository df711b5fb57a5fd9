"""What is painted on a head: skin, hair colour, and where scalp, beard, lips and blush lie on the mesh."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from guide_lib.heads.pack import Pack
from guide_lib.heads.person import IRISES, Person

GAMMA = 2.2  # pictures are stored in sRGB, light is added in linear RGB
DARKEST = 0.004  # added before a logarithm, linear RGB
LASHES = (0.006, 0.005, 0.005)


def smooth(x: Tensor, low: float, high: float) -> Tensor:
    """0 at `low`, 1 at `high`, with no corner between them.

    >>> smooth(torch.tensor([0.0, 0.5, 2.0]), 0, 1)
    tensor([0.00, 0.50, 1.00])
    """
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def skin_texture(pack: Pack, person: Person) -> Tensor:
    """The skin [512, 512, 3] in linear RGB: the shipped skins mixed in log space by age, ancestry and gender."""
    stage = 2.2 * person.age
    ages = {
        "young": max(0.0, 1 - stage),
        "middleage": max(0.0, 1 - abs(stage - 1)),
        "old": min(max(0.0, stage - 1), 1.0),
    }
    genders, mixed = {"female": 1 - person.gender, "male": person.gender}, torch.zeros(())
    for age, of_age in ages.items():
        for ancestry, of_ancestry in zip("abc", person.ancestry, strict=True):
            for gender, of_gender in genders.items():
                share = float(of_age * of_ancestry * of_gender)
                if share > 0.02:
                    mixed = mixed + share * _log_skin(pack, f"skin_{age}_{ancestry}_{gender}")
    a, b, c = person.tone
    tint = torch.tensor([0.10 * a + 0.03 * b, 0.12 * a - 0.03 * b + 0.01 * c, 0.16 * a - 0.05 * b - 0.05 * c])
    return (torch.exp(mixed + tint.float()) - DARKEST).clamp(0, 1)


@functools.lru_cache(maxsize=18)
def _log_skin(pack: Pack, name: str) -> Tensor:
    return (pack.textures[name] ** GAMMA + DARKEST).log()


def tints(person: Person) -> Tensor:
    """[3, 3]: the colour of hair, what lips are multiplied by, and what a blush adds to 1; linear RGB."""
    red, tint = max(-0.3, person.lips[0]), person.lips[1]
    lips = np.clip([1.0 + 0.03 * red, 0.86 - 0.10 * red, 0.88 - 0.07 * red + 0.03 * tint], 0.4, 1.4) * (1 - 0.06 * tint)
    blush = np.array([0.05, -0.05, -0.04]) * (1 + 0.5 * tint)
    return torch.from_numpy(np.stack([person.hair_colour, lips, blush])).float()


def hair_texture(pack: Pack, style: str, colour: np.ndarray, contrast: float) -> Tensor:
    """Strands [H, W, 4] in a colour [3], linear RGB; contrast: how much of the texture's own is kept."""
    strands = torch.tensor(colour).float() * _strands(pack, style, contrast)
    return torch.cat([strands.clamp(0, 1), pack.textures[style][..., 3:]], dim=-1)


@functools.lru_cache(maxsize=8)
def _strands(pack: Pack, style: str, contrast: float) -> Tensor:
    """How bright the strands of a style are beside their mean, [H, W, 1]."""
    colour, opaque = pack.textures[style].split([3, 1], dim=-1)
    light = (colour.mean(-1, keepdim=True) + 0.02) ** 1.2
    return (light * opaque.sum() / (light * opaque).sum()).clamp(0.25, 1.9) ** contrast


def plain_texture(texture: Tensor, colour: np.ndarray | tuple[float, ...]) -> Tensor:
    """The shape of a texture [H, W, 4] in one colour [3], linear RGB."""
    even = torch.tensor(np.asarray(colour)).float().expand(*texture.shape[:2], 3)
    return torch.cat([even, texture[..., 3:]], dim=-1)


def iris_texture(pack: Pack, place: float) -> Tensor:
    """The eye [H, W, 4] between the two irises on both sides of `place`, 0 to 5; linear RGB."""
    first = min(int(place), len(IRISES) - 2)
    mixed = torch.lerp(pack.textures[IRISES[first]], pack.textures[IRISES[first + 1]], place - first)
    return torch.cat([mixed[..., :3] ** GAMMA, mixed[..., 3:]], dim=-1)


@functools.lru_cache(maxsize=16)
def scalp(pack: Pack, hair: str | None) -> Tensor:
    """Where hair grows, [V] from 0 to 1; hair: a fitted style, which the paint stays under, or None for all."""
    v, body = pack.usual, pack.skin.faces.unique()
    left, right, _ = pack.landmarks(v)
    eyes, top = (left[1] + right[1]) / 2, v[body, 1].max()
    near = torch.ones(len(v))
    if hair is not None:
        high, away = body[v[body, 1] > top - 2.2], torch.full((len(v),), 9.0)
        away[high] = torch.cdist(v[high], pack.fitted[hair].fit(v)).amin(1)
        near = ((0.20 - away) / 0.10).clamp(0, 1)
    # The hairline as a height above the eyes: high in front, down the temples, behind the ear, to the nape.
    behind, aside = left[2] - v[:, 2], v[:, 0].abs()
    nape = -0.27 - 0.5 * ((behind - 1.0) / 0.5).clamp(0, 1)
    temple = 0.78 - 1.05 * (behind - 0.45) / 0.55
    line = torch.where(behind < 0.45, 0.78 - 0.10 * (aside / 0.6) ** 2, torch.where(behind < 1.0, temple, nape))
    above = ((v[:, 1] - (eyes + line)) / 0.22 + 0.5).clamp(0, 1)
    moved = [t.norm(dim=1) > 0.004 for name, t in pack.targets.items() if name.startswith("ears/")]
    ear = torch.stack(moved).any(0)
    return near * above * ~ear * (v[:, 1] > top - 2.3)


def _mouth_frame(pack: Pack) -> tuple[Tensor, Tensor, Tensor]:
    """Height above the mouth, distance from the middle and depth in front of the mouth of every vertex, dm."""
    place = pack.usual - pack.landmarks(pack.usual)[2]
    return place[:, 1], pack.usual[:, 0].abs(), place[:, 2]


@functools.lru_cache(maxsize=1)
def beard(pack: Pack) -> Tensor:
    """Where a beard grows, [V] from 0 to 1: jaw, cheeks and upper lip."""
    up, aside, ahead = _mouth_frame(pack)
    jaw = smooth(-up, -0.18, 0.12) * smooth(-up, 0.80, 0.50) * smooth(ahead, -1.3, -0.8)
    cheek = smooth(aside, 0.38, 0.62) * smooth(-up, -0.45, -0.05) * smooth(-up, 0.75, 0.45) * smooth(ahead, -1.45, -1.0)
    lip = smooth(up, 0.07, 0.13) * smooth(up, 0.27, 0.19) * smooth(aside, 0.50, 0.30) * smooth(ahead, -0.3, 0.0)
    outside = smooth((aside / 0.30) ** 2 + ((up + 0.02) / 0.16) ** 2, 1.0, 1.25)
    return torch.maximum(torch.maximum(jaw, 0.8 * cheek), lip) * outside


@functools.lru_cache(maxsize=1)
def lips(pack: Pack) -> Tensor:
    """Where the lips are, [V] from 0 to 1."""
    up, aside, ahead = _mouth_frame(pack)
    return smooth((aside / 0.27) ** 2 + ((up + 0.01) / 0.145) ** 2, 1.15, 0.75) * smooth(ahead, -0.25, -0.1)


@functools.lru_cache(maxsize=1)
def blush(pack: Pack) -> Tensor:
    """Where cheeks redden, [V] from 0 to 1."""
    left, right, mouth = pack.landmarks(pack.usual)
    height = 0.55 * mouth[1] + 0.45 * (left[1] + right[1]) / 2
    away = (pack.usual[:, 0].abs() - 1.15 * left[0]) ** 2 + (pack.usual[:, 1] - height) ** 2
    return torch.exp(-away / 0.06) * smooth(pack.usual[:, 2] - mouth[2], -0.6, -0.2)


@functools.lru_cache(maxsize=1)
def above_the_neckline(pack: Pack) -> Tensor:
    """How far above a round collar each vertex lies, [V] dm; the shirt ends at 0."""
    left, _, mouth = pack.landmarks(pack.usual)
    front = (pack.usual[:, 2] - (left[2] - 1.4)).clamp(0, 0.9)
    return pack.usual[:, 1] - mouth[1] + 0.93 + 0.16 * front
