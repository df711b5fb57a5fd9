"""Rows an hour of `guide evaluate` with one worker, two, and a Dask cluster of two, undisturbed and with deaths.

    python benchmarks/workers.py --people 8 --out runs/workers

Every way makes the same rows (GUIDE at 128 px, so many steps), in a folder of its own, in processes of this machine.
Seconds are those of all rows, with the start of the workers and their networks. One worker is timed with one thread, as
each of two has, and with all cores. --kill-every ends, by SIGKILL, one of the two workers of a cluster, in turn; what
counts is that all rows are there, and none twice. Not resumable: a folder that is there is refused. The table is
printed, and stored as workers.json in --out.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from step_report import table

from guide_lib.errors import GuideError
from guide_lib.evaluation import evaluate_people
from guide_lib.evaluation.bench import open_bench
from guide_lib.experiment import run_folder
from guide_lib.files import file_stem, write_json
from guide_lib.runtime import keep_freed_memory
from guide_lib.unlearning import UnlearningSettings
from guide_lib.workers import Crew, crew_of

RESOLUTION = 128
Ready = Callable[[], Any]


@contextmanager
def one_thread_each() -> Iterator[None]:
    """What is started meanwhile computes with one thread."""
    with patch.dict(os.environ, OMP_NUM_THREADS="1"):
        yield


@contextmanager
def processes(ready: Ready, count: int) -> Iterator[tuple[Crew, list[int]]]:
    """So many workers with a thread each; nobody is killed."""
    with one_thread_each(), crew_of(ready, count) as crew:
        yield crew, []


@contextmanager
def all_cores(ready: Ready) -> Iterator[tuple[Crew, list[int]]]:
    """One worker with as many threads as PyTorch takes."""
    with crew_of(ready, 1) as crew:
        yield crew, []


@contextmanager
def cluster(ready: Ready, kill_every: float | None = None) -> Iterator[tuple[Crew, list[int]]]:
    """Two workers of Dask on this machine; every so many seconds one of them, in turn, is killed. Yields who was."""
    from distributed import LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    stop, killed = threading.Event(), []
    with LocalCluster(**options, silence_logs="CRITICAL") as workers:

        def kill() -> None:
            while kill_every and not stop.wait(kill_every):
                nannies = list(workers.workers.values())
                alive = [nanny.pid for nanny in nannies if nanny.pid]  # one whose worker is only being started has none
                if alive:
                    killed.append(alive[len(killed) % len(alive)])
                    os.kill(killed[-1], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        with crew_of(ready, scheduler=workers.scheduler_address) as crew:
            killer.start()
            try:
                yield crew, killed
            finally:
                stop.set()
                killer.join()


WAYS: dict[str, Callable[..., Any]] = {
    "one worker, one thread": partial(processes, count=1),
    "one worker, all cores": all_cores,
    "two workers": partial(processes, count=2),
    "Dask, two workers": cluster,
    "Dask, one of two killed": cluster,
}


def timed(way: str, fill: Callable[[Crew], list[dict[str, Any]]], ready: Ready, **options: Any) -> dict[str, Any]:
    """One line of the table: rows, how many of them twice, workers killed, seconds, rows an hour."""
    began = time.perf_counter()
    with WAYS[way](ready, **options) as (crew, killed):
        rows = fill(crew)
        seconds = time.perf_counter() - began
    twice = len(rows) - len({row["person"] for row in rows})
    line = {"way": way, "rows": len(rows), "twice": twice, "killed": len(killed), "seconds": round(seconds, 1)}
    return line | {"rows an hour": round(3600 * len(rows) / seconds, 1)}


def measure(folder: Path, people: int, steps: int, kill_every: float) -> list[dict[str, Any]]:
    """A line of each way."""
    bench = open_bench(folder, resolution=RESOLUTION)
    networks, measures, lines = bench.session.networks, bench.measures, []
    settings = UnlearningSettings.fast(networks.generator.w_avg.device, steps=steps)
    for way in WAYS:
        place = (folder / file_stem(way)).absolute()
        place.mkdir()
        fill = partial(evaluate_people, networks, "random", ["GUIDE"], settings, place, people, measures, None)
        options = {"kill_every": kill_every} if way.endswith("killed") else {}
        lines.append(timed(way, fill, partial(open_bench, place, resolution=RESOLUTION), **options))
        print(table(lines[-1:]), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--kill-every", type=float, default=30.0, help="seconds (default 30)")
    parser.add_argument("--out", type=Path, default=Path("runs/workers"))
    args = parser.parse_args()
    if args.out.exists():
        raise GuideError(f"{args.out} is there already; name another folder with --out.")
    keep_freed_memory()
    with run_folder(args.out) as folder:
        lines = measure(folder, args.people, args.steps, args.kill_every)
        write_json(folder / "workers.json", {"steps": args.steps, "kill_every": args.kill_every, "lines": lines})
    print(table(lines))


if __name__ == "__main__":
    try:
        main()
    except GuideError as error:
        sys.exit(f"error: {error}")
