"""Rows of tables of attacks: what each is about, how those of several folders come together, and what they say.

>>> seen = {"spaces": {"W": [{"judge": {"best": 0.8, "kept": 0.7}}]}}
>>> row = {"scenario": "random", "method": "GUIDE", "person": "3", "attacker": "one", "who": "person"} | seen
>>> (line,) = attack_lines([row, row | {"method": UNTOUCHED}], "judge", threshold=0.716, strangers=False)
>>> line["method"], line["space"], line["people"], f"{line['best']:.1f}", f"{line['withheld']:.1f}"
('GUIDE', 'W', 1, '0.8', '0.0')

`guide_lib.evaluation.attacked` makes the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from guide_lib.attacks import Attacker
from guide_lib.errors import GuideError
from guide_lib.evaluation.claims import shards_of
from guide_lib.evaluation.results import row_key
from guide_lib.files import append_missing, read_rows, write_json
from guide_lib.metrics.intervals import mean_interval, share_interval

UNTOUCHED = "untouched"  # in place of a method
SEARCHES, PEOPLE, BUDGETS = "attacks.jsonl", "people.jsonl", "attackers.json"
BOUNDS = dict.fromkeys(("withheld", "excess"), (-2.0, 2.0))  # differences of cosines; the rest are cosines


def student_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row of people.jsonl is about: scenario, method, person, seed. Rows from before there were seeds have 0."""
    return *row_key(row), row.get("seed", 0)


