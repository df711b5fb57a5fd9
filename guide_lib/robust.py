"""Forget for good: what a search finds after an erasure is erased as well, round after round.

>>> settings = RobustSettings(rounds=1, attacker=Attacker(starts=2, settings=InversionSettings(5, 0)))
>>> settings = replace(settings, training=UnlearningSettings(steps=3, learning_rate=1e-2))
>>> run = {"perceptual": perceptual, "embedder": embedder, "start": student}
>>> for step in forget_for_good(generator, w_u, w_t, photo, settings, **run):
...     print(step.round, step.kind, step.index, len(step.codes))
1 search 1 3
1 training 1 3
1 training 2 3
1 training 3 3

ID asks one latent, and an erasure moves that one. The person is drawn at others, which an attacker with a photo finds
in a minute (`guide_lib.attacks.search`). Each round makes the attack itself, with the defender's own networks, and then
trains on w_u and on the codes that were found, in turn, toward the same target. An attacker who is searched for anew
costs the most and is met the least; one who is pursued (`pursuit`) goes on from where the last training left him, so
that student and attacker move by turns, as in adversarial training. Adversarial training of concept erasers (Zhang et
al. 2024, AdvUnlearn, arXiv 2405.15234) and search before one erasure (Srivatsan et al. 2024, STEREO, arXiv 2408.16807)
do so for diffusion models.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guide_lib.attacks import Attacker, Equipment, Hunted, search
from guide_lib.checkpoint import Run, load_tensors, networks_digest, save_tensors
from guide_lib.errors import GuideError
from guide_lib.generators import Generator, View
from guide_lib.inversion import Encoder, InversionSettings, invert
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS
from guide_lib.runtime import computes_bfloat16
from guide_lib.unlearning import UnlearningSettings, unlearn

# Of the training of a round: few steps, all weights at twice the rate of `fast`. Style layers alone keep more of the
# others and stop nobody.
ROUND = {"steps": 10, "learning_rate": 6e-5, "walk": 0.0}
SEED_STEP = 1_000  # between the seeds of two rounds: none of them starts where another did


@dataclass(frozen=True)
class RobustSettings:
    """How often is searched and how is trained.

    rounds: of a search and a training. attacker: who searches; his networks are those of the losses. training: of each
    round. pursuit: from the second round on the codes of the round before take so many steps on, in the student as it
    is by then, and w_u and these alone are trained on; 0 searches anew and keeps all that was ever found. once: every
    round begins again at `start`, with as many steps more; otherwise it goes on from the round before.
    """

    rounds: int = 4
    attacker: Attacker = field(
        default_factory=lambda: Attacker(starts=2, settings=InversionSettings(steps_w=80, steps_w_plus=0))
    )
    training: UnlearningSettings = field(default_factory=lambda: UnlearningSettings.fast(**ROUND))
    pursuit: int = 20
    once: bool = False

    @classmethod
    def fast(cls, device: torch.device | None = None, **changes: Any) -> RobustSettings:
        """The defaults, in mixed precision if `device` is given and is faster so; `changes` by field name.

        >>> RobustSettings.fast(rounds=8) == RobustSettings(rounds=8)
        True
        """
        settings = cls(**changes)
        mixed = device is not None and computes_bfloat16(device)
        searching = replace(settings.attacker.settings, mixed_precision=mixed)
        attacker = replace(settings.attacker, settings=searching)
        return replace(settings, attacker=attacker, training=replace(settings.training, mixed_precision=mixed))

    def training_of(self, index: int) -> UnlearningSettings:
        """Of round `index`, counted from 1.

        >>> settings = RobustSettings(training=UnlearningSettings(steps=30, seed=5), once=True)
        >>> [(settings.training_of(index).steps, settings.training_of(index).seed) for index in (1, 2)]
        [(30, 5), (60, 1005)]
        """
        changes = {"seed": self.training.seed + SEED_STEP * (index - 1)}
        return replace(self.training, **changes, steps=self.training.steps * (index if self.once else 1))

    def total(self) -> int:
        """How many steps `forget_for_good` yields, each search counting as one.

        >>> RobustSettings(rounds=4, training=UnlearningSettings(steps=10)).total()
        44
        """
        return sum(1 + self.training_of(index).steps for index in range(1, self.rounds + 1))

    def attacker_of(self, index: int) -> Attacker:
        """Of round `index`: the same with other samples to start from."""
        return replace(self.attacker, seed=self.attacker.seed + SEED_STEP * index)


@dataclass(frozen=True)
class RobustStep:
    """One finished step of the search, which counts as one, or of the training.

    round, index: counted from 1. total: how many of its kind the round has. kind: "search" or "training". codes:
    [K, rows, w_dim], w_u first, then what was found. losses: of a training step, empty for a search. seconds: what it
    took. student: after it.
    """

    round: int
    kind: str
    index: int
    total: int
    codes: Tensor
    losses: dict[str, float]
    seconds: float
    student: Generator


def forget_for_good(
    generator: Generator,
    w_u: Tensor,
    w_t: Tensor,
    photo: Tensor,
    settings: RobustSettings | None = None,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
    encoder: Encoder | None = None,
    start: Generator | None = None,
    view: View | None = None,
    folder: Path | None = None,
) -> Iterator[RobustStep]:
    """Search for the person of w_u [1, rows, w_dim] and photo [1, 3, S, S], train on what is found; yields each step.

    encoder: for an attacker who starts at its answer. start: a student that forgot the person already, in closed form
    say; the first round searches it. Without one the untouched generator is searched. view: the photo's camera. folder:
    what was found and the state of each training are kept there, so that a killed run goes on with the same bits;
    finished trainings are yielded as their last step.

    Raises:
        GuideError: a loss is not finite, the attacker lacks what his start needs, or the folder belongs to another run.
    """
    settings, student, codes = settings or RobustSettings(), start or generator.student(), w_u
    tools, run = Equipment({"own": perceptual}, {"own": embedder}, {}, encoder), ""
    if folder is not None:  # every weight is read for it
        digest = networks_digest(*filter(None, (generator, start, encoder)), perceptual, embedder)
        run = Run(settings, w_u, torch.cat([w_t.flatten(), photo.to(w_t).flatten()]), digest).fingerprint()
    for index in range(1, settings.rounds + 1):
        begun = time.perf_counter()
        kept = folder and folder / f"found-{index}.safetensors"
        if kept and kept.exists():
            found = _kept(kept, run)
        else:
            person = Hunted(student, photo, w_u, w_t, view)
            if index > 1 and settings.pursuit:
                found = _pursued(person, codes[1:], settings, perceptual, embedder)
            else:
                found = _found(person, settings.attacker_of(index), tools)
            if kept:
                save_tensors(kept, {"found": found}, {"run": run})
        codes = torch.cat([w_u if settings.pursuit else codes, found.to(codes)])
        yield RobustStep(index, "search", 1, 1, codes, {}, time.perf_counter() - begun, student)
        known = {"perceptual": perceptual, "embedder": embedder, "start": start if settings.once else student}
        checkpoint = folder and folder / f"round-{index}.safetensors"
        with closing(
            unlearn(generator, codes, w_t, settings.training_of(index), **known, checkpoint=checkpoint)
        ) as steps:
            for step in steps:
                student = step.student
                yield RobustStep(index, "training", step.index, step.total, codes, step.losses, step.seconds, student)


def _found(person: Hunted, attacker: Attacker, tools: Equipment) -> Tensor:
    """The codes of all starts and spaces, [N, rows, w_dim]: one that failed is a stranger nearby, and does no harm."""
    (spaces,) = search([person], attacker, tools)
    return torch.cat([space.ws for space in spaces])


def _pursued(person: Hunted, codes: Tensor, settings: RobustSettings, perceptual: LPIPS, embedder: Embedder) -> Tensor:
    """Where `codes` [N, rows, w_dim] come from where they are, in the attacker's last space."""
    in_w_plus = settings.attacker.settings.steps_w_plus > 0
    steps = {"steps_w": settings.pursuit * (not in_w_plus), "steps_w_plus": settings.pursuit * in_w_plus}
    budget, photos = replace(settings.attacker.settings, **steps), person.photo.expand(len(codes), -1, -1, -1)
    known = {"perceptual": perceptual, "embedder": embedder, "start": codes}
    return invert(person.student, photos, budget, **known, views=person.view and [person.view] * len(codes))


def _kept(path: Path, run: str) -> Tensor:
    """What `run` found. Raises GuideError if it was another one's."""
    tensors, facts = load_tensors(path)
    if facts.get("run") != run:
        raise GuideError(f"{path} belongs to another run; choose another folder, or delete it.")
    return tensors["found"]
