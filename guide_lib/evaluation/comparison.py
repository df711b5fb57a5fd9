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
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from guide_lib.checkpoint import networks_digest
from guide_lib.errors import GuideError
from guide_lib.evaluation.measuring import Measures, measured
from guide_lib.evaluation.protocol import protocol_of
from guide_lib.evaluation.results import read_rows, row_key, summarise, table_of
from guide_lib.evaluation.scenarios import METHODS, people_of
from guide_lib.experiment import Networks, Person, bar, other_people
from guide_lib.figures.plots import image_grid, jpeg_bytes
from guide_lib.files import append_row, file_stem, write_json
from guide_lib.metrics.identity import ACCEPTANCE
from guide_lib.robust import RobustSettings
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings


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
                checkpoint = path.with_name(f"{path.name}.safetensors")
                cost = unlearn_by(method, session, person, settings, checkpoint)
                rows.append(key | person.facts | cost | measured(session, person, measures))
                append_row(folder / "people.jsonl", rows[-1])
                keep_picture(session, folder / "pictures" / f"{path.name}.jpg")
                checkpoint.unlink(missing_ok=True)
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
        total, changes = settings.steps, METHODS[method].robust
        if changes is None:
            run = session.erase(settings, checkpoint=checkpoint)
        else:
            device = person.w_u.device if settings.mixed_precision else None
            robust = replace(RobustSettings.fast(device, **changes), training=settings)
            run, total = session.erase_for_good(robust), robust.total()
        with closing(run) as steps:
            for _ in bar(steps, total, f"{method}, person {person.name}"):
                pass
    return row | {"seconds": time.perf_counter() - started}


def keep_picture(session: Session, path: Path) -> None:
    """Write the person and three others, before above after."""
    codes = torch.cat([session.person.w_u, other_people(session.generator)[:3]])
    rows = [list(session.draw(codes, before=before)) for before in (True, False)]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(jpeg_bytes(image_grid(rows, ["before", "after"], tile=128)))
