"""Seconds until a person is forgotten and the others are kept, by each way of unlearning: the time to a given result.

    python benchmarks/time_to_result.py --people 8 --out runs/time-to-result

The naive loop with the paper's settings, GUIDE with the presets `fast` and `styles`, and the closed form followed by
the short training `finish`. All share networks and people. The result is ID at most 0.1 with retention at least 0.95;
the student is looked at every few steps while the clock stands still, so the figure is exact to so many steps. Whoever
has not come there at the last step of the settings, or within --limit seconds of the processor, has no time. The ways
take turns, person by person, so that a slow hour of the machine slows all of them; beside the seconds stand those of
the processor, which other programs lengthen less. What a way needs once for everybody (the metric of the closed form,
the strangers of a natural target) is got ready before. Resumable: rows.jsonl in the folder; the table is printed.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from naive import unlearn_naively

from guide_lib.evaluation import people_of
from guide_lib.experiment import Networks, Person, load_networks, other_people, run_folder
from guide_lib.files import append_row, read_rows
from guide_lib.generators import Generator
from guide_lib.metrics import evaluate, measure_forgetting
from guide_lib.runtime import keep_freed_memory, pick_device, synchronise
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings

RESOLUTION, EVERY = 128, 5
ID, RETENTION = 0.1, 0.95


def naive(session: Session) -> Iterator[Generator]:
    """The student after each step of the loop as it is stated."""
    networks, settings = session.networks, UnlearningSettings.paper()
    w_t = session.target("ufo")
    known = {"perceptual": networks.perceptual, "embedder": networks.embedder}
    for step in unlearn_naively(networks.generator, session.person.w_u, w_t, settings, **known):
        yield step.student


def trained(session: Session, settings: UnlearningSettings) -> Iterator[Generator]:
    """The student after each step of the library's training towards UFO's target, or the one that is chosen."""
    for step in session.erase(settings):
        yield step.student


def finished(session: Session, settings: UnlearningSettings) -> Iterator[Generator]:
    """The student of the closed form, then after each step of the training from there."""
    session.target(None)
    yield session.erase_at_once()
    yield from trained(session, settings)


WAYS: dict[str, Callable[[Session], Iterable[Generator]]] = {
    "naive": naive,
    "fast": lambda session: trained(session, UnlearningSettings.fast(session.generator.w_avg.device)),
    "styles": lambda session: trained(session, UnlearningSettings.styles(session.generator.w_avg.device)),
    "closed form then GUIDE": lambda session: finished(
        session, UnlearningSettings.finish(session.generator.w_avg.device)
    ),
}


def time_to(session: Session, person: Person, way: str, every: int = EVERY, limit: float = math.inf) -> dict[str, Any]:
    """One row: seconds (None: not reached), after how many students, and ID and retention as they were then.

    limit: seconds of the processor after which the way is given up. spent, cpu: seconds of the clock and of the
    processor until the end.
    """
    session.start_over(person)
    crowd, judges = other_people(session.generator), (session.networks.judge, session.networks.perceptual)
    device, students = session.generator.w_avg.device, iter(WAYS[way](session))
    count, seconds, cpu, reached, ended = 0, 0.0, 0.0, False, False
    while not (reached or ended):
        clocks = time.perf_counter(), time.process_time()
        for _ in range(1 if count == 0 else every):  # the first is that of the closed form, or of one step
            student = next(students, None)
            ended = student is None
            if ended:
                break
            count, last = count + 1, student
        synchronise(device)
        seconds, cpu = seconds + time.perf_counter() - clocks[0], cpu + time.process_time() - clocks[1]
        ended |= cpu >= limit
        forgotten = measure_forgetting(last, session.generator, person.w_u, None, judges[0]).id <= ID
        if forgotten or ended:  # a look at everybody else takes longer than five steps
            report = evaluate(last, session.generator, person.w_u, crowd, *judges)
            reached = forgotten and report.retention >= RETENTION
    row = {"way": way, "person": person.name, "seconds": seconds if reached else None, "students": count}
    return row | {"id": report.id, "retention": report.retention, "spent": seconds, "cpu": cpu}


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each way: how many came there, the medians of their seconds, and of the naive loop's over these."""
    lines = ["| way | people | reached | seconds, median | of the processor | naive / this |", "|---" * 6 + "|"]
    found = {way: [row for row in rows if row["way"] == way] for way in WAYS}
    there = {way: [row for row in group if row["seconds"] is not None] for way, group in found.items()}
    for way, group in found.items():
        seconds, cpu, first = (
            statistics.median(row[key] for row in some) if some else None
            for key, some in (("seconds", there[way]), ("cpu", there[way]), ("seconds", there["naive"]))
        )
        values = seconds, cpu, first / seconds if first and seconds else None
        cells = ["-" if value is None else f"{value:.3g}" for value in values]
        lines.append(f"| {way} | {len(group)} | {len(there[way])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(networks: Networks, folder: Path, people: int, limit: float = math.inf) -> list[dict[str, Any]]:
    """All rows of a folder, after those that were missing have been measured."""
    session, path = Session(networks, folder), folder / "rows.jsonl"
    done = {(row["way"], row["person"]) for row in read_rows(path)}
    _ = session.lists[0].metric, session.strangers
    for person in people_of("random", networks, people, folder):
        for way in WAYS:
            if (way, person.name) not in done:
                row = time_to(session, person, way, limit=limit)
                append_row(path, row | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})
    return read_rows(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument(
        "--limit", type=float, default=math.inf, help="seconds of the processor for a person by each way"
    )
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-result"))
    args = parser.parse_args()
    keep_freed_memory()
    with run_folder(args.out) as folder:
        networks = load_networks(resolution=RESOLUTION, device=pick_device(args.device))
        print(table(measure(networks, folder, args.people, args.limit)))


if __name__ == "__main__":
    main()
