"""Methods beside one another over several people: one row for each scenario, method and person, resumable.

>>> settings = UnlearningSettings(steps=2, learning_rate=1e-2)
>>> rows = evaluate_people(networks, "random", ["GUIDE", "baseline"], settings, tmp_path, people=2)
>>> [(row["method"], row["person"]) for row in rows]
[('GUIDE', '0'), ('baseline', '0'), ('GUIDE', '1'), ('baseline', '1')]

A row that people.jsonl already holds is not computed again, so a killed command continues, and a larger `people` or
another method only adds to what is there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guide_lib.attacks import TUNERS, Found, Line, Relearning, strangers_of
from guide_lib.checkpoint import networks_digest
from guide_lib.errors import GuideError
from guide_lib.evaluation.protocol import OTHERS_STEPS, RELEARNING_STEPS, STRANGERS, protocol_of
from guide_lib.evaluation.results import read_rows, row_key, summarise, table_of
from guide_lib.evaluation.scenarios import METHODS, people_of
from guide_lib.experiment import Networks, Person, bar, other_people
from guide_lib.figures.plots import image_grid, jpeg_bytes
from guide_lib.files import append_row, file_stem, write_json
from guide_lib.metrics.distribution import frechet_distance, generated_features, kernel_distance
from guide_lib.metrics.forgetting import measure_forgetting
from guide_lib.metrics.identity import ACCEPTANCE
from guide_lib.robust import RobustSettings
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings


@dataclass(frozen=True)
class Measures:
    """What to measure besides the report of every run.

    directions: name -> [w_dim], for views of a flat generator; None leaves those out (one with cameras has its own).
    inception, pairs: FID_pre and KID on so many pairs (0: none). real: features [N, 2048] of real pictures for
    dFID_real. attacks: whether to attack each student.
    """

    directions: Mapping[str, Tensor] | None = None
    inception: Any = None
    pairs: int = 0
    real: Tensor | None = None
    attacks: bool = False


def evaluate_people(
    networks: Networks,
    scenario: str,
    methods: Sequence[str],
    settings: UnlearningSettings,
    folder: Path,
    people: int,
    measures: Measures | None = None,
    photos: Path | None = None,
) -> list[dict[str, Any]]:
    """Unlearn every person with every method; returns all rows of the folder and writes summary.json and table.md.

    Raises:
        GuideError: the folder's rows were made with other settings, at another resolution or with other measures.
    """
    measures = measures or Measures()
    facts, session = claim_folder(folder, networks, settings, measures), Session(networks, folder)
    rows = read_rows(folder / "people.jsonl")
    done = {row_key(row) for row in rows}
    finished = {key[2] for key in done if all((scenario, method, key[2]) in done for method in methods)}
    for person in people_of(scenario, networks, people, folder, photos, finished):
        for method in methods:
            key = {"scenario": scenario, "method": method, "person": person.name}
            if row_key(key) not in done:
                path = folder / file_stem("-".join(key.values()))
                rows.append(key | person.facts | _one_person(session, settings, method, person, path, measures))
                append_row(folder / "people.jsonl", rows[-1])
    summary = summarise(rows)
    write_json(folder / "summary.json", facts | {"summary": summary})
    (folder / "table.md").write_text(table_of(summary) + "\n", encoding="utf-8")
    return rows


def claim_folder(folder: Path, networks: Networks, settings: UnlearningSettings, measures: Measures) -> dict[str, Any]:
    """Write down, in run.json, how the rows of a folder are made, or refuse to mix them with rows made otherwise.

    Raises:
        GuideError: the folder's rows were made otherwise, or run.json is damaged.

    >>> claim_folder(tmp_path, networks, UnlearningSettings(seed=1), Measures())["resolution"]
    16
    >>> claim_folder(tmp_path, networks, UnlearningSettings(seed=2), Measures())
    Traceback (most recent call last):
    guide_lib.errors.GuideError: ... holds rows made with other settings; choose another folder with --out.
    """
    facts = {
        "generator": type(networks.generator).__name__,
        "weights": networks_digest(*networks.generator.drawing_parts())[:16],
        "settings": asdict(settings),
        "resolution": networks.generator.resolution,
        "views": measures.directions is not None,
        "pairs": measures.pairs,
        "real": 0 if measures.real is None else len(measures.real),
        "attacks": measures.attacks,
        "threshold": ACCEPTANCE,
    }
    _claim(folder, facts)
    write_json(folder / "protocol.json", protocol_of(networks, settings, measures.attacks))
    return facts


def facts_made(stored: Any) -> Any:
    """What a run.json says, with the defaults of those settings that are newer than the file.

    >>> facts_made({"settings": {"steps": 70}})["settings"]["grid"]
    0.0
    """
    if not isinstance(stored, dict) or not isinstance(stored.get("settings"), dict):
        return stored
    return stored | {"settings": asdict(UnlearningSettings()) | stored["settings"]}


def _claim(folder: Path, facts: dict[str, Any]) -> None:
    path, facts = folder / "run.json", json.loads(json.dumps(facts))
    try:
        before = facts_made(json.loads(path.read_bytes())) if path.exists() else None
    except (ValueError, RecursionError) as error:
        raise GuideError(f"{path} is damaged; delete {folder}, or choose another folder with --out.") from error
    if before != facts and (before is not None or (folder / "people.jsonl").exists()):
        raise GuideError(f"{folder} holds rows made with other settings; choose another folder with --out.")
    write_json(path, facts)


def _one_person(
    session: Session, settings: UnlearningSettings, method: str, person: Person, path: Path, measures: Measures
) -> dict[str, Any]:
    """Unlearn, measure, forget the checkpoint. path: of the person's files, without what is different among them."""
    checkpoint = path.with_name(f"{path.name}.safetensors")
    row: dict[str, Any] = unlearn_by(method, session, person, settings, checkpoint)
    session.person = person
    row |= session.measure().as_dict()
    row["accepted_w_u"] = float(row["id"] >= ACCEPTANCE)
    row["clean"] = float(row["weave"] <= row["weave_own"])
    for part in (_views, _distribution, _attacks):
        row |= part(session, measures)
    _picture(session, path.parent / "pictures" / f"{path.name}.jpg")
    row["became"] = session.networks.judge.embed_faces(session.draw())[0][0].tolist()
    checkpoint.unlink(missing_ok=True)
    return row


