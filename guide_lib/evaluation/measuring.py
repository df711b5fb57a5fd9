"""What is measured of a student: the row of one scenario, method and person.

Each name is declared in `guide_lib.metrics.columns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from guide_lib.attacks import TUNERS, Found, Line, Relearning, strangers_of
from guide_lib.closed_form import IdentityCoordinates
from guide_lib.evaluation.protocol import OTHERS_STEPS, RELEARNING_STEPS, STRANGERS
from guide_lib.experiment import Person
from guide_lib.metrics.distribution import frechet_distance, generated_features, kernel_distance
from guide_lib.metrics.forgetting import measure_forgetting
from guide_lib.metrics.identity import identity_similarity, render
from guide_lib.perception.identity import Embedder
from guide_lib.session import Session

FIBRE, FIBRE_SEED, FIBRE_TRUNCATION = 16, 99, 0.7  # whose hair, light and pose the person is given


@dataclass(frozen=True)
class Measures:
    """What to measure besides the report of every run.

    directions: name -> [w_dim], for views of a flat generator; None leaves those out (one with cameras has its own).
    inception, pairs: FID_pre and KID on so many pairs (0: none). real: features [N, 2048] of real pictures for
    dFID_real. attacks: whether to attack each student. relearning: of the attacks, tuning by Adam alone. second:
    another judge, and from which cosine it accepts. coordinates: of identity, to look at the person's fibre in.
    """

    directions: Mapping[str, Tensor] | None = None
    inception: Any = None
    pairs: int = 0
    real: Tensor | None = None
    attacks: bool = False
    relearning: bool = False
    second: tuple[Embedder, float] | None = None
    coordinates: IdentityCoordinates | None = None


def measured(session: Session, person: Person, measures: Measures) -> dict[str, Any]:
    """What `guide_lib.metrics.columns` has names for, of the session's student and the person, other photos included.

    >>> session = Session(networks, tmp_path)
    >>> person = session.choose(seed=7)
    >>> _ = session.erase_at_once()
    >>> row = measured(session, person, Measures(second=(networks.judge, 0.7)))
    >>> round(row["id"] - row["id_second"], 3)                                              # the same judge twice
    0.0
    """
    session.person = person
    row: dict[str, Any] = session.measure().as_dict()
    row["accepted_w_u"] = float(row["id"] >= session.networks.acceptance)
    row["clean"] = float(row["weave"] <= row["weave_own"])
    for part in (_views, _on_the_fibre, _second, _distribution, _attacks):
        row |= part(session, measures)
    row["became"] = session.networks.judge.embed_faces(session.draw())[0][0].tolist()
    return row


def _views(session: Session, measures: Measures) -> dict[str, Any]:
    """ID from eleven sides and at other pictures of the person."""
    generator, person = session.generator, session.person
    flat = len(generator.judging_views()) == 1
    if flat and measures.directions is None:
        return {}
    judge, threshold = session.networks.judge, session.networks.acceptance
    networks = session.student, generator, person.w_u
    found = asdict(measure_forgetting(*networks, measures.directions, judge, person.others, threshold))
    return {"id_views": found.pop("id"), "undetected_views": found.pop("undetected")} | found


def _on_the_fibre(session: Session, measures: Measures) -> dict[str, Any]:
    """What the judge says of pictures that share the person's identity coordinates alone with w_u, and said before."""
    if measures.coordinates is None:
        return {}
    generator, person, judge = session.generator, session.person, session.networks.judge
    others = generator.sample(FIBRE, torch.Generator().manual_seed(FIBRE_SEED), FIBRE_TRUNCATION)
    fibre = measures.coordinates.fibre(person.w_u, others, generator.w_avg)
    own, row = render(generator, person.w_u).expand(FIBRE, -1, -1, -1), {}
    for suffix, network in (("", session.student), ("_control", generator)):
        cosine = identity_similarity(judge, own, render(network, fibre))[0]
        row[f"id_fibre{suffix}"] = cosine.mean().item()
        row[f"accepted_fibre{suffix}"] = (cosine >= session.networks.acceptance).float().mean().item()
    return row


def _second(session: Session, measures: Measures) -> dict[str, Any]:
    """The second judge's word on the same pictures."""
    if measures.second is None:
        return {}
    judge, threshold = measures.second
    drawn, others = (session.student, session.generator, session.person.w_u), session.person.others
    found = measure_forgetting(*drawn, measures.directions, judge, others, threshold)
    at_w_u = measure_forgetting(*drawn, None, judge)
    return {
        "id_second": at_w_u.id,
        "accepted_w_u_second": float(at_w_u.id >= threshold),
        "accepted_second": found.accepted,
        "accepted_others_second": found.accepted_others,
    }


