"""The leaderboard joins what a table of attacks found with what a run measured, method by method."""

from dataclasses import asdict, replace

import pytest
from test_attacked import ATTACKERS, table
from test_comparison import SETTINGS, run

from guide_lib.evaluation import LEADERBOARD, Measures, leaderboard, score_of, summarise, table_of
from guide_lib.metrics import METRICS, mean_interval, share_interval


def line(method, attacker, space, best, scenario="random"):
    """What one attacker found of as many people as there are cosines."""
    found = {"best": mean_interval(best), "excess": mean_interval([value - 0.5 for value in best])}
    accepted = share_interval([float(value >= 0.7) for value in best])
    names = {"scenario": scenario, "method": method, "attacker": attacker, "space": space}
    return names | found | {"people": len(best), "accepted": accepted}


def row(method, person, retention, **more):
    names = {"scenario": "random", "method": method, "person": person, "became": [1.0]}
    return names | {"id": 0.0, "retention": retention} | more


ROWS = [row(m, p, r) for p in "01" for m, r in (("A", 0.9), ("B", 0.8), ("C", 0.7), ("nobody's", 0.99))]
LINES = [
    line("A", "weak", "W", [0.2, 0.6]),
    line("A", "strong", "W", [0.6, 0.9]),
    line("A", "other", "W", [0.1, 0.8]),  # accepted as often, with lower cosines
    line("B", "weak", "W", [0.6, 0.6]),
    line("C", "weak", "W", [0.9, 0.9]),
    line("C", "weak", "W", [0.1, 0.1], scenario="ood"),
    line("B", "weak", "W+", [0.9, 0.9]),
]


def test_a_method_is_as_safe_as_its_most_successful_attacker_leaves_it():
    for lines in (LINES, LINES[::-1]):
        board = leaderboard(summarise(ROWS), lines)
        assert board["random: A"]["reinverted_w_accepted"] == asdict(LINES[1]["accepted"])
        assert board["random: A"]["reinverted_w_excess"] == asdict(LINES[1]["excess"])
        assert board["random: B"]["reinverted_w_plus_accepted"]["mean"] == 1.0


def test_who_sought_only_some_of_the_people_does_not_stand_for_all():
    board = leaderboard(
        summarise(ROWS), [*LINES, line("A", "rare", "W", [0.99]), line("nobody's", "rare", "W", [0.99])]
    )
    assert board["random: A"]["reinverted_w_accepted"] == asdict(LINES[1]["accepted"])
    assert "score" not in board["random: nobody's"]


def test_the_highest_score_is_first_and_who_was_not_attacked_is_last():
    board = leaderboard(summarise(ROWS), LINES)
    scores = {name: entry.get("score") for name, entry in board.items()}
    assert [*scores] == ["random: B", "random: A", "random: C", "random: nobody's"]
    assert scores["random: B"] == pytest.approx(2 / (1 / 1.0 + 1 / 0.8))
    assert scores["random: A"] == pytest.approx(2 / (1 / 0.5 + 1 / 0.9))
    assert scores["random: C"] == 0 and scores["random: nobody's"] is None
    *_, last = table_of(board, LEADERBOARD).splitlines()
    assert last.startswith("| random: nobody's | 2 |") and "| - | - |" in last


def test_a_score_of_an_earlier_attack_does_not_stay():
    rows = [row("A", p, 0.9, reinverted_w_accepted=0.0) for p in "01"]
    assert summarise(rows)["random: A"]["score"] == pytest.approx(score_of(0.0, 0.9))
    assert leaderboard(summarise(rows), [LINES[4] | {"method": "A"}])["random: A"]["score"] == 0


@pytest.mark.parametrize(
    ("accepted", "retention", "score"),
    [(0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.2, -0.3, 0)],
)
def test_a_score_is_high_only_where_both_are(accepted, retention, score):
    assert score_of(accepted, retention) == score and METRICS["score"].holds(score)


def test_a_table_of_attacks_joins_a_run(tmp_path):
    rows = run(tmp_path / "run", people=1, methods=["closed form"], measures=Measures())
    one = replace(table(tmp_path / "table"), attackers={"mean": ATTACKERS["mean"]}, strangers=1)
    one.fill("random", ["closed form"], SETTINGS, people=1)
    text = table_of(leaderboard(summarise(rows), one.lines("judge")), LEADERBOARD)
    head, _, found = text.splitlines()
    assert all(METRICS[key].heading in head for key in LEADERBOARD)
    assert " - " not in found.replace("| -", "|")