def unlearn_by(
    method: str, session: Session, person: Person, settings: UnlearningSettings, checkpoint: Path
) -> dict[str, float]:
    """Unlearn a person from the untouched generator by a method of `METHODS`; the session has the student then.

    Returns the seconds that the search of the target and the erasure took. A killed run goes on from `checkpoint`;
    one in rounds begins again.

    >>> session, person = Session(networks), Person("7", w_u)
    >>> sorted(unlearn_by("closed form", session, person, UnlearningSettings(), tmp_path / "7.safetensors"))
    ['seconds', 'target_seconds']
    """
    session.start_over(replace(person, others=None))  # other photos are for ID_others, and never seen before
    started = time.perf_counter()
    settings = METHODS[method].prepare(session, settings)
    row = {"target_seconds": time.perf_counter() - started}
    if METHODS[method].at_once:
        _ = session.lists[-1].metric  # once for everybody, so nobody's seconds
    started = time.perf_counter()
    if METHODS[method].at_once:
        session.erase_at_once()
    if METHODS[method].trained:
        rounds = METHODS[method].rounds
        robust = RobustSettings(rounds, training=settings)
        run = session.erase_for_good(robust) if rounds else session.erase(settings, checkpoint=checkpoint)
        with closing(run) as steps:
            for _ in bar(steps, rounds * (1 + settings.steps) or settings.steps, f"{method}, person {person.name}"):
                pass
    return row | {"seconds": time.perf_counter() - started}


