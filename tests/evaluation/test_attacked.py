"""The table of attacks: complete, resumable row by row, with its controls; and the protocol beside every folder."""

import json
from dataclasses import replace

import pytest
from test_comparison import FULL, NETWORKS, SETTINGS, run
from tiny import GreyEncoder, TinyEmbedder

from guide_lib.attacks import Attacker, Equipment, likelihood_of, strangers_of
from guide_lib.evaluation import attacked
from guide_lib.evaluation.attacked import AttackTable
from guide_lib.evaluation.measuring import Measures
from guide_lib.evaluation.protocol import protocol_of
from guide_lib.evaluation.results import contrast, read_rows, summarise, table_of
from guide_lib.inversion.optimise import InversionSettings
from guide_lib.metrics.columns import METRICS

SHORT = InversionSettings(steps_w=4, steps_w_plus=4)
ATTACKERS = {
    "mean": Attacker(starts=2, settings=SHORT),
    "reflected": Attacker("reflected", starts=1, likelihood=0.1, settings=SHORT),
    "encoder": Attacker("encoder", starts=1, settings=replace(SHORT, steps_w=0)),
}
TOOLS = Equipment(
    {"own": NETWORKS.perceptual},
    {"own": NETWORKS.embedder},
    {"judge": NETWORKS.judge, "second": TinyEmbedder(seed=9)},
    GreyEncoder(NETWORKS.generator.w_avg),
    likelihood_of(NETWORKS.generator),
)
THRESHOLDS = {"judge": 0.716, "second": 0.6}
JUDGED = {"threshold": 0.716, "false_accepts": 0.001, "strict": 0.651, "false_rejects": 0.04}


def table(folder, **changes) -> AttackTable:
    return replace(AttackTable(NETWORKS, TOOLS, ATTACKERS, THRESHOLDS, folder), **changes)


def test_every_student_every_attacker_and_the_untouched_generator_once(tmp_path):
    rows = table(tmp_path).fill("random", ["GUIDE", "closed form"], SETTINGS, people=2)
    assert len(rows) == 2 * 3 * (1 + 2 * 2) and sum(row["method"] == "untouched" for row in rows) == 2 * 3
    row = next(row for row in rows if row["who"] == "stranger" and row["attacker"] == "mean")
    assert list(row["spaces"]) == ["W", "W+"] and [len(found) for found in row["spaces"].values()] == [2, 2]
    assert {"judge", "second", "steps", "seconds", "looks"} <= row["spaces"]["W"][0].keys()
    assert not list(tmp_path.glob("*.safetensors"))
    lines = list(table(tmp_path).lines("second"))
    assert [line["space"] for line in lines if line["method"] == "GUIDE"] == ["W", "W+", "W", "W+", "W+"]
    for line in lines:
        assert line["people"] == 2 and line["excess"].mean == pytest.approx(line["best"].mean - line["strangers"].mean)
        assert line["withheld"].mean == pytest.approx(line["untouched"].mean - line["best"].mean)
        assert line["best"].mean >= line["kept"].mean


def test_a_killed_table_goes_on_row_by_row_and_trains_nobody_for_nothing(tmp_path, monkeypatch):
    whole = table(tmp_path / "whole").fill("random", ["GUIDE"], SETTINGS, people=2)
    rows, real = table(tmp_path / "cut"), attacked.append_row
    made = []

    def dying(path, row):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(row)
        real(path, row)

    monkeypatch.setattr(attacked, "append_row", dying)
    with pytest.raises(KeyboardInterrupt):
        rows.fill("random", ["GUIDE"], SETTINGS, people=2)
    monkeypatch.setattr(attacked, "append_row", real)
    assert list(rows.lines("judge"))[0]["people"] == 1 or not list(rows.lines("judge"))
    resumed = rows.fill("random", ["GUIDE"], SETTINGS, people=2)
    assert [attacked._key(row) for row in resumed] == [attacked._key(row) for row in whole]
    for mine, theirs in zip(resumed, whole, strict=True):
        for space, found in mine["spaces"].items():
            assert [x["judge"] for x in found] == [x["judge"] for x in theirs["spaces"][space]]
    monkeypatch.setattr(attacked, "unlearn_by", None)  # nothing is missing, so nobody is unlearned
    assert rows.fill("random", ["GUIDE"], SETTINGS, people=2) == resumed


