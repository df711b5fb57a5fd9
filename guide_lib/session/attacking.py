"""The attacks of `guide_lib.attacks` by name, with what each of them is allowed to know.

"search": for another latent, by an attacker of `ATTACKERS` -> list of Found. "search beside": the same with its
controls -> Beside. "half photo": from the left half of the photo -> list of Found. "reinvert": in short -> list of
Reinversion. "mixing": rows of w_u among a stranger's -> list of Mixture. "neighbours": around w_u -> list of
Neighbours. "relearn": tune until the judge accepts -> Relearning. "relearn beside": the same with its control ->
RelearningBeside. "relearn by SGD", "relearn by LoRA": otherwise tuned; "relearn on others": without the person's
picture. "fingerprint", "fingerprint beside": find w_u among 15 strangers, from the student alone or with the untouched
generator at hand -> Fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from guide_lib.attacks import (
    ATTACKERS,
    TUNERS,
    Attacker,
    Beside,
    Equipment,
    Fingerprint,
    Found,
    Hunted,
    Reinversion,
    RelearningBeside,
    fingerprint_alone,
    fingerprint_beside,
    lessons_of,
    likelihood_of,
    mixing_curve,
    neighbour_curve,
    reinvert,
    relearn,
    relearn_beside,
    search,
    search_beside,
    strangers_of,
)
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks
from guide_lib.generators import Generator
from guide_lib.inversion import Encoder, load_encoder
from guide_lib.metrics.thresholds import ACCEPTANCE
from guide_lib.perception.identity import load_embedder
from guide_lib.perception.perceptual import load_lpips

CANDIDATES = 16  # latents among which a fingerprint has to find the erased one
CANDIDATE_SEED = 40_961


def attack(name: str, networks: Networks, person: Hunted, **options: Any) -> Any:
    """Try to bring the person, whose w_u must be known, back from the student.

    name: as above. options: of the function in `guide_lib.attacks`; of a search also `attacker`, a name in `ATTACKERS`
    or an `Attacker`, and `equipment`, what `equipment_of` gives.

    Raises:
        GuideError: there is no such attack or attacker.

    >>> attack("reinvert", networks, Hunted(student, photo, w_u), starts=1)[0].space
    'W'
    """
    if name not in ATTACKS:
        raise GuideError(f"There is no attack '{name}'; choose one of: {', '.join(ATTACKS)}.")
    return ATTACKS[name](networks, person, **options)


def equipment_of(networks: Networks, attackers: Iterable[Attacker]) -> Equipment:
    """What these attackers need: the networks of the run as "own", others fetched by name; the judge is "judge".

    Raises:
        GuideError: a network is unknown or not to be had.

    >>> sorted(equipment_of(networks, [Attacker()]).judges)
    ['judge']
    """
    attackers, device = list(attackers), networks.generator.w_avg.device
    perceptual, embedders = {"own": networks.perceptual}, {"own": networks.embedder}
    for attacker in attackers:
        if attacker.perceptual not in perceptual:
            perceptual[attacker.perceptual] = load_lpips(attacker.perceptual, device)
        if attacker.embedder not in embedders:
            embedders[attacker.embedder] = load_embedder(attacker.embedder, device)
    judges = {"judge": networks.judge}
    return Equipment(perceptual, embedders, judges, encoder_for(attackers, device), likelihood_of(networks.generator))


def encoder_for(attackers: Iterable[Attacker], device: torch.device) -> Encoder | None:
    """The encoder, if one of these attackers starts at its answer. Raises GuideError if it is not to be had.

    >>> print(encoder_for([Attacker("mean")], torch.device("cpu")))
    None
    """
    return load_encoder(device) if any(attacker.start == "encoder" for attacker in attackers) else None


def attacker_of(attacker: str | Attacker) -> Attacker:
    """By a name in `ATTACKERS`, or itself. Raises GuideError for an unknown name.

    >>> attacker_of("half").half
    'left'
    """
    if isinstance(attacker, Attacker):
        return attacker
    if attacker not in ATTACKERS:
        raise GuideError(f"There is no attacker '{attacker}'; choose one of: {', '.join(ATTACKERS)}.")
    return ATTACKERS[attacker]


def facts_of(found: Any, threshold: float = ACCEPTANCE) -> list[dict[str, Any]]:
    """What an attack found as plain numbers, a dictionary for each space, place or side of it.

    threshold: of the judge, from which on somebody is accepted.

    >>> facts = facts_of(attack("search", networks, Hunted(student, photo, w_u), attacker=Attacker(starts=1)))
    >>> [(line["space"], line["steps"]) for line in facts]
    [('W', 80), ('W+', 80)]
    >>> facts_of(attack("fingerprint beside", networks, Hunted(student, photo, w_u)))[0]["rank"]
    2
    """
    if isinstance(found, list):
        return [line for one in found for line in facts_of(one, threshold)]
    if isinstance(found, Beside):
        parts = {"person": found.attack, "untouched": found.untouched, "stranger": sum(found.strangers, [])}
        sides = [{"of": side} | line for side, spaces in parts.items() for line in facts_of(spaces, threshold)]
        gaps = [
            {"of": "excess", "space": x.space, "excess": x.excess, "withheld": x.withheld} for x in found.lines("judge")
        ]
        return sides + gaps
    if isinstance(found, Found):
        row = found.row({"judge": threshold})
        return [{"space": row.pop("space")} | row.pop("judge") | row]
    if isinstance(found, RelearningBeside):
        lead = [{"of": "equal start", "lead": found.equal.lead} | asdict(found.equal)] if found.equal else []
        return [{"of": "student"} | asdict(found.student), {"of": "control"} | asdict(found.control), *lead]
    if isinstance(found, Fingerprint):
        return [{"rank": found.rank(0), "of": CANDIDATES - 1, "seconds": found.seconds}]
    if isinstance(found, Reinversion):
        return [{"space": found.space, "best": found.best, "steps": found.steps, "seconds": found.seconds}]
    return [asdict(found)]


def candidates(generator: Generator, w_u: Tensor) -> Tensor:
    """The person and 15 strangers [16, rows, w_dim]: among these a fingerprint has to find the first."""
    strangers = generator.sample(CANDIDATES - 1, torch.Generator().manual_seed(CANDIDATE_SEED))
    return torch.cat([w_u, strangers])


def _search(
    n: Networks, p: Hunted, attacker: str | Attacker = "own", equipment: Equipment | None = None, **options: Any
) -> list[Found]:
    attacker = attacker_of(attacker)
    return search([p], attacker, equipment or equipment_of(n, [attacker]), **options)[0]


def _search_beside(
    n: Networks,
    p: Hunted,
    attacker: str | Attacker = "own",
    equipment: Equipment | None = None,
    strangers: Tensor | None = None,
    **options: Any,
) -> Beside:
    attacker = attacker_of(attacker)
    strangers = strangers_of(n.generator) if strangers is None else strangers
    return search_beside(p, n.generator, strangers, attacker, equipment or equipment_of(n, [attacker]), **options)


def _relearn(n: Networks, p: Hunted, tuner: str = "adam", **options: Any) -> Any:
    return relearn(p.student, p.w_u, p.photo, **_tuning(n) | {"settings": TUNERS[tuner], "view": p.view} | options)


def _relearn_beside(n: Networks, p: Hunted, **options: Any) -> Any:
    if p.w_t is None:
        raise GuideError("The control of relearning needs the target; erase somebody first.")
    known = _tuning(n) | {"view": p.view} | options
    return relearn_beside(p.student, n.generator, p.w_u, p.w_t, p.photo, **known)


def _tuning(n: Networks) -> dict[str, Any]:
    return {"perceptual": n.perceptual, "judge": n.judge, "threshold": n.acceptance}


ATTACKS: dict[str, Callable[..., Any]] = {
    "search": _search,
    "search beside": _search_beside,
    "half photo": lambda n, p, **options: _search(n, p, **{"attacker": "half"} | options),
    "reinvert": lambda n, p, **options: reinvert(
        p.student, p.photo, perceptual=n.perceptual, embedder=n.embedder, judge=n.judge, view=p.view, **options
    ),
    "mixing": lambda n, p, **options: list(mixing_curve(p.student, n.generator, p.w_u, n.judge, **options)),
    "neighbours": lambda n, p, **options: list(neighbour_curve(p.student, n.generator, p.w_u, n.judge, **options)),
    "relearn": _relearn,
    "relearn beside": _relearn_beside,
    "relearn by SGD": lambda n, p, **options: _relearn(n, p, "sgd", **options),
    "relearn by LoRA": lambda n, p, **options: _relearn(n, p, "lora", **options),
    "relearn on others": lambda n, p, **options: _relearn(n, p, **{"lessons": lessons_of(n.generator)} | options),
    "fingerprint": lambda n, p, **options: fingerprint_alone(
        p.student, candidates(n.generator, p.w_u), perceptual=n.perceptual, **options
    ),
    "fingerprint beside": lambda n, p: fingerprint_beside(
        p.student, n.generator, candidates(n.generator, p.w_u), perceptual=n.perceptual
    ),
}
