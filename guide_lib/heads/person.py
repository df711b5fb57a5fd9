"""Sixty-four numbers from N(0, 1) that say everything about a head: z is the person.

>>> person = describe(np.zeros(NUMBERS))
>>> person.hair, round(person.gender, 2), round(person.age, 2)
('ponytail01', 0.5, 0.32)

No face was measured: the numbers move a mesh and mix paints. What a generator is given as z is therefore known to
mean, and a z that was never seen has a true picture.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HAIR_STYLES = ("short01", "short02", "short04", "long01", "ponytail01", "afro01", "buzz", "bald")
BROWS = ("eyebrow001", "eyebrow004", "eyebrow009", "eyebrow012")
IRISES = ("brown", "brownlight", "green", "bluegreen", "grey", "blue")

# Log-weights of the styles of hair for the two ends of `gender`; how much a choice leans on its own number: 1.5.
FEMININE = np.array([-1.0, -0.8, -0.8, 1.9, 1.9, 0.3, -1.2, -9.0])
MASCULINE = np.array([1.2, 1.2, 1.2, -1.2, -1.0, 0.2, 0.6, 0.4])
CHOICE = 1.5
# Linear RGB of hair from black to blond, and what it is mixed with.
HAIR_RAMP = np.array(
    [
        [0.012, 0.010, 0.009],
        [0.035, 0.022, 0.014],
        [0.075, 0.042, 0.022],
        [0.160, 0.085, 0.040],
        [0.300, 0.190, 0.090],
        [0.450, 0.330, 0.180],
    ]
)
RED, GREY = np.array([0.210, 0.055, 0.020]), np.array([0.400, 0.390, 0.380])

# What a number moves: targets of the mesh for its positive and its negative values, and how far one sd goes.
SHAPES: tuple[tuple[str, str, float], ...] = (
    ("head/head-scale-horiz-incr", "head/head-scale-horiz-decr", 0.22),
    ("head/head-scale-depth-incr", "head/head-scale-depth-decr", 0.16),
    ("head/head-scale-vert-incr", "head/head-scale-vert-decr", 0.15),
    ("head/head-fat-incr", "head/head-fat-decr", 0.20),
    ("head/head-round", "head/head-rectangular", 0.35),
    ("head/head-triangular", "head/head-invertedtriangular", 0.35),
    ("head/head-oval", "head/head-square", 0.20),
    ("forehead/forehead-nubian-incr", "forehead/forehead-nubian-decr", 0.30),
    ("forehead/forehead-scale-vert-incr", "forehead/forehead-scale-vert-decr", 0.18),
    ("chin/chin-height-incr", "chin/chin-height-decr", 0.35),
    ("chin/chin-prominent-incr", "chin/chin-prominent-decr", 0.30),
    ("chin/chin-bones-incr", "chin/chin-bones-decr", 0.35),
    ("chin/chin-width-incr", "chin/chin-width-decr", 0.40),
    ("eyes/{}-eye-trans-up", "eyes/{}-eye-trans-in", 0.25),
    ("eyes/{}-eye-scale-incr", "eyes/{}-eye-scale-decr", 0.40),
    ("eyes/{}-eye-height2-incr", "eyes/{}-eye-height2-decr", 0.22),
    ("eyes/{}-eye-corner1-up", "eyes/{}-eye-corner1-down", 0.40),
    ("eyes/{}-eye-epicanthus-out", "eyes/{}-eye-epicanthus-in", 0.30),
    ("eyebrows/eyebrows-trans-up", "eyebrows/eyebrows-trans-down", 0.35),
    ("eyebrows/eyebrows-angle-up", "eyebrows/eyebrows-angle-down", 0.25),
    ("nose/nose-scale-depth-incr", "nose/nose-scale-depth-decr", 0.32),
    ("nose/nose-scale-vert-incr", "nose/nose-scale-vert-decr", 0.32),
    ("nose/nose-width3-incr", "nose/nose-width3-decr", 0.40),
    ("nose/nose-base-up", "nose/nose-base-down", 0.35),
    ("nose/nose-hump-incr", "nose/nose-hump-decr", 0.40),
    ("nose/nose-volume-incr", "nose/nose-volume-decr", 0.35),
    ("mouth/mouth-trans-up", "mouth/mouth-trans-in", 0.22),
    ("mouth/mouth-scale-horiz-incr", "mouth/mouth-scale-horiz-decr", 0.35),
    ("mouth/mouth-angles-up", "mouth/mouth-angles-down", 0.25),
    ("mouth/mouth-upperlip-height-incr", "mouth/mouth-upperlip-height-decr", 0.45),
    ("mouth/mouth-lowerlip-height-incr", "mouth/mouth-lowerlip-height-decr", 0.45),
    ("cheek/{}-cheek-volume-incr", "cheek/{}-cheek-volume-decr", 0.40),
    ("cheek/{}-cheek-bones-incr", "cheek/{}-cheek-bones-decr", 0.45),
    ("ears/{}-ear-scale-incr", "ears/{}-ear-scale-decr", 0.30),
    ("ears/{}-ear-wing-incr", "ears/{}-ear-wing-decr", 0.35),
)
# Where the middle of each lies; the eyes are a little large, to be read in small pictures.
USUAL = np.zeros(len(SHAPES))
USUAL[[0, 14, 19, 28]] = -0.2, 0.35, 0.12, 0.1
ATTRIBUTES = 29  # the numbers in front of those of `SHAPES`
NUMBERS = ATTRIBUTES + len(SHAPES)
NAMED = {"gender": 0, "age": 1, "weight": 2, "smile": 28}  # numbers of z that say one thing each


@dataclass(frozen=True)
class Person:
    """What a head is made of.

    ancestry: [3], shares of the mesh's three ancestries, sum 1. gender: 0 feminine to 1 masculine. age: 0 young adult
    to 0.9 old. weight: -0.9 to 0.9. shape: [35], how far each of `SHAPES` goes, -1 to 1. tone: [3], of the skin, sd.
    hair: a style. hair_colour: [3], linear RGB. cut: height under which long hair ends, decimetres from the look-at
    point. brow: a style. iris: place along `IRISES`, 0 to 5. beard: 0 to 1. lips: [2], redness and tint, sd.
    lid: how far the eyes are closed. smile: 0 to 0.8. brows: raised to 1, drawn down to -1. shirt: [3], linear RGB.
    """

    ancestry: np.ndarray
    gender: float
    age: float
    weight: float
    shape: np.ndarray
    tone: np.ndarray
    hair: str
    hair_colour: np.ndarray
    cut: float
    brow: str
    iris: float
    beard: float
    lips: np.ndarray
    smile: float
    lid: float = 0.05
    brows: float = 0.0
    shirt: tuple[float, float, float] = (0.16, 0.18, 0.22)


def describe(z: np.ndarray | Sequence[float]) -> Person:
    """The person whom z [64] stands for. Only directions count: z is first scaled to unit mean square."""
    z = np.asarray(z, dtype=np.float64)
    z = z / math.sqrt(np.square(z).mean() + 1e-8)
    ancestry = np.exp(1.8 * z[3:6])
    ancestry /= ancestry.sum()
    gender, age = _logistic(2.5 * z[0]), 0.9 * _share(z[1]) ** 1.5
    dark = ancestry[0] + 0.6 * ancestry[1]
    styles = gender * MASCULINE + (1 - gender) * FEMININE + CHOICE * z[12:20]
    return Person(
        ancestry=ancestry,
        gender=gender,
        age=age,
        weight=float(np.clip(0.4 * z[2], -0.9, 0.9)),
        shape=np.clip(z[ATTRIBUTES:] * np.array([sd for *_, sd in SHAPES]) + USUAL, -1, 1),
        tone=0.8 * z[6:9],
        hair=HAIR_STYLES[int(styles.argmax())],
        hair_colour=_hair_colour(z[9:12], age, dark),
        cut=float(np.interp(z[20], [-1.0, 1.0], [-0.75, -1.6])),
        brow=BROWS[int(z[21:25].argmax())],
        iris=float(5 * np.clip(_share(z[25] + 1.4 * (0.6 - 2 * dark)), 0, 1)),
        beard=float(np.clip(0.1 + 0.5 * z[26], 0, 1) * _ramp(gender, 0.5, 0.7)),
        lips=np.array([z[27] + 0.6 * (1 - gender), 0.5 * z[27]]),
        smile=0.8 * float(_ramp(_share(z[28]), 0.35, 1.0)),
    )


def another_day(person: Person, rng: np.random.Generator, redressed: bool = False) -> Person:
    """The same person with another expression and, `redressed`, with hair, beard and shirt of somebody else.

    >>> person, rng = describe(np.ones(NUMBERS)), np.random.default_rng(0)
    >>> later = another_day(person, rng)
    >>> later.smile == person.smile, later.hair == person.hair, np.array_equal(later.shape, person.shape)
    (False, True, True)
    """
    smile, brows = rng.choice([0.0, rng.uniform(0.1, 0.8)]), rng.uniform(-0.6, 0.6)
    later = dataclasses.replace(person, smile=float(smile), brows=float(brows), lid=float(rng.uniform(0.0, 0.12)))
    if not redressed:
        return later
    other = describe(rng.standard_normal(NUMBERS))
    styles = person.gender * MASCULINE + (1 - person.gender) * FEMININE + CHOICE * rng.standard_normal(len(HAIR_STYLES))
    return dataclasses.replace(
        later,
        hair=HAIR_STYLES[int(styles.argmax())],
        hair_colour=other.hair_colour,
        cut=other.cut,
        beard=other.beard * float(person.gender > 0.5),
        shirt=tuple(rng.uniform(0.02, 0.6, 3).tolist()),
    )


def _hair_colour(z: np.ndarray, age: float, dark: float) -> np.ndarray:
    place = 5 * _share(z[0] + 1.2 - 2.4 * dark)
    colour = np.array([np.interp(place, range(6), column) for column in HAIR_RAMP.T])
    red = 0.8 * _ramp(z[1], 1.2, 1.8) * (1 - dark)
    grey = _ramp(age, 0.40, 0.80) * _ramp(z[2], -0.8, 0.8)
    return (colour * (1 - red) + RED * red) * (1 - grey) + GREY * grey


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _share(x: float) -> float:
    """The part of N(0, 1) below x."""
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def _ramp(x: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, straight between."""
    return min(max((x - low) / (high - low), 0.0), 1.0)
