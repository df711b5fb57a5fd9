"""Rows of the evaluation, one for each scenario, method and person, and what they say together.

>>> person = {"scenario": "random", "became": [1.0, 0.0]}
>>> rows = [person | {"person": str(k), "method": m, "id": 0.1 * k + shift}
...         for k in range(8) for m, shift in (("GUIDE", 0.0), ("baseline", 0.3))]
>>> print(table_of(summarise(rows)))                                   # means with 95 % intervals over the people
| | people | ID (lower) | identity collapse (lower) |
|---|---|---|---|
| random: GUIDE | 8 | 0.350 [0.145, 0.555] | 1.000 |
| random: baseline | 8 | 0.650 [0.445, 0.855] | 1.000 |
>>> print(contrast(rows, "id", "GUIDE", "baseline"))                   # person by person
-0.300 [-0.300, -0.300]

`guide_lib.evaluation.comparison` makes the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from guide_lib import files
from guide_lib.errors import GuideError
from guide_lib.metrics.columns import METRICS
from guide_lib.metrics.forgetting import identity_collapse
from guide_lib.metrics.intervals import Interval

Summary = dict[str, dict[str, Any]]  # scenario and method -> key -> interval, or one number for all people


def row_key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a row is about: scenario, method, person. There is one row of each.

    >>> row_key({"scenario": "random", "method": "GUIDE", "person": "3", "id": 0.21})
    ('random', 'GUIDE', '3')
    """
    return row["scenario"], row["method"], row["person"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a people.jsonl, without a last line that a kill has cut short; none if there is no file.

    Raises:
        GuideError: another line is damaged, or holds a number that its metric cannot have.
    """
    rows = files.read_rows(path)
    for number, row in enumerate(rows, 1):
        if fault := _fault(row):
            raise GuideError(f"Line {number} of {path} {fault}; delete that line and run the command again.")
    return rows


def in_order(rows: Sequence[dict[str, Any]], scenario: str, methods: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a scenario person by person and method by method, as one process makes them, after all the others.

    >>> rows = [{"scenario": "random", "method": m, "person": p} for m, p in (("B", "10"), ("A", "10"), ("A", "9"))]
    >>> [(row["method"], row["person"]) for row in in_order(rows, "random", ["A", "B"])]
    [('A', '9'), ('A', '10'), ('B', '10')]
    """
    places = {method: place for place, method in enumerate(methods)}

    def place(row: Mapping[str, Any]) -> tuple[bool, int, str, int]:
        if row["scenario"] != scenario:
            return False, 0, "", 0
        name = row["person"]  # a seed, or the name of photos
        return True, int(name) if name.isdecimal() else 0, name, places.get(row["method"], -1)

    return sorted(rows, key=place)


def _fault(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row, as a predicate of its line."""
    named = all(isinstance(row.get(key), str) for key in ("scenario", "method", "person"))
    became = row.get("became")
    if not (named and isinstance(became, list) and all(isinstance(x, float) for x in became)):
        return "is damaged"
    wrong = [key for key in METRICS.keys() & row if row[key] is not None and not METRICS[key].holds(row[key])]
    return f"is damaged: {min(wrong)} cannot be {row[min(wrong)]!r:.40}" if wrong else None


def summarise(rows: Sequence[Mapping[str, Any]]) -> Summary:
    """Scenario and method -> metric -> mean and 95 % interval over the people, or the one number for all of them.

    A person with several seeds counts once, see `pooled`. Lowest retention of all, score and identity collapse are
    numbers for all; one person cannot have the last.
    """
    summary: Summary = {}
    for scenario, method, runs in _groups(rows):
        group = pooled(runs)
        entry: dict[str, Any] = {"scenario": scenario, "method": method, "people": len(group)}
        for key in (key for key, metric in METRICS.items() if metric.column):
            if values := [row[key] for row in group if row.get(key) is not None]:
                entry[key] = asdict(METRICS[key].interval(values))
        if lowest := [row["retention_min"] for row in runs if row.get("retention_min") is not None]:
            entry["retention_lowest"] = min(lowest)
        if {"reinverted_w_accepted", "retention"} <= entry.keys():
            entry["score"] = score_of(entry["reinverted_w_accepted"]["mean"], entry["retention"]["mean"])
        if len(group) > 1:
            entry["collapse"] = identity_collapse(torch.tensor([row["became"] for row in group]))
        summary[f"{scenario}: {method}"] = entry
    return summary


def pooled(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One row a person, of rows of one scenario and method: of several seeds the mean of each metric that they have.

    People are the sample: seeds of one person resemble one another, and are no further people.

    >>> rows = [{"person": "3", "seed": seed, "id": 0.1 * seed, "became": [1.0, seed]} for seed in (0, 1)]
    >>> pooled([*rows, {"person": "4", "id": 0.3, "became": [0.0, 1.0]}])
    [{'person': '3', 'became': [1.0, 0.5], 'id': 0.05}, {'person': '4', 'id': 0.3, 'became': [0.0, 1.0]}]
    """
    people: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        people.setdefault(row["person"], []).append(row)
    return [_mean_row(runs) if len(runs) > 1 else runs[0] for runs in people.values()]


def _mean_row(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"person": runs[0]["person"]}
    if all("became" in run for run in runs):  # products of means are the means of all products
        row["became"] = [sum(each) / len(runs) for each in zip(*(run["became"] for run in runs), strict=True)]
    for key in METRICS:
        if values := [run[key] for run in runs if run.get(key) is not None]:
            row[key] = sum(values) / len(values)
    return row


def score_of(accepted: float, retention: float) -> float:
    """The harmonic mean of what an attack does not get and what the others keep: high only where both are.

    accepted: share of the people who are found again, in [0, 1]. retention: mean over the others; below 0 it is 0.

    >>> score_of(0.0, 0.9), score_of(1.0, 1.0), score_of(0.5, 0.9)
    (0.947, 0.0, 0.643)
    """
    hidden, kept = 1 - accepted, max(retention, 0.0)
    return 2 * hidden * kept / (hidden + kept) if hidden + kept else 0.0


def contrast(rows: Sequence[Mapping[str, Any]], key: str, first: str, second: str) -> Interval:
    """Mean over people of (method `first` - method `second`) in one metric, with its 95 % interval.

    The same person under both methods is compared with herself, so that the differences between people drop out.

    Raises:
        GuideError: nobody has been unlearned with both methods, or there is no such metric.

    >>> contrast([{"scenario": "random", "method": "GUIDE", "person": "3", "id": 0.2}], "id", "GUIDE", "baseline")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: No person has 'id' with both 'GUIDE' and 'baseline'; run `evaluate` with both methods.
    """
    if key not in METRICS:
        raise GuideError(f"There is no metric '{key}'; choose one of: {', '.join(METRICS)}.")
    found: dict[tuple[str, str], dict[str, float]] = {}
    for scenario, method, runs in _groups([row for row in rows if row["method"] in (first, second)]):
        for row in pooled(runs):
            if row.get(key) is not None:
                found.setdefault((scenario, row["person"]), {})[method] = row[key]
    differences = [values[first] - values[second] for values in found.values() if len(values) == 2]
    if not differences:
        raise GuideError(f"No person has '{key}' with both '{first}' and '{second}'; run `evaluate` with both methods.")
    return METRICS[key].difference(differences)


def _groups(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    for scenario, method in dict.fromkeys((row["scenario"], row["method"]) for row in rows):
        yield scenario, method, [row for row in rows if (row["scenario"], row["method"]) == (scenario, method)]


def cells_of(summary: Mapping[str, Mapping[str, Any]], keys: Collection[str] = METRICS) -> list[list[str]]:
    """The summary, or these of its metrics, as a heading and a line for each method, in words and numbers.

    A metric that no method has gets no column, one that a method lacks a dash.
    """
    metrics = [m for key, m in METRICS.items() if key in keys and any(key in entry for entry in summary.values())]
    lines = [["", "people", *(metric.heading for metric in metrics)]]
    for name, entry in summary.items():
        values = [entry.get(m.key) for m in metrics]
        means = [Interval(**value) if isinstance(value, Mapping) else value for value in values]
        lines.append([name, str(entry["people"]), *(m.show(mean) for m, mean in zip(metrics, means, strict=True))])
    return lines


def table_of(summary: Mapping[str, Mapping[str, Any]], keys: Collection[str] = METRICS, sideways: bool = False) -> str:
    """The summary in Markdown, or these of its metrics, see `cells_of`. Sideways the methods stand beside one another,
    for few methods and many metrics."""
    lines = cells_of(summary, keys)
    if sideways:
        lines = [list(line) for line in zip(*lines, strict=True)]
    head, *rest = ["|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rest])
