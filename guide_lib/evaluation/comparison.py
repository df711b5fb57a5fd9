"""Methods beside one another over several people: one row for each scenario, method and person, resumable.

    rows = evaluate_people(networks, "random", ["GUIDE", "baseline"], settings, Path("runs/evaluate"), people=16)
    print(table_of(summarise(rows)))

A row that people.jsonl already holds is not computed again, so a killed command continues, and a larger `people` or
another method only adds to what is there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guide_lib.attacks import fingerprint_alone, fingerprint_beside, neighbour_curve, reinvert, relearn
from guide_lib.checkpoint import networks_digest
from guide_lib.errors import GuideError
from guide_lib.evaluation.results import read_rows, row_key, summarise, table_of
from guide_lib.evaluation.scenarios import METHODS, Person, people_of, picture_of
from guide_lib.experiment import Networks, bar, other_people
from guide_lib.figures.plots import image_grid, jpeg_bytes
from guide_lib.files import append_row, write_json
from guide_lib.generators import Generator
from guide_lib.inversion.pivotal import PivotalSettings
from guide_lib.metrics.distribution import frechet_distance, generated_features, kernel_distance
from guide_lib.metrics.forgetting import measure_forgetting
from guide_lib.metrics.identity import ACCEPTANCE, evaluate, render
from guide_lib.unlearning import UnlearningSettings, unlearn

RELEARNING_STEPS = 100  # what an attacker is given
CANDIDATES = 16  # latents among which a fingerprint has to find the erased one
CANDIDATE_SEED = 40_961


@dataclass(frozen=True)
class Measures:
    """What to measure besides the report of every run. directions: name -> [w_dim], for views of a flat generator;
    None leaves those out (one with cameras has its own). inception, pairs: FID_pre and KID on so many pairs (0: none).
    real: features [N, 2048] of real pictures for dFID_real. attacks: whether to attack each student."""

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
    facts = claim_folder(folder, networks, settings, measures)
    rows = read_rows(folder / "people.jsonl")
    done = {row_key(row) for row in rows}
    finished = {key[2] for key in done if all((scenario, method, key[2]) in done for method in methods)}
    for person in people_of(scenario, networks, people, folder, photos, finished):
        for method in methods:
            key = {"scenario": scenario, "method": method, "person": person.name}
            if row_key(key) not in done:
                path = folder / "-".join(key.values()).replace(" ", "_")
                rows.append(key | person.facts | _one_person(networks, settings, method, person, path, measures))
                append_row(folder / "people.jsonl", rows[-1])
    summary = summarise(rows)
    write_json(folder / "summary.json", facts | {"summary": summary})
    (folder / "table.md").write_text(table_of(summary) + "\n", encoding="utf-8")
    return rows


def claim_folder(folder: Path, networks: Networks, settings: UnlearningSettings, measures: Measures) -> dict[str, Any]:
    """Write down, in run.json, how the rows of a folder are made, or refuse to mix them with rows made otherwise.

    Raises:
        GuideError: the folder's rows were made otherwise, or run.json is damaged.
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
    return facts


def _claim(folder: Path, facts: dict[str, Any]) -> None:
    path, facts = folder / "run.json", json.loads(json.dumps(facts))
    try:
        before = json.loads(path.read_bytes()) if path.exists() else None
    except (ValueError, RecursionError) as error:
        raise GuideError(f"{path} is damaged; delete {folder}, or choose another folder with --out.") from error
    if before != facts and (before is not None or (folder / "people.jsonl").exists()):
        raise GuideError(f"{folder} holds rows made with other settings; choose another folder with --out.")
    write_json(path, facts)


def _one_person(
    networks: Networks, settings: UnlearningSettings, method: str, person: Person, path: Path, measures: Measures
) -> dict[str, Any]:
    """Unlearn, measure, forget the checkpoint. path: of the person's files, without what is different among them."""
    generator, folder = networks.generator, path.parent
    w_t, settings = METHODS[method].prepare(person.w_u, generator.w_avg, settings)
    checkpoint = path.with_name(f"{path.name}.safetensors")
    started, student = time.perf_counter(), generator
    steps = unlearn(
        generator, person.w_u, w_t, settings,
        perceptual=networks.perceptual, embedder=networks.embedder, checkpoint=checkpoint,
    )  # fmt: skip
    with closing(steps):
        for step in bar(steps, settings.steps, f"{method}, person {person.name}"):
            student = step.student
    row: dict[str, Any] = {"seconds": time.perf_counter() - started}
    others = other_people(generator)
    row |= evaluate(
        student, generator, person.w_u, others, networks.judge, networks.perceptual, views=generator.judging_views()
    ).as_dict()
    row["accepted_w_u"] = float(row["id"] >= ACCEPTANCE)
    for part in (_views, _distribution, _attacks):
        row |= part(networks, student, person, w_t, measures, folder)
    _picture(generator, student, person, others, folder / "pictures" / f"{path.name}.jpg")
    row["became"] = networks.judge.embed_faces(render(student, person.w_u))[0][0].tolist()
    checkpoint.unlink()
    return row


