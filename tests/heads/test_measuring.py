"""The recipes that measure heads-eg3d: thresholds, inverted photographs, the table; on little."""

import json
import sys

import numpy as np
import pytest
import torch
from project import DATA, recipe
from tiny import AnySize, TinyPerceptual, networks_on

from guide_lib.evaluation.results import read_rows
from guide_lib.experiment import Networks
from guide_lib.generators import load_generator
from guide_lib.heads import describe
from guide_lib.session import Session


@pytest.fixture
def recipes(monkeypatch):
    """A recipe by name; those that it imports are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(DATA / "recipes"))
    yield recipe
    for path in (DATA / "recipes").glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_other_days_are_of_the_same_person(recipes):
    table = recipes("heads_table")
    person, others = describe(table.z_of(3)[0].numpy()), [describe(z) for z in table.other_days(3).numpy()]
    assert torch.equal(table.z_of(3), torch.randn(1, 64, generator=torch.Generator().manual_seed(3)))
    assert len(others) == table.OTHERS and len({other.hair for other in others} | {person.hair}) > 1
    assert len({other.smile for other in others}) > 2
    for other in others:  # z is scaled by its length, which six of them share but nearly
        assert np.abs(other.shape - person.shape).max() < 0.25 and abs(other.gender - person.gender) < 0.15


def test_the_table_has_a_row_a_method_and_goes_on_where_it_was_stopped(recipes, monkeypatch, tmp_path):
    table = recipes("heads_table")
    made = []

    def row_of(session, seed, method, attacked):
        made.append((seed, method, attacked))
        row = {"scenario": "heads", "method": method, "person": str(seed), "id": 0.25, "became": [1.0]}
        return row | {"reinverted_w": 0.5} if attacked else row

    monkeypatch.setattr(table, "row_of", row_of)
    monkeypatch.setattr(table.Session, "open", lambda *_, **__: None)
    asked = ["--methods", "GUIDE", "--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    for people, attacked in ((1, 1), (2, 1), (2, 2)):
        argv = ["heads_table.py", "--people", str(people), "--attacked", str(attacked), *asked]
        monkeypatch.setattr(sys, "argv", argv)
        table.main()
    first = [(0, "untouched", True), (0, "GUIDE", True), (1, "GUIDE", False)]
    assert made == [*first, (1, "untouched", True), (1, "GUIDE", True)]  # the last once more, to be attacked
    rows = read_rows(tmp_path / table.ROWS)
    assert len(rows) == 4 and all("reinverted_w" in row for row in rows)
    lines = (tmp_path / table.TABLE).read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["heads: untouched", "heads: GUIDE"]


def test_a_photograph_is_inverted_and_its_person_erased(recipes, monkeypatch, tmp_path):
    """With the shipped network and small recognisers, in two steps."""
    module = recipes("heads_inversion")
    monkeypatch.setattr(module, "SETTINGS", module.InversionSettings(steps_w=2, steps_w_plus=0))
    monkeypatch.setattr(module, "TARGET", tmp_path / "found.json")
    tools = TinyPerceptual(), AnySize(), AnySize(seed=2)
    session = Session(Networks(load_generator("heads-eg3d"), *tools))
    monkeypatch.setattr(session, "target", lambda kind: setattr(session, "w_t", session.generator.w_avg.clone()))
    monkeypatch.setattr(module.Session, "open", lambda name: session)
    photos, views, aside = module.photographs_of(session, 0)
    assert photos.shape == (3, 3, 128, 128) and len(views) == 3 and aside.shape == (1, 3, 128, 128)
    monkeypatch.setattr(sys, "argv", ["heads_inversion.py", "--people", "1"])
    module.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["people"] == 1 and found["means"] == found["rows"][0] and found["means"]["id"] < 1
    assert found["means"]["yaw_error"] < 15
    module.main()  # is there
    assert json.loads((tmp_path / "found.json").read_text()) == found


def test_thresholds_are_of_drawn_strangers_and_of_rendered_people(recipes, monkeypatch):
    module = recipes("heads_threshold")
    networks, rng = networks_on("cpu"), np.random.default_rng(0)
    monkeypatch.setattr(module, "load_judge", lambda name, faces: networks.judge)
    monkeypatch.setattr(module, "load_generator", lambda name: networks.generator)
    monkeypatch.setattr(
        module, "rendered", lambda index, redressed: torch.from_numpy(rng.uniform(-1, 1, (4, 3, 16, 16))).float()
    )
    found = module.measured(64, 5)
    for judge in found["judges"].values():
        assert judge["strict"]["threshold"] <= judge["accepted"]["threshold"]
        assert judge["accepted"]["rendered_false_rejects"]["pairs"] == 5 * 6
        assert judge["accepted"]["false_accepts"]["pairs"] == 64 * 63 // 2
