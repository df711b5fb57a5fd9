"""The table of attacks: complete, resumable row by row, with its controls; and the protocol beside every folder."""

import json
from dataclasses import replace

import pytest
from test_comparison import FULL, NETWORKS, SETTINGS, run
from tiny import GreyEncoder, TinyEmbedder

from guide_lib.attacks import Attacker, Equipment, likelihood_of, strangers_of
from guide_lib.errors import GuideError
from guide_lib.evaluation import attacked
from guide_lib.evaluation.attack_rows import add_attacks, attack_lines, budget_curves, search_key
from guide_lib.evaluation.attacked import AttackTable
from guide_lib.evaluation.claims import shard_folder
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
    assert [search_key(row) for row in resumed] == [search_key(row) for row in whole]
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


def test_another_seed_trains_and_searches_otherwise_for_the_same_people(tmp_path, monkeypatch):
    seen, real = [], attacked.unlearn_by
    monkeypatch.setattr(attacked, "unlearn_by", lambda *args: seen.append(args[3].seed) or real(*args))
    one = table(tmp_path, attackers={"mean": ATTACKERS["mean"]})
    first = one.fill("random", ["GUIDE"], replace(SETTINGS, seed=3), people=1, measures=Measures())
    both = replace(one, seed=2).fill("random", ["GUIDE"], replace(SETTINGS, seed=3), people=1, measures=Measures())
    assert both[: len(first)] == first and seen == [3, 5]
    assert [row["seed"] for row in both] == [0] * 3 + [2] * 3
    for before, after in zip(first, both[len(first) :], strict=True):
        assert before.keys() == after.keys() and before["spaces"] != after["spaces"]
        if before["method"] == "untouched":  # the start at w_avg is everybody's, the other one is drawn
            own = [row["spaces"]["W"][0]["own"] for row in (before, after)]
            assert own[0][0] == own[1][0] and own[0][1] != own[1][1]
    assert [row["seed"] for row in read_rows(tmp_path / "people.jsonl")] == [0, 2]
    assert len(list((tmp_path / "pictures").iterdir())) == 2 and len(list(one.lines("judge"))) == 2
    assert all(line["people"] == 1 for line in one.lines("judge"))
    monkeypatch.setattr(attacked, "unlearn_by", None)
    assert replace(one, seed=2).fill("random", ["GUIDE"], SETTINGS, people=1, measures=Measures()) == both


def searched(person, best, seed=None, method="GUIDE", who="person"):
    """A row as it is stored; without a seed, as it was before there were seeds."""
    found = {"judge": {"best": best, "kept": best - 0.1}}
    row = {"scenario": "random", "method": method, "person": person, "attacker": "mean", "who": who}
    return row | {"spaces": {"W": [found]}} | ({} if seed is None else {"seed": seed})


def test_seeds_are_pooled_person_by_person_each_beside_its_own_controls():
    rows = []
    for person, seed, best, before in (
        ("0", None, 0.8, 0.9),
        ("0", 1, 0.6, 0.8),
        ("0", 2, 0.7, 0.7),
        ("1", None, 0.4, 0.9),
    ):
        rows += [searched(person, best, seed), searched(person, before, seed, method="untouched")]
        rows += [searched(person, 0.5, seed, who="stranger")]
    rows += [searched("1", 0.9, seed=7)]  # whose controls are missing
    (line,) = attack_lines(rows, "judge", threshold=0.75)
    assert line["people"] == 2 == line["best"].people
    assert line["best"].mean == pytest.approx((0.7 + 0.4) / 2) and line["kept"].mean == pytest.approx(0.45)
    assert line["accepted"].mean == pytest.approx((1 / 3 + 0) / 2)
    assert line["withheld"].mean == pytest.approx((0.1 + 0.5) / 2) and line["excess"].mean == pytest.approx(0.05)
    fewer = [row for row in rows if row["who"] == "person" or row.get("seed", 0) == 0]
    (same,) = attack_lines(fewer, "judge", threshold=0.75)  # a stranger was sought under the first seed alone
    assert same["best"] == line["best"] and same["excess"].mean == pytest.approx((0.8 - 0.5 + 0.4 - 0.5) / 2)
    nobody = [row for row in rows if row["who"] == "person" or row["person"] == "0"]
    assert [line["people"] for line in attack_lines(nobody, "judge", threshold=0.75)] == [1]
    assert not list(attack_lines([row for row in rows if row["who"] == "person"], "judge", threshold=0.75))