def test_the_student_is_attacked_and_measured_not_the_generator(tmp_path):
    there = {"there": Attacker("erased", starts=1, settings=InversionSettings(1, 0, learning_rate=1e-6))}
    rows = table(tmp_path, attackers=there, strangers=0)
    measures = Measures(second=(TOOLS.judges["second"], 0.6), relearning=True)
    found = rows.fill("random", ["closed form"], SETTINGS, people=2, measures=measures)
    best = {(row["method"], row["person"], row["who"]): row["spaces"]["W"][0]["judge"]["best"] for row in found}
    people = read_rows(tmp_path / "people.jsonl")
    assert [row["person"] for row in people] == ["0", "1"] and len(list((tmp_path / "pictures").iterdir())) == 2
    for row in people:
        assert best["untouched", row["person"], "person"] == pytest.approx(1, abs=1e-3)
        assert best["closed form", row["person"], "person"] == pytest.approx(row["id"], abs=1e-2)
        assert row["id"] < 0.9 and row["accepted_w_u_second"] == float(row["id_second"] >= 0.6)
        assert row["relearnt_10"] <= row["relearnt_30"] <= row["relearnt"]
    rows.path.unlink()  # the searches again: nobody is measured twice
    rows.fill("random", ["closed form"], SETTINGS, people=2, measures=measures)
    assert read_rows(tmp_path / "people.jsonl") == people


def test_the_table_stops_early_and_takes_given_strangers(tmp_path):
    small = table(tmp_path, attackers={"mean": ATTACKERS["mean"]}, stop=True, thresholds={"judge": -1.0}, strangers=1)
    still = replace(small, attackers={"long": Attacker(starts=1, settings=InversionSettings(60, 20))})
    given = strangers_of(NETWORKS.generator, 3, "given")
    rows = replace(still, pictures=given).fill("random", ["closed form"], SETTINGS, people=1)
    assert all(found["looks"] == [20] for row in rows for found in row["spaces"]["W"])
    assert all(list(row["spaces"]) == ["W"] for row in rows) and len(list(still.lines("judge"))) == 1
    other = replace(still, folder=tmp_path / "drawn").fill("random", ["closed form"], SETTINGS, people=1)
    assert rows[2]["spaces"]["W"][0]["judge"] != other[2]["spaces"]["W"][0]["judge"]


def test_a_row_puts_every_search_beside_its_controls_and_older_rows_are_read(tmp_path):
    (row,) = run(tmp_path, people=1, methods=["GUIDE"])
    for name in ("reinverted_w", "reinverted_w_plus"):
        assert row[f"{name}_excess"] == pytest.approx(row[name] - row[f"{name}_strangers"])
        assert row[f"{name}_withheld"] == pytest.approx(row[f"{name}_control"] - row[name])
        assert row[f"{name}_kept"] <= row[name] and row[f"{name}_rarity"] > 0
    new = {key for key in row if key.endswith(("_excess", "_withheld", "_control", "_strangers", "_kept", "_lead"))}
    old = {key: value for key, value in row.items() if key not in new} | {"method": "before"}
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(x) + "\n" for x in (row, old)))
    rows = read_rows(tmp_path / "people.jsonl")
    head, _, line, older = table_of(summarise(rows), ["reinverted_w", "reinverted_w_excess"]).splitlines()
    assert METRICS["reinverted_w_excess"].heading in head and "| -" in older and "| -" not in line.replace("| -0", "")
    assert contrast(rows, "reinverted_w", "GUIDE", "before").mean == 0


@pytest.mark.parametrize("measures", [Measures(), FULL])
def test_every_folder_says_how_its_numbers_came_about(tmp_path, measures):
    run(tmp_path, people=1, methods=["GUIDE"], measures=measures)
    protocol = json.loads((tmp_path / "protocol.json").read_text(), parse_constant=pytest.fail)
    assert protocol["judge"] == {"name": "AnySize", **JUDGED} and protocol["generator"]["resolution"] == 16
    assert protocol["metrics"].keys() == METRICS.keys()
    assert ("attackers" in protocol) == measures.attacks
    if measures.attacks:
        assert (
            protocol["attackers"]["own"]["starts"] == 4
            and protocol["relearning"]["tuners"]["sgd"]["optimizer"] == "sgd"
        )


def test_both_thresholds_are_also_said_at_the_size_of_the_pictures(monkeypatch):
    judge = TinyEmbedder(seed=9)
    monkeypatch.setattr(judge, "name", "dlib", raising=False)
    monkeypatch.setattr(NETWORKS.generator, "resolution", 128)
    found = protocol_of(replace(NETWORKS, judge=judge), SETTINGS, attacks=False)["judge"]
    assert found == {"name": "dlib", **JUDGED, "at_this_size": {"accepted": 0.708, "strict": 0.651}}