def _picture(generator: Generator, student: Generator, person: Person, others: Tensor, path: Path) -> None:
    """The person and three others, before above after."""
    codes = torch.cat([person.w_u, others[:3]])
    rows = [list(render(network, codes)) for network in (generator, student)]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(jpeg_bytes(image_grid(rows, ["before", "after"], tile=128)))


def _views(
    networks: Networks, student: Generator, person: Person, w_t: Tensor, measures: Measures, folder: Path
) -> dict[str, Any]:
    flat = len(networks.generator.judging_views()) == 1
    if flat and measures.directions is None:
        return {}
    found = asdict(
        measure_forgetting(student, networks.generator, person.w_u, measures.directions, networks.judge, person.others)
    )
    return {"id_views": found.pop("id"), "undetected_views": found.pop("undetected")} | found


def _distribution(
    networks: Networks, student: Generator, person: Person, w_t: Tensor, measures: Measures, folder: Path
) -> dict[str, Any]:
    if not measures.pairs:
        return {}
    before = generated_features(networks.generator, measures.pairs, measures.inception, folder / "before.safetensors")
    after = generated_features(student, measures.pairs, measures.inception)
    row = {"fid_pre": frechet_distance(before, after), "kid_pre": kernel_distance(before, after)}
    if measures.real is not None:
        change = frechet_distance(measures.real, after) - frechet_distance(measures.real, before)
        row["fid_real_change"] = change
    return row


def _attacks(
    networks: Networks, student: Generator, person: Person, w_t: Tensor, measures: Measures, folder: Path
) -> dict[str, Any]:
    """Every attack of `guide_lib.attacks` with its cost."""
    if not measures.attacks:
        return {}
    generator, judge, perceptual = networks.generator, networks.judge, networks.perceptual
    photo, row = picture_of(person, networks), {}
    for found in reinvert(student, photo, perceptual=perceptual, embedder=networks.embedder, judge=judge):
        name = {"W": "reinverted_w", "W+": "reinverted_w_plus"}[found.space]
        row |= {name: found.best, f"{name}_accepted": float(found.best >= ACCEPTANCE)}
        row |= {f"{name}_steps": found.steps, f"{name}_seconds": found.seconds}
    settings = PivotalSettings(steps=RELEARNING_STEPS, threshold=0.0, locality=0.0)
    tuning = {"perceptual": perceptual, "judge": judge, "threshold": ACCEPTANCE, "settings": settings}
    for name, network, w in (("", student, person.w_u), ("_control", generator, w_t)):
        relearnt = relearn(network, w, photo, **tuning)
        # Whoever was not accepted within the budget counts with all of it, or the mean would be of the quick alone.
        steps = RELEARNING_STEPS if relearnt.steps is None else relearnt.steps
        row |= {f"relearn_steps{name}": steps, f"relearnt{name}": float(relearnt.steps is not None)}
        row |= {f"relearn_seconds{name}": relearnt.seconds, f"relearn_curve{name}": relearnt.curve}
    for kind in ("mapped", "random"):
        row[f"neighbours_{kind}"] = [
            asdict(point) for point in neighbour_curve(student, generator, person.w_u, judge, kind=kind)
        ]
    strangers = generator.sample(CANDIDATES - 1, torch.Generator().manual_seed(CANDIDATE_SEED))
    candidates = torch.cat([person.w_u, strangers])
    alone = fingerprint_alone(student, candidates, perceptual=perceptual)
    beside = fingerprint_beside(student, generator, candidates, perceptual=perceptual)
    # Some latents are flat from the start: what the same question finds before anybody is erased.
    row["fingerprint_rank_control"] = fingerprint_alone(generator, candidates, perceptual=perceptual).rank(0)
    row |= {"fingerprint_rank": alone.rank(0), "fingerprint_seconds": alone.seconds}
    return row | {"fingerprint_beside_rank": beside.rank(0), "fingerprint_beside_seconds": beside.seconds}