def _distribution(session: Session, measures: Measures) -> dict[str, Any]:
    """FID and KID between the two generators, and how much farther from real pictures the student is."""
    if not measures.pairs:
        return {}
    cache = session.folder / "before.safetensors"
    before = generated_features(session.generator, measures.pairs, measures.inception, cache)
    after = generated_features(session.student, measures.pairs, measures.inception)
    row = {"fid_pre": frechet_distance(before, after), "kid_pre": kernel_distance(before, after)}
    if measures.real is not None:
        change = frechet_distance(measures.real, after) - frechet_distance(measures.real, before)
        row["fid_real_change"] = change
    return row


def _attacks(session: Session, measures: Measures) -> dict[str, Any]:
    """The attacks of `guide_lib.attacks` with their costs, and beside them the same where nobody was erased."""
    if not measures.attacks:
        return _relearnt(session) if measures.relearning else {}
    row: dict[str, Any] = {}
    strangers = strangers_of(session.generator, STRANGERS, session.person.name)
    beside = session.attack("search beside", strangers=strangers)
    for found, line in zip(beside.attack, beside.lines("judge"), strict=True):
        name = {"W": "reinverted_w", "W+": "reinverted_w_plus"}[line.space]
        row |= _searched(name, found, line, session.networks.acceptance)
    untouched = Session(session.networks, session.folder)
    untouched.person = session.person
    row |= _relearnt(session) | _relearnt_otherwise(session)
    for kind in ("mapped", "random"):
        row[f"neighbours_{kind}"] = [asdict(point) for point in session.attack("neighbours", kind=kind)]
    alone, beside = session.attack("fingerprint"), session.attack("fingerprint beside")
    # Some latents are flat from the start: what the same question finds before anybody is erased.
    row["fingerprint_rank_control"] = untouched.attack("fingerprint").rank(0)
    row |= {"fingerprint_rank": alone.rank(0), "fingerprint_seconds": alone.seconds}
    return row | {"fingerprint_beside_rank": beside.rank(0), "fingerprint_beside_seconds": beside.seconds}


def _searched(name: str, found: Found, line: Line, threshold: float) -> dict[str, Any]:
    """What a search found in one space, beside its controls. name: what its metrics begin with."""
    best = int(found.cosines("judge").argmax())
    row = {name: line.best, f"{name}_accepted": float(line.best >= threshold), f"{name}_kept": line.kept}
    row |= {f"{name}_control": line.untouched, f"{name}_strangers": line.strangers}
    row |= {f"{name}_excess": line.excess, f"{name}_withheld": line.withheld}
    row |= {f"{name}_rarity": found.unlikelihood[best].item() / found.usual}
    row |= {f"{name}_recoveries": found.recoveries("judge", threshold)}
    return row | {f"{name}_steps": found.steps, f"{name}_seconds": found.seconds}


def _relearnt(session: Session) -> dict[str, Any]:
    """What tuning by Adam brings back, beside a control."""
    row: dict[str, Any] = {}
    beside = session.attack("relearn beside", settings=replace(TUNERS["adam"], steps=RELEARNING_STEPS))
    for name, relearnt in (("", beside.student), ("_control", beside.control)):
        row |= {f"relearn_steps{name}": _steps(relearnt), f"relearnt{name}": float(relearnt.steps is not None)}
        row |= {f"relearn_seconds{name}": relearnt.seconds, f"relearn_curve{name}": relearnt.curve}
    for steps in (10, 30):
        row[f"relearnt_{steps}"] = float(beside.student.steps is not None and beside.student.steps <= steps)
    return row | {"relearn_lead": beside.equal and beside.equal.lead}


def _relearnt_otherwise(session: Session) -> dict[str, Any]:
    """What LoRA and SGD bring back, and Adam without the person's picture."""
    row: dict[str, Any] = {}
    budgets = {name: replace(tuner, steps=RELEARNING_STEPS) for name, tuner in TUNERS.items()}
    for name in ("lora", "sgd"):
        row[f"relearn_{name}_steps"] = _steps(session.attack("relearn", settings=budgets[name]))
    lessons = session.attack("relearn on others", settings=replace(budgets["adam"], steps=OTHERS_STEPS))
    return row | {"relearn_others": lessons.curve[-1][1]}


def _steps(relearnt: Relearning) -> int:
    """Whoever was not accepted within the budget counts with all of it, or the mean would be of the quick alone."""
    return RELEARNING_STEPS if relearnt.steps is None else relearnt.steps