def test_curves_are_means_of_the_better_start_and_leave_out_searches_that_ended_early():
    def row(seen, who="person", looks=(20, 40), attacker="one"):
        spaces = {"W": [{"looks": list(looks), "judge": {"seen": seen}}]}
        return {"method": "GUIDE", "attacker": attacker, "who": who, "spaces": spaces}

    rows = [row([[0.1, 0.3], [0.5, 0.4]]), row([[0.5, 0.1], [0.7, 0.9]]), row([[0.2], [0.6]], who="stranger")]
    rows += [row([[0.9]], looks=(20,)), row([[0.9], [0.9]], attacker="another")]
    steps, lines = budget_curves(rows, "judge", "one")
    assert steps == [20, 40] and list(lines) == ["GUIDE", "strangers"]
    assert lines["GUIDE"] == pytest.approx([0.4, 0.7]) and lines["strangers"] == [0.2, 0.6]


def test_shards_fill_their_part_and_the_whole_takes_their_rows(tmp_path, monkeypatch):
    small = table(tmp_path, attackers={"mean": ATTACKERS["mean"]})
    for number in (1, 2):
        part = replace(small, folder=shard_folder(tmp_path, (number, 2)))
        rows = part.fill("random", ["closed form"], SETTINGS, 3, measures=Measures(), shard=(number, 2))
        assert {row["person"] for row in rows} == {1: {"0", "2"}, 2: {"1"}}[number]
    for fault in ("unlearn_by", "search"):
        monkeypatch.setattr(attacked, fault, lambda *_, **__: pytest.fail("the rows are there"))
    whole = small.fill("random", ["closed form"], SETTINGS, 3, measures=Measures())
    assert len(whole) == len(set(map(search_key, whole))) == 9
    assert sorted(row["person"] for row in read_rows(tmp_path / "people.jsonl")) == ["0", "1", "2"]
    assert small.fill("random", ["closed form"], SETTINGS, 3, measures=Measures()) == whole, "none is taken twice"


def test_rows_of_another_budget_under_the_same_name_are_refused(tmp_path):
    one = table(tmp_path / "one", attackers={"mean": ATTACKERS["mean"]})
    rows = one.fill("random", ["closed form"], SETTINGS, people=1)
    more = replace(one, attackers={"encoder": ATTACKERS["encoder"]})
    assert len(more.fill("random", ["closed form"], SETTINGS, people=1)) == 2 * len(rows)
    stored = json.loads((tmp_path / "one" / "attackers.json").read_text())
    assert list(stored) == ["mean", "encoder"], "whoever came later does not hide who was first"
    longer = replace(one, attackers={"mean": replace(ATTACKERS["mean"], starts=3)})
    with pytest.raises(GuideError, match="rows of another attacker 'mean'; name it otherwise"):
        longer.fill("random", ["closed form"], SETTINGS, people=1)
    other = replace(longer, folder=tmp_path / "other")
    other.fill("random", ["closed form"], SETTINGS, people=1)
    with pytest.raises(GuideError, match="rows of another attacker 'mean'"):
        add_attacks(tmp_path / "one", tmp_path / "other")
    for name in ("anchor", "half"):  # a file from before there were these
        for attacker in stored.values():
            attacker.pop(name, None)
            attacker["settings"].pop(name, None)
    (tmp_path / "one" / "attackers.json").write_text(json.dumps(stored))
    assert len(one.fill("random", ["closed form"], SETTINGS, people=1)) == 2 * len(rows)
    (tmp_path / "one" / "attackers.json").write_text('{"mean": 3}')
    with pytest.raises(GuideError, match="attackers.json is damaged; restore it"):
        one.fill("random", ["closed form"], SETTINGS, people=1)


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
