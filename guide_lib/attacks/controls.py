"""What an attack is worth: the same attack where nobody was erased, and on strangers whom nobody erased.

>>> from guide_lib.inversion import InversionSettings
>>> tools = Equipment({"own": perceptual}, {"own": embedder}, {"judge": judge})
>>> attacker = Attacker(starts=1, settings=InversionSettings(30, 30, learning_rate=0.2))
>>> both = search_beside(Hunted(student, photo, w_u), generator, strangers_of(generator, 2), attacker, tools)
>>> for line in both.lines("judge"):
...     print(line.space, f"{line.best:.1f} {line.untouched:.1f} {line.strangers:.1f}")
W 0.2 1.0 0.7
W+ 0.6 1.0 0.9
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from zlib import crc32

import torch
from torch import Tensor

from guide_lib.attacks.found import Found, Hunted
from guide_lib.attacks.search import LOOK_EVERY, Attacker, Equipment, search
from guide_lib.generators import Generator
from guide_lib.metrics.identity import render

STRANGERS, STRANGER_SEED = 2, 60_606


@dataclass(frozen=True)
class Line:
    """One space of an attack beside its controls; cosines of one judge.

    space: "W" or "W+". best, kept: of the erased person, by the judge's choice among the starts and by the attacker's.
    untouched: the best in the untouched generator. strangers: the best of each stranger in the student, mean.
    """

    space: str
    best: float
    kept: float
    untouched: float
    strangers: float

    @property
    def excess(self) -> float:
        """What is found of the person beyond what is found of anybody: 0 says that the erasure hides nothing."""
        return self.best - self.strangers

    @property
    def withheld(self) -> float:
        """What the erasure takes from the searcher."""
        return self.untouched - self.best


@dataclass(frozen=True)
class Beside:
    """An attack and its controls, each space by space.

    attack: on the student. untouched: the same person in the untouched generator. strangers: of each photo, in the
    student.
    """

    attack: list[Found]
    untouched: list[Found]
    strangers: list[list[Found]]

    def lines(self, judge: str) -> list[Line]:
        """Side by side, by one judge; only spaces that every part of it has reached."""
        lines = []
        for found, before, *others in zip(self.attack, self.untouched, *self.strangers, strict=False):
            anybody = sum(other.best(judge) for other in others) / len(others) if others else float("nan")
            lines.append(Line(found.space, found.best(judge), found.kept(judge), before.best(judge), anybody))
        return lines


def search_beside(
    person: Hunted,
    generator: Generator,
    strangers: Tensor,
    attacker: Attacker,
    equipment: Equipment,
    *,
    look_every: int = LOOK_EVERY,
    stop_at: Mapping[str, float] | None = None,
) -> Beside:
    """Search the student for the person and for strangers [K, 3, S, S], and the untouched generator for the person.

    Seeds, starts and budget are the same. See `search`.
    """
    options = {"look_every": look_every, "stop_at": stop_at}
    (attack,) = search([person], attacker, equipment, **options)
    (untouched,) = search([replace(person, student=generator)], attacker, equipment, **options)
    others = [replace(person, photo=photo, w_u=None) for photo in strangers.split(1)]
    return Beside(attack, untouched, search(others, attacker, equipment, **options))


def strangers_of(generator: Generator, count: int = STRANGERS, name: str = "") -> Tensor:
    """Pictures of `count` people whom nobody erases [count, 3, S, S]; for real photos let strangers be real, too.

    name: of the erased person; each has strangers of their own.
    """
    rng = torch.Generator().manual_seed(STRANGER_SEED + crc32(name.encode(errors="surrogateescape")))
    return render(generator, generator.sample(count, rng, 0.7))