def _picture(session: Session, path: Path) -> None:
    """The person and three others, before above after."""
    codes = torch.cat([session.person.w_u, other_people(session.generator)[:3]])
    rows = [list(session.draw(codes, before=before)) for before in (True, False)]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(jpeg_bytes(image_grid(rows, ["before", "after"], tile=128)))


def _views(session: Session, measures: Measures) -> dict[str, Any]:
    """ID from eleven sides and at other pictures of the person."""
    generator, person = session.generator, session.person
    flat = len(generator.judging_views()) == 1
    if flat and measures.directions is None:
        return {}
    judge = session.networks.judge
    found = asdict(
        measure_forgetting(session.student, generator, person.w_u, measures.directions, judge, person.others)
    )
    return {"id_views": found.pop("id"), "undetected_views": found.pop("undetected")} | found


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
        return {}
    row: dict[str, Any] = {}
    strangers = strangers_of(session.generator, STRANGERS, session.person.name)
    beside = session.attack("search beside", strangers=strangers)
    for found, line in zip(beside.attack, beside.lines("judge"), strict=True):
        row |= _searched({"W": "reinverted_w", "W+": "reinverted_w_plus"}[line.space], found, line)
    untouched = Session(session.networks, session.folder)
    untouched.person = session.person
    row |= _relearnt(session)
    for kind in ("mapped", "random"):
        row[f"neighbours_{kind}"] = [asdict(point) for point in session.attack("neighbours", kind=kind)]
    alone, beside = session.attack("fingerprint"), session.attack("fingerprint beside")
    # Some latents are flat from the start: what the same question finds before anybody is erased.
    row["fingerprint_rank_control"] = untouched.attack("fingerprint").rank(0)
    row |= {"fingerprint_rank": alone.rank(0), "fingerprint_seconds": alone.seconds}
    return row | {"fingerprint_beside_rank": beside.rank(0), "fingerprint_beside_seconds": beside.seconds}


def _searched(name: str, found: Found, line: Line) -> dict[str, Any]:
    """What a search found in one space, beside its controls. name: what its metrics begin with."""
    best = int(found.cosines("judge").argmax())
    row = {name: line.best, f"{name}_accepted": float(line.best >= ACCEPTANCE), f"{name}_kept": line.kept}
    row |= {f"{name}_control": line.untouched, f"{name}_strangers": line.strangers}
    row |= {f"{name}_excess": line.excess, f"{name}_withheld": line.withheld}
    row |= {f"{name}_rarity": found.unlikelihood[best].item() / found.usual}
    row |= {f"{name}_recoveries": found.recoveries("judge", ACCEPTANCE)}
    return row | {f"{name}_steps": found.steps, f"{name}_seconds": found.seconds}


def _relearnt(session: Session) -> dict[str, Any]:
    """What tuning brings back, by Adam beside a control, by LoRA and by SGD; and without the person's picture."""
    row: dict[str, Any] = {}
    budgets = {name: replace(tuner, steps=RELEARNING_STEPS) for name, tuner in TUNERS.items()}
    beside = session.attack("relearn beside", settings=budgets["adam"])
    for name, relearnt in (("", beside.student), ("_control", beside.control)):
        row |= {f"relearn_steps{name}": _steps(relearnt), f"relearnt{name}": float(relearnt.steps is not None)}
        row |= {f"relearn_seconds{name}": relearnt.seconds, f"relearn_curve{name}": relearnt.curve}
    row["relearn_lead"] = beside.equal and beside.equal.lead
    for name in ("lora", "sgd"):
        row[f"relearn_{name}_steps"] = _steps(session.attack("relearn", settings=budgets[name]))
    lessons = session.attack("relearn on others", settings=replace(budgets["adam"], steps=OTHERS_STEPS))
    return row | {"relearn_others": lessons.curve[-1][1]}


def _steps(relearnt: Relearning) -> int:
    """Whoever was not accepted within the budget counts with all of it, or the mean would be of the quick alone."""
    return RELEARNING_STEPS if relearnt.steps is None else relearnt.steps
