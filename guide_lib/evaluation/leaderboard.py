"""Methods ordered by what they hide from a search and keep of the others: a summary and what `AttackTable` found.

>>> from guide_lib.evaluation import summarise, table_of
>>> from guide_lib.metrics import mean_interval, share_interval
>>> people = {"scenario": "random", "became": [1.0], "id": 0.1}
>>> rows = [people | {"person": str(k), "method": m, "retention": r}
...         for k in range(2) for m, r in (("GUIDE", 0.9), ("closed form", 0.98))]
>>> line = {"scenario": "random", "attacker": "own", "space": "W", "people": 2, "best": mean_interval([0.6, 0.8])}
>>> line |= {"excess": mean_interval([0.1, 0.3])}
>>> accepted = {"closed form": [1, 1], "GUIDE": [0, 1]}
>>> lines = [line | {"method": m, "accepted": share_interval(each)} for m, each in accepted.items()]
>>> board = leaderboard(summarise(rows), lines)
>>> [(name, round(entry["score"], 2)) for name, entry in board.items()]
[('random: GUIDE', 0.64), ('random: closed form', 0.0)]
>>> print(table_of(board, ["retention", "reinverted_w_accepted", "score"]).splitlines()[0])
| | people | retention (higher) | re-inverted, W: accepted (lower) | score (higher) |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from guide_lib.evaluation.results import Summary, score_of

SPACES = {"W": "reinverted_w", "W+": "reinverted_w_plus"}  # what the metrics of each begin with
# What `table_of` prints of it: forgotten at w_u, kept, found again, and the two in one number.
LEADERBOARD = (
    *("id", "retention", "retention_lowest", "retained", "retention_nearest"),
    *("reinverted_w_accepted", "reinverted_w_excess", "reinverted_w_plus_accepted", "reinverted_w_plus_excess"),
    *("score", "seconds"),
)


def leaderboard(summary: Summary, lines: Iterable[Mapping[str, Any]]) -> Summary:
    """The summary with what the attackers of a table found, highest score first.

    summary: of `summarise`. lines: of `AttackTable.lines`, by one judge. In each space a method is as safe as its most
    successful attacker leaves it: whom the judge accepts most often, then the one with the highest cosine. An attacker
    who sought only some of a method's people does not count. Methods without one have no score, and come last.
    """
    worst: dict[tuple[str, str], Mapping[str, Any]] = {}
    for line in lines:
        name = f"{line['scenario']}: {line['method']}"
        if name not in summary or line["people"] != summary[name]["people"]:
            continue
        key = name, SPACES[line["space"]]
        if key not in worst or _success(line) > _success(worst[key]):
            worst[key] = line
    board: Summary = {}
    for name, entry in summary.items():
        found = {
            f"{prefix}_{key}": asdict(worst[name, prefix][key])
            for prefix in SPACES.values()
            if (name, prefix) in worst
            for key in ("accepted", "excess")
            if key in worst[name, prefix]
        }
        board[name] = {key: value for key, value in entry.items() if key != "score"} | found
        if {"reinverted_w_accepted", "retention"} <= board[name].keys():
            accepted, kept = (board[name][key]["mean"] for key in ("reinverted_w_accepted", "retention"))
            board[name]["score"] = score_of(accepted, kept)
    return dict(sorted(board.items(), key=lambda named: -named[1].get("score", -1.0)))


def _success(line: Mapping[str, Any]) -> tuple[float, float]:
    return line["accepted"].mean, line["best"].mean
