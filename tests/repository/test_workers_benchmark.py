"""Rows an hour: what a line says, and what the ways start, without real networks."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import workers as timed
from project import RESULTS, page, sentences
from step_report import table

from guide_lib.workers import Crew


def test_a_line_counts_rows_those_made_twice_and_the_dead(monkeypatch):
    @contextmanager
    def way(ready, **_):
        with ThreadPoolExecutor(1) as executor:
            yield Crew(executor, ready, lambda: 1), [7, 8]

    clock = iter([10.0, 28.0])
    monkeypatch.setattr(timed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setitem(timed.WAYS, "another", way)
    line = timed.timed("another", lambda crew: [{"person": name} for name in "010"], dict)
    assert line == {"way": "another", "rows": 3, "twice": 1, "killed": 2, "seconds": 18.0, "rows an hour": 600.0}


def test_threads_are_bounded_only_where_a_worker_is_started(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with timed.one_thread_each():
        assert timed.os.environ["OMP_NUM_THREADS"] == "1"
    assert timed.os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    with timed.one_thread_each():
        pass
    assert "OMP_NUM_THREADS" not in timed.os.environ


def test_the_documentation_has_the_stored_rates():
    lines = json.loads((RESULTS / "workers.json").read_text(encoding="utf-8"))["lines"]
    assert [line["way"] for line in lines] == list(timed.WAYS) and table(lines) in page("docs/endurance.md")
    assert all(line["rows"] == 4 and not line["twice"] for line in lines)
    rate = {line["way"]: line["rows an hour"] for line in lines}
    one, both = (rate["two workers"] / rate[f"one worker, {cores}"] for cores in ("one thread", "all cores"))
    words = (
        f"make {one:.1f} times the rows of one with one thread, and {both:.1f} times those of one that has both cores"
    )
    assert words in sentences("docs/endurance.md")
