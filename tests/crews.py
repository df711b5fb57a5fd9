"""What workers of the tests do: functions that other processes import."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from tiny import AnySize, TinyGenerator, TinyPerceptual

from guide_lib.errors import GuideError
from guide_lib.evaluation import comparison
from guide_lib.evaluation.attacked import AttackTable
from guide_lib.evaluation.bench import Bench
from guide_lib.evaluation.measuring import Measures
from guide_lib.experiment import Networks
from guide_lib.files import append_row
from guide_lib.session import Session


def networks() -> Networks:
    return Networks(TinyGenerator(), TinyPerceptual(), AnySize(), AnySize(seed=8))


def tools(folder: Path) -> Path:
    """Ready; a line in ready.jsonl for each time."""
    append_row(folder / "ready.jsonl", {"pid": os.getpid()})
    return folder


def no_tools() -> None:
    raise GuideError("There is no network; fetch one.")


def square(folder: Path, number: int) -> tuple[int, int]:
    """The square, and who computed it. 13 always kills its worker, 12 its first one; 11 fails, 10 has no disk left."""
    time.sleep(0.05)
    append_row(folder / f"tries-{number}.jsonl", {"pid": os.getpid()})
    tries = len((folder / f"tries-{number}.jsonl").read_text().splitlines())
    if number == 13 or (number == 12 and tries == 1):
        os._exit(9)
    if number == 11:
        raise ValueError("eleven")
    if number == 10:
        raise OSError(28, "No space left on device")
    return number**2, os.getpid()


def slow_in_the_first(folder: Path, number: int) -> int:
    """Who computed it; the worker that came first takes a second each time."""
    first = folder / "first"
    with contextlib.suppress(FileExistsError), first.open("x") as file:
        file.write(str(os.getpid()))
    if first.read_text() == str(os.getpid()):
        time.sleep(1)
    return os.getpid()


def bench(folder: Path, **_: Any) -> Bench:
    """In place of `open_bench`; a line in ready.jsonl for each time."""
    append_row(folder / "ready.jsonl", {"pid": os.getpid()})
    return Bench(Session(networks(), folder))


def slow_bench(folder: Path, **_: Any) -> Bench:
    """The same, with steps of a hundredth of a second, and a checkpoint every third of one."""
    from guide_lib.session import session

    real = session.unlearn

    def slowly(*args: Any, **named: Any):
        for step in real(*args, **named, checkpoint_seconds=0.3):
            time.sleep(0.01)
            yield step

    session.unlearn = slowly
    return bench(folder)


def unhurried_bench(folder: Path) -> Bench:
    """The same as `bench`, and each row takes half a second longer."""
    real = comparison.unlearn_by

    def late(*args: Any) -> dict[str, float]:
        time.sleep(0.5)
        return real(*args)

    comparison.unlearn_by = late
    return bench(folder)


def attack_table(folder: Path) -> tuple[AttackTable, Measures]:
    """A table like that of test_attacked.py, and what is measured besides."""
    from test_attacked import table

    return table(folder), Measures()
