"""Attackers as data: who has the photo and the student alone searches for a code that draws the person.

>>> from guide_lib.attacks import Hunted, likelihood_of
>>> tools = Equipment({"own": perceptual}, {"own": embedder}, {"judge": judge}, likelihood=likelihood_of(generator))
>>> attacker = Attacker(starts=2, settings=InversionSettings(20, 20, learning_rate=0.2))    # W, two starts; then W+
>>> (spaces,) = search([Hunted(student, photo, w_u)], attacker, tools, look_every=10)
>>> for found in spaces:
...     print(found.space, found.steps, [(steps, round(best, 1)) for steps, best in found.curve("judge")])
W 40 [(20, 0.1), (40, 0.2)]
W+ 40 [(20, 0.4), (40, 0.5)]

Three rules keep the numbers honest. The attacker never sees a judge: he optimises with a recogniser of his own. What
the judge likes best of several starts is an oracle's choice, so what the attacker himself would keep stands beside it.
And W+ fits almost any picture, so it is said how far out the code lies, and `guide_lib.attacks.controls` makes the same
attack where nobody was erased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from guide_lib.attacks.chance import attack_rng
from guide_lib.attacks.found import Found, Hunted, Trail
from guide_lib.attacks.likelihood import Likelihood
from guide_lib.errors import GuideError
from guide_lib.generators import View
from guide_lib.inversion.encoder import Encoder
from guide_lib.inversion.methods import encoded
from guide_lib.inversion.optimise import InversionSettings, inversion_steps
from guide_lib.metrics.identity import BATCH
from guide_lib.perception.identity import Embedder, identity_cosine
from guide_lib.perception.perceptual import LPIPS

LOOK_EVERY = 20  # steps between two looks of the judges, who cost a quarter of a step each


@dataclass(frozen=True)
class Attacker:
    """Who searches, with what, from where, for how long.

    start: where the first of the starts is, the others are at mapped samples. "mean": w_avg; "random": at a sample,
        too; "encoder": the encoder's answer to the photo; "reflected": 2 w_avg - w_t, for who knows the target and that
        it was UFO's; "erased": w_u.
    perceptual, embedder: names in the equipment. "own" is what the person was erased with.
    starts: how many. seed: of the samples.
    likelihood: weight of the code's squared Mahalanobis distance, over w_dim, in the loss.
    half: "left", "right", "upper" or "lower": all that the attacker has of the photo; the judges see all of it.
    settings: steps in each space, learning rate, weights of the loss.
    """

    start: str = "mean"
    perceptual: str = "own"
    embedder: str = "own"
    starts: int = 4
    seed: int = 0
    likelihood: float = 0.0
    half: str | None = None
    settings: InversionSettings = field(default_factory=lambda: InversionSettings(steps_w=80, steps_w_plus=80))


# What a step costs is in docs/protocol.md.
ATTACKERS = {
    "own": Attacker(settings=InversionSettings(steps_w=80, steps_w_plus=60)),  # that of the stored tables
    "independent": Attacker("random", "vgg", "mobilefacenet", starts=2, seed=1),
    "encoder": Attacker("encoder", starts=1, settings=InversionSettings(steps_w=0, steps_w_plus=80)),
    "reflected": Attacker("reflected", starts=1),
    "likely": Attacker(starts=2, seed=2, likelihood=0.05),
    "half": Attacker(starts=2, seed=3, half="left"),
}


@dataclass(frozen=True)
class Equipment:
    """All networks of attackers and judges, each by its name.

    perceptual, embedders: what attackers optimise with. judges: who measure. encoder: for the start "encoder".
    likelihood: measures how far out codes lie, and is needed by an attacker who weighs it.
    """

    perceptual: Mapping[str, LPIPS]
    embedders: Mapping[str, Embedder]
    judges: Mapping[str, Embedder]
    encoder: Encoder | None = None
    likelihood: Likelihood | None = None


def search(
    people: Sequence[Hunted],
    attacker: Attacker,
    equipment: Equipment,
    *,
    look_every: int = LOOK_EVERY,
    stop_at: Mapping[str, float] | None = None,
) -> list[list[Found]]:
    """What the attacker finds of each of the people, space by space. Whoever shares a student is one batch.

    look_every: steps between two looks of the judges, which make the budget's curve. stop_at: judge -> threshold: end
    as soon as each person of the batch has a code that all these judges accept; it saves time, and a curve ends there.

    Raises:
        GuideError: a network, start or half is unknown, or a start lacks what it needs.
    """
    batches: dict[tuple[int, torch.Size], list[int]] = {}
    for place, person in enumerate(people):
        batches.setdefault((id(person.student), person.photo.shape), []).append(place)
    found: dict[int, list[Found]] = {}
    for places in batches.values():
        batch = _batch([people[place] for place in places], attacker, equipment, look_every, stop_at)
        found |= dict(zip(places, batch, strict=True))
    return [found[place] for place in range(len(people))]


def _batch(
    people: list[Hunted],
    attacker: Attacker,
    equipment: Equipment,
    look_every: int,
    stop_at: Mapping[str, float] | None,
) -> list[list[Found]]:
    """The same for people with one student."""
    student, starts, weight = people[0].student, attacker.starts, attacker.likelihood
    had = partial(half_of, half=attacker.half) if attacker.half else (lambda pictures: pictures)
    penalty = (lambda code: weight * _likelihood(equipment).penalty(code)) if weight else None
    embedder = _named(equipment.embedders, attacker.embedder, "recogniser")
    photos, views = torch.cat([person.photo for person in people]).to(student.w_avg), None
    if any(person.view for person in people):
        views = [person.view or View() for person in people for _ in range(starts)]
    judges = {name: (judge, judge.embed_faces(photos)[0]) for name, judge in equipment.judges.items()}
    steps = inversion_steps(
        student,
        photos.repeat_interleave(starts, 0),
        attacker.settings,
        perceptual=_named(equipment.perceptual, attacker.perceptual, "perceptual network"),
        embedder=embedder,
        start=torch.cat([starting_points(person, attacker, equipment.encoder) for person in people]),
        views=views,
        seen=had,
        penalty=penalty,
    )
    trails: dict[str, Trail] = {}
    with closing(steps):
        for step in steps:
            trail = trails.setdefault(step.space, Trail(people, judges))
            trail.follow(step)
            if trail.taken % look_every == 0:
                trail.look()
                if stop_at and trail.accepted(stop_at):
                    break
    found = []
    for space, trail in trails.items():
        own = _own_cosines(embedder, had(trail.pictures()), had(photos))
        found.append(trail.found(space, own, equipment.likelihood))
    return [list(spaces) for spaces in zip(*found, strict=True)]


@torch.no_grad()
def _own_cosines(embedder: Embedder, pictures: Tensor, photos: Tensor) -> Tensor:
    """What the attacker thinks of pictures [people x starts, 3, S, S] as copies of photos [people, ...]."""
    faces = torch.cat([embedder.embed(few) for few in pictures.to(photos).split(BATCH)])
    return identity_cosine(faces.unflatten(0, (len(photos), -1)), embedder.embed(photos)[:, None]).cpu()


def starting_points(person: Hunted, attacker: Attacker, encoder: Encoder | None = None) -> Tensor:
    """The codes [starts, rows, w_dim] at which the attacker begins.

    Raises:
        GuideError: the start is unknown, or lacks what it needs.

    >>> codes = starting_points(Hunted(student, photo, w_u, w_t), Attacker("reflected", starts=3))
    >>> list(codes.shape), torch.equal(codes[:1], 2 * generator.w_avg - w_t)
    ([3, 3, 6], True)
    """
    student, rng = person.student, attack_rng(attacker.seed)

    def given(what: object, name: str) -> Any:
        if what is None:
            raise GuideError(
                f"The start '{attacker.start}' needs {name}, which is not known here; choose another start."
            )
        return what

    places = {
        "mean": lambda: student.w_avg,
        "random": lambda: student.sample(1, rng),
        "encoder": lambda: encoded(given(encoder, "an encoder"), student, person.photo.to(student.w_avg))[0],
        "reflected": lambda: 2 * student.w_avg - given(person.w_t, "the target"),
        "erased": lambda: given(person.w_u, "the erased latent"),
    }
    first = _named(places, attacker.start, "start")()
    return torch.cat([first, student.sample(attacker.starts - 1, rng)]) if attacker.starts > 1 else first


def half_of(pictures: Tensor, half: str) -> Tensor:
    """Pictures [N, 3, S, S] of which one half is left, the other is grey. Raises GuideError for an unknown half.

    >>> half_of(torch.ones(1, 1, 2, 2), "upper")[0, 0]
    tensor([[1., 1.],
            [0., 0.]])
    """
    height, width = pictures.shape[-2:]
    kept = {
        "left": (slice(None), slice(0, width // 2)),
        "right": (slice(None), slice(width // 2, None)),
        "upper": (slice(0, height // 2), slice(None)),
        "lower": (slice(height // 2, None), slice(None)),
    }
    mask = torch.zeros(height, width)
    mask[_named(kept, half, "half")] = 1
    return pictures * mask.to(pictures)


def _likelihood(equipment: Equipment) -> Likelihood:
    if equipment.likelihood is None:
        raise GuideError("An attacker who weighs the likelihood needs it; pass likelihood_of(generator).")
    return equipment.likelihood


def _named(known: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise GuideError(f"There is no {what} '{name}'; choose one of: {', '.join(known)}.")
    return known[name]
