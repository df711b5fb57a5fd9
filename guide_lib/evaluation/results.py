"""Rows of the evaluation, one for each scenario, method and person, and what they say together.

>>> person = {"scenario": "random", "became": [1.0, 0.0]}
>>> rows = [person | {"person": str(k), "method": m, "id": 0.1 * k + shift}
...         for k in range(8) for m, shift in (("GUIDE", 0.0), ("baseline", 0.3))]
>>> print(table_of(summarise(rows)))                                   # means with 95 % intervals over the people
| | people | ID (lower) |
|---|---|---|
| random: GUIDE | 8 | 0.350 [0.188, 0.512] |
| random: baseline | 8 | 0.650 [0.488, 0.812] |
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
from guide_lib.metrics.forgetting import identity_collapse
from guide_lib.metrics.intervals import Interval, bootstrap_mean

COLUMNS = {
    "id": "ID (lower)",
    "id_views": "ID, 11 views (lower)",
    "id_others": "ID_others (lower)",
    "retention": "retention (higher)",
    "lpips_others": "LPIPS of others (lower)",
    "fid_pre": "FID_pre (lower)",
    "kid_pre": "KID (lower)",
    "fid_real_change": "dFID_real (lower)",
    "accepted_w_u": "accepted at w_u",
    "accepted": "accepted, 11 views",
    "accepted_others": "accepted, other pictures",
    "reinverted_w": "re-inverted, W",
    "reinverted_w_accepted": "re-inverted, W: accepted",
    "reinverted_w_seconds": "re-inverted, W: seconds",
    "reinverted_w_plus": "re-inverted, W+",
    "reinverted_w_plus_accepted": "re-inverted, W+: accepted",
    "reinverted_w_plus_seconds": "re-inverted, W+: seconds",
    "relearnt": "relearnt (share)",
    "relearn_steps": "steps to relearn",
    "relearnt_control": "learnt by G_s (share)",
    "relearn_steps_control": "steps of G_s",
    "fingerprint_rank": "fingerprint rank, G_u alone",
    "fingerprint_rank_control": "the same before, G_s alone",
    "fingerprint_beside_rank": "fingerprint rank, G_s too",
}


def row_key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a row is about: scenario, method, person. There is one row of each.

    >>> row_key({"scenario": "random", "method": "GUIDE", "person": "3", "id": 0.21})
    ('random', 'GUIDE', '3')
    """
    return row["scenario"], row["method"], row["person"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a people.jsonl, without a last line that a kill has cut short; none if there is no file.

    Raises:
        GuideError: another line is damaged.
    """
    rows = files.read_rows(path)
    for number, row in enumerate(rows, 1):
        named = all(isinstance(row.get(key), str) for key in ("scenario", "method", "person"))
        measured = all(isinstance(row.get(key), int | float | None) for key in COLUMNS)
        became = row.get("became")
        if not (named and measured and isinstance(became, list) and all(isinstance(x, float) for x in became)):
            raise GuideError(f"Line {number} of {path} is damaged; delete that line and run the command again.")
    return rows


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Scenario and method -> metric -> mean and 95 % bootstrap interval over the people; and the identity collapse."""
    summary: dict[str, dict[str, Any]] = {}
    for scenario, method, group in _groups(rows):
        entry: dict[str, Any] = {"scenario": scenario, "method": method, "people": len(group)}
        for key in COLUMNS:
            values = [row[key] for row in group if row.get(key) is not None]
            if values:
                entry[key] = asdict(bootstrap_mean(values))
        if len(group) > 1:
            entry["collapse"] = identity_collapse(torch.tensor([row["became"] for row in group]))
        summary[f"{scenario}: {method}"] = entry
    return summary


def contrast(rows: Sequence[Mapping[str, Any]], key: str, first: str, second: str) -> Interval:
    """Mean over people of (method `first` - method `second`) in one metric, with its 95 % bootstrap interval.

    The same person under both methods is compared with herself, so that the differences between people drop out.

    Raises:
        GuideError: nobody has been unlearned with both methods.

    >>> contrast([{"scenario": "random", "method": "GUIDE", "person": "3", "id": 0.2}], "id", "GUIDE", "baseline")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: No person has 'id' with both 'GUIDE' and 'baseline'; run `evaluate` with both methods.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["method"] in (first, second) and row.get(key) is not None:
            found.setdefault((row["scenario"], row["person"]), {})[row["method"]] = row[key]
    differences = [values[first] - values[second] for values in found.values() if len(values) == 2]
    if not differences:
        raise GuideError(f"No person has '{key}' with both '{first}' and '{second}'; run `evaluate` with both methods.")
    return bootstrap_mean(differences)


def _groups(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    for scenario, method in dict.fromkeys((row["scenario"], row["method"]) for row in rows):
        yield scenario, method, [row for row in rows if (row["scenario"], row["method"]) == (scenario, method)]


def table_of(summary: Mapping[str, Mapping[str, Any]], keys: Collection[str] = COLUMNS, sideways: bool = False) -> str:
    """The summary in Markdown, or these of its columns; a metric that no row has gets none, one that a method lacks a
    dash. Sideways the methods stand beside one another, for few methods and many metrics."""
    present = {key for entry in summary.values() for key in entry if key in keys}
    columns = {key: label for key, label in COLUMNS.items() if key in present}
    lines = [["", "people", *columns.values()]]
    for name, entry in summary.items():
        cells = [str(Interval(**entry[key])) if key in entry else "-" for key in columns]
        lines.append([name, str(entry["people"]), *cells])
    if sideways:
        lines = [list(line) for line in zip(*lines, strict=True)]
    head, *rest = ["|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|" for line in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rest])