def search_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row of attacks.jsonl is about: scenario, method, person, seed; attacker, and whom he searched for.

    >>> search_key({"scenario": "random", "method": "GUIDE", "person": "3", "attacker": "strong", "who": "stranger"})
    ('random', 'GUIDE', '3', 0, 'strong', 'stranger')
    """
    return *student_key(row), row["attacker"], row["who"]


def add_attacks(folder: Path, *made: Path, prefixes: tuple[str, str] = ("", "")) -> None:
    """Add the rows of searches and of students that a folder lacks, whoever made them.

    made: folders of other tables; what their shards have counts, too. prefixes: what the names of the files begin with
    in the folder, and in the others.

    Raises:
        GuideError: an attacker of the same name had another budget there.

    >>> row = {"scenario": "random", "method": "GUIDE", "person": "3", "id": 0.2}
    >>> append_missing(tmp_path / "people.jsonl", [row], student_key)
    >>> add_attacks(tmp_path, tmp_path, prefixes=("all-", ""))
    >>> read_rows(tmp_path / "all-people.jsonl") == [row]
    True
    """
    to, of = prefixes
    for place in (place for other in made for place in (other, *shards_of(other))):
        if (place / f"{of}{BUDGETS}").exists():
            agree(folder / f"{to}{BUDGETS}", _budgets(place / f"{of}{BUDGETS}"))
        for name, key in ((SEARCHES, search_key), (PEOPLE, student_key)):
            append_missing(folder / f"{to}{name}", read_rows(place / f"{of}{name}"), key)


def agree(path: Path, budgets: Mapping[str, Any]) -> None:
    """Add attackers to those of a file. Raises GuideError if rows were made with another one of that name."""
    known = _budgets(path)
    if other := sorted(name for name in known.keys() & budgets if known[name] != budgets[name]):
        raise GuideError(
            f"{path.parent} has rows of another attacker '{other[0]}'; name it otherwise, or choose another folder."
        )
    write_json(path, known | budgets)


def _budgets(path: Path) -> dict[str, Any]:
    """What a file says of attackers, with the defaults of what is newer than the file; nothing without one."""
    if not path.exists():
        return {}
    try:
        stored, defaults = json.loads(path.read_bytes()), asdict(Attacker())
        return {
            name: defaults | attacker | {"settings": defaults["settings"] | attacker["settings"]}
            for name, attacker in stored.items()
        }
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise GuideError(f"{path} is damaged; restore it, or choose another folder.") from error


def attack_lines(
    rows: Sequence[Mapping[str, Any]], judge: str, threshold: float, strangers: bool = True
) -> Iterator[dict[str, Any]]:
    """Rows of an `AttackTable` by one judge: for each scenario, method, attacker and space intervals over the people.

    best, kept, accepted: of the student. untouched, strangers: the controls. withheld, excess: person by person.
    people: how many; one with several seeds counts once, with the mean of those that were measured. Only rows count
    whose untouched control of the same seed is there, and only people for whom a stranger was sought under at least one
    seed; without `strangers` that control is not asked for.
    """
    found = {search_key(row): row for row in rows}
    cells: dict[tuple[str, ...], dict[str, list[dict[str, float]]]] = {}
    for (scenario, method, person, seed, attacker, who), row in found.items():
        control = found.get((scenario, UNTOUCHED, person, seed, attacker, "person"))
        others = found.get((scenario, method, person, seed, attacker, "stranger"))
        if who != "person" or method == UNTOUCHED or control is None:
            continue
        for space, facts in row["spaces"].items():
            if cell := _cell(space, judge, facts, control, others):
                cell["accepted"] = float(cell["best"] >= threshold)
                cells.setdefault((scenario, method, attacker, space), {}).setdefault(person, []).append(cell)
    for key, people in cells.items():
        group = [seeds for seeds in people.values() if not strangers or any("excess" in cell for cell in seeds)]
        if not group:
            continue
        line: dict[str, Any] = dict(zip(("scenario", "method", "attacker", "space"), key, strict=True))
        line["people"] = len(group)
        for name in dict.fromkeys(name for seeds in group for cell in seeds for name in cell):
            measured = ([cell[name] for cell in seeds if name in cell] for seeds in group)
            means = [sum(values) / len(values) for values in measured if values]
            shared = name == "accepted"
            line[name] = share_interval(means) if shared else mean_interval(means, BOUNDS.get(name, (-1.0, 1.0)))
        yield line


def budget_curves(
    rows: Sequence[Mapping[str, Any]], judge: str, attacker: str
) -> tuple[list[int], dict[str, list[float]]]:
    """What a search has reached after so many steps: (steps, name -> mean over people and seeds of the best start).

    Spaces follow one another as the attacker takes them. Names are the methods, "untouched" and, pooled over the
    students, "strangers". Searches that ended early or looked elsewhere than the first are left out.

    >>> seen = {"looks": [20, 40], "judge": {"seen": [[0.3, 0.2], [0.4, 0.7]]}}
    >>> row = {"method": "GUIDE", "attacker": "one", "who": "person", "spaces": {"W": [seen], "W+": [seen]}}
    >>> budget_curves([row], "judge", "one")
    ([20, 40, 60, 80], {'GUIDE': [0.3, 0.7, 0.3, 0.7]})
    """
    steps, found = list[int](), dict[str, list[list[float]]]()
    for row in rows:
        if row["attacker"] != attacker:
            continue
        looks, best = list[int](), list[float]()
        for searched, *_ in row["spaces"].values():
            before = looks[-1] if looks else 0
            looks += [before + look for look in searched["looks"]]
            best += map(max, searched[judge]["seen"])
        steps = steps or looks
        if looks == steps:
            found.setdefault("strangers" if row["who"] == "stranger" else row["method"], []).append(best)
    return steps, {name: [sum(each) / len(each) for each in zip(*many, strict=True)] for name, many in found.items()}


def _cell(
    space: str, judge: str, facts: list[dict[str, Any]], control: dict[str, Any], others: dict[str, Any] | None
) -> dict[str, float] | None:
    """One person in one space; None where a search that ended early has not come so far."""
    if space not in control["spaces"] or (others is not None and space not in others["spaces"]):
        return None
    here, before = facts[0][judge], control["spaces"][space][0][judge]["best"]
    cell = {"best": here["best"], "kept": here["kept"], "untouched": before, "withheld": before - here["best"]}
    if others is not None:
        best = [one[judge]["best"] for one in others["spaces"][space]]
        cell["strangers"] = sum(best) / len(best)
        cell["excess"] = here["best"] - cell["strangers"]
    return cell
