"""The time to a result: when the clock stops, what counts as having arrived, and every way on tiny networks."""

from types import SimpleNamespace

import pytest
import time_to_result as timed
import torch
from project import RESULTS, page, sentences
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.experiment import Networks, Person
from guide_lib.files import read_rows
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings

NETWORKS = Networks(TinyGenerator(), TinyPerceptual(), TinyEmbedder(), TinyEmbedder(seed=8))


def row(monkeypatch, seen: list[tuple[float, float]], students: int, **options) -> dict:
    """The row of a way with so many students, of which these (ID, retention) are seen."""
    reports, latest = iter([SimpleNamespace(id=a, retention=b) for a, b in seen]), []

    def forgotten(*_) -> SimpleNamespace:
        latest[:] = [next(reports)]
        return latest[0]

    monkeypatch.setattr(timed, "measure_forgetting", forgotten)
    monkeypatch.setattr(timed, "evaluate", lambda *_: latest[0])
    monkeypatch.setitem(timed.WAYS, "another", lambda session: [session.generator] * students)
    person = Person("3", NETWORKS.generator.sample(1, torch.Generator().manual_seed(3)))
    return timed.time_to(Session(NETWORKS), person, "another", every=5, **options)


def test_the_clock_stops_at_the_first_look_that_finds_the_result(monkeypatch):
    found = row(monkeypatch, [(1.0, 1.0), (0.05, 0.94), (0.1, 0.95)], students=40)
    assert found["students"] == 11 and found["seconds"] == found["spent"] > 0
    assert (found["id"], found["retention"]) == (0.1, 0.95)


def test_whoever_does_not_come_there_has_no_time(monkeypatch):
    found = row(monkeypatch, [(1.0, 1.0), (0.5, 1.0), (0.4, 1.0)], students=8)
    assert found["seconds"] is None and found["students"] == 8 and found["spent"] > 0


def test_a_way_is_given_up_after_so_many_seconds(monkeypatch):
    found = row(monkeypatch, [(1.0, 1.0), (0.05, 0.9)], students=40, limit=0.0)
    assert found["seconds"] is None and found["students"] == 1 and found["retention"] == 1.0


def test_the_others_are_looked_at_only_where_the_person_is_forgotten(monkeypatch):
    looks, each = [], iter([1.0, 0.05, 0.2, 0.05])
    monkeypatch.setattr(timed, "measure_forgetting", lambda *_: SimpleNamespace(id=next(each)))
    monkeypatch.setattr(timed, "evaluate", lambda *_: looks.append(1) or SimpleNamespace(id=0.05, retention=len(looks)))
    monkeypatch.setitem(timed.WAYS, "another", lambda session: [session.generator] * 40)
    monkeypatch.setattr(timed, "RETENTION", 2)
    person = Person("3", NETWORKS.generator.sample(1, torch.Generator().manual_seed(3)))
    assert timed.time_to(Session(NETWORKS), person, "another")["students"] == 16 and len(looks) == 2


def test_every_way_is_measured_in_turn_and_once(monkeypatch, tmp_path):
    monkeypatch.setattr(timed, "ID", -2.0)
    for preset in ("paper", "fast", "styles", "finish"):
        monkeypatch.setattr(UnlearningSettings, preset, lambda *_: UnlearningSettings(steps=3))
    rows = timed.measure(NETWORKS, tmp_path, people=2)
    assert [(r["way"], r["person"]) for r in rows] == [(way, person) for person in "01" for way in timed.WAYS]
    assert [r["students"] for r in rows[:4]] == [3, 3, 3, 4], "the closed form is one more"
    monkeypatch.setattr(timed, "time_to", lambda *_: pytest.fail("the rows are there"))
    assert timed.measure(NETWORKS, tmp_path, people=2) == rows


def test_the_table_compares_with_the_naive_loop():
    times = {"naive": [100.0, None, 300.0], "fast": [20.0, 30.0, 10.0], "styles": [None]}
    rows = [{"way": way, "seconds": x, "cpu": x and x / 2} for way, values in times.items() for x in values]
    assert timed.table(rows).splitlines()[2:] == [
        "| naive | 3 | 2 | 200 | 100 | 1 |",
        "| fast | 3 | 3 | 20 | 10 | 10 |",
        "| styles | 1 | 0 | - | - | - |",
        "| closed form then GUIDE | 0 | 0 | - | - | - |",
    ]


def test_the_documentation_has_the_stored_times():
    rows, words = read_rows(RESULTS / "time-to-result.jsonl"), sentences("docs/speed.md")
    assert timed.table(rows) in page("docs/speed.md")
    by_way = {way: [row for row in rows if row["way"] == way] for way in timed.WAYS}
    naive, closed = by_way["naive"], by_way["closed form then GUIDE"]
    assert all(row["cpu"] >= 120 and row["seconds"] is None for row in naive)
    assert f"the processor at least {min(120 / row['cpu'] for row in closed):.0f} times less" in words
    assert f"By the clock it is at least {min(120 / row['seconds'] for row in closed):.0f} times" in words
    kept = [row["retention"] for row in naive]
    assert f"after two minutes keeps {min(kept):.2f} to {max(kept):.2f} of the others" in words
    assert sum(row["students"] == 1 for row in closed) == 7 and "for seven of the eight the closed form alone" in words
