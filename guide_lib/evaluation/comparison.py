"""Methods beside one another over several people: one row for each scenario, method and person, resumable.

>>> settings = UnlearningSettings(steps=2, learning_rate=1e-2)
>>> rows = evaluate_people(networks, "random", ["GUIDE", "baseline"], settings, tmp_path, people=2)
>>> [(row["method"], row["person"]) for row in rows]
[('GUIDE', '0'), ('baseline', '0'), ('GUIDE', '1'), ('baseline', '1')]

A row that people.jsonl already holds is not computed again, so a killed command continues, and a larger `people` or
another method only adds to what is there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from guide_lib.evaluation.bench import Bench
from guide_lib.evaluation.claims import add_shards, claim_folder, left_out
from guide_lib.evaluation.measuring import Measures, measured
from guide_lib.evaluation.results import in_order, read_rows, row_key, summarise, table_of
from guide_lib.evaluation.scenarios import METHODS, Method, people_names, people_of, person_named
from guide_lib.experiment import Networks, Person, bar, other_people
from guide_lib.figures.plots import image_grid, jpeg_bytes
from guide_lib.files import append_row, file_stem, write_json, write_rows
from guide_lib.robust import RobustSettings
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings
from guide_lib.workers import Crew


def evaluate_people(
    networks: Networks,
    scenario: str,
    methods: Sequence[str],
    settings: UnlearningSettings,
    folder: Path,
    people: int,
    measures: Measures | None = None,
    photos: Path | None = None,
    crew: Crew | None = None,
    shard: tuple[int, int] | None = None,
) -> list[dict[str, Any]]:
    """Unlearn every person with every method; returns all rows of the folder and writes summary.json and table.md.

    crew: makes the rows, several at once; what its workers have ready is a `Bench`, see `open_bench`. Without one they
    are made here. Only this process writes them down, at last in the order that it would have made them in.
    shard: (2, 8) leaves all but every eighth person, from the second on, to other runs, each in its `shard_folder`;
    a run of the whole takes their rows.

    Raises:
        GuideError: the folder's rows were made with other settings, at another resolution or with other measures; or
            workers could not make some rows.
    """
    measures = measures or Measures()
    facts, path = claim_folder(folder, networks, settings, measures), folder / "people.jsonl"
    add_shards(folder)
    rows = read_rows(path)
    done = {row_key(row) for row in rows}
    finished = {key[2] for key in done if all((scenario, method, key[2]) in done for method in methods)}
    if shard:
        finished |= left_out(people_names(scenario, networks, people, photos), shard)
    if crew is None:
        bench = Bench(Session(networks, folder), measures)
        found = people_of(scenario, networks, people, folder, photos, finished)
        wanted = ((person, (scenario, method, person.name)) for person in found for method in methods)
        made = (_one_person(bench, key, person, settings) for person, key in wanted if key not in done)
    else:
        names = people_names(scenario, networks, people, photos, finished)
        # everybody by one method before the next one: two workers seldom want the same person's inversion
        jobs = [key for method in methods for name in names if (key := (scenario, method, name)) not in done]
        work = partial(row_of, settings=settings, photos=photos and photos.absolute())
        made = bar((row for _, row in crew.finished(work, jobs)), len(jobs), "rows", "row")
    try:
        for row in made:
            append_row(path, row)
            rows.append(row)
    finally:
        if crew:
            rows = in_order(rows, scenario, methods)
            write_rows(path, rows)
        summary = summarise(rows)
        write_json(folder / "summary.json", facts | {"summary": summary})
        (folder / "table.md").write_text(table_of(summary) + "\n", encoding="utf-8")
    return rows


def row_of(
    bench: Bench, scenario: str, method: str, person: str, settings: UnlearningSettings, photos: Path | None = None
) -> dict[str, Any]:
    """One row: a person, by name, unlearned with a method and measured; what a worker does.

    >>> row = row_of(Bench(Session(networks, tmp_path)), "random", "closed form", "3", UnlearningSettings())
    >>> row["person"], row["truncation"], row["id"] < 1
    ('3', 0.7, True)
    """
    found = person_named(scenario, bench.session.networks, person, bench.session.folder, photos)
    return _one_person(bench, (scenario, method, person), found, settings)


def _one_person(
    bench: Bench, key: tuple[str, str, str], person: Person, settings: UnlearningSettings
) -> dict[str, Any]:
    """Unlearn, measure, keep a picture, forget the checkpoint. key: see `row_key`."""
    session, stem = bench.session, file_stem("-".join(key))
    checkpoint = session.folder / f"{stem}.safetensors"
    row = dict(zip(("scenario", "method", "person"), key, strict=True)) | person.facts
    row |= unlearn_by(key[1], session, person, settings, checkpoint) | measured(session, person, bench.measures)
    keep_picture(session, session.folder / "pictures" / f"{stem}.jpg")
    checkpoint.unlink(missing_ok=True)
    return row


def unlearn_by(
    method: str,
    session: Session,
    person: Person,
    settings: UnlearningSettings,
    checkpoint: Path,
    way: Method | None = None,
) -> dict[str, float]:
    """Unlearn a person from the untouched generator by a method of `METHODS`; the session has the student then.

    way: what it does here, in place of what `METHODS` says under that name. Returns the seconds that the search of the
    target and the erasure took. A killed run goes on from `checkpoint`; one in rounds begins again.

    >>> session, person = Session(networks), Person("7", w_u)
    >>> sorted(unlearn_by("closed form", session, person, UnlearningSettings(), tmp_path / "7.safetensors"))
    ['seconds', 'target_seconds']
    """
    way = way or METHODS[method]
    session.start_over(replace(person, others=None))  # other photos are for ID_others, and never seen before
    started = time.perf_counter()
    settings = way.prepare(session, settings)
    row = {"target_seconds": time.perf_counter() - started}
    fibre = way.fibre
    if way.at_once:
        _ = session.fibre_metric if fibre else session.lists[-1].metric  # once for everybody, so nobody's seconds
    started = time.perf_counter()
    if way.at_once:
        session.erase_at_once(fibre=fibre)
    if way.trained:
        total, changes = settings.steps, way.robust
        if changes is None:
            run = session.erase(settings, checkpoint=checkpoint)
        else:
            device = person.w_u.device if settings.mixed_precision else None
            robust = RobustSettings.fast(device, **changes)
            robust = replace(robust, training=settings, attacker=replace(robust.attacker, seed=settings.seed))
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
