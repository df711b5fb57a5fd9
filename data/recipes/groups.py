"""What a target makes of a person's apparent sex and age, and how GUIDE treats two groups: writes results/groups.json.

    python data/recipes/groups.py               # five minutes on one CPU core

targets: of the adults among seeds 100 to 163, for UFO's opposite and for a natural face, the share whose apparent sex
is read on the other side of the mean face than before, and by how many standard deviations the readings of childhood
and old age change. UFO's line turns every linear reading round, so that its share must be 1; a search may keep them.
erased: the *random* people of the main table, GUIDE's columns by their apparent sex.

Apparent: the readings (`load_attributes`) were fitted to one viewer's impressions of drawn faces; nobody was asked.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from torch import Tensor

from guide_lib.closed_form import population_moment
from guide_lib.evaluation import read_rows
from guide_lib.evaluation.scenarios import TRUNCATIONS
from guide_lib.experiment import load_networks, sample_person
from guide_lib.files import write_json
from guide_lib.generators import adults, load_attributes
from guide_lib.metrics.intervals import mean_interval
from guide_lib.runtime import keep_freed_memory
from guide_lib.targets import draw_strangers, natural_target, ufo_target

RESULTS = Path(__file__).resolve().parents[1] / "results"
RESOLUTION, SEEDS = 128, range(100, 164)
COLUMNS = ("id", "id_others", "retention", "retention_min")


def readings(w: Tensor, w_avg: Tensor, attributes: Mapping[str, Tensor]) -> dict[str, float]:
    """What is read of a face, in standard deviations from the mean face; all rows of w are one."""
    return {name: ((w - w_avg)[0, 0] @ reading).item() for name, reading in attributes.items()}


def changes(pairs: Sequence[tuple[dict[str, float], dict[str, float]]]) -> dict[str, float]:
    """Of (before, after): the share whose sex changed sides, and the mean sizes of the other changes.

    >>> changes([({"sex": 1, "child": 0, "old": 0}, {"sex": -1, "child": 1, "old": -2})])
    {'sex_flipped': 1, 'child_changed': 1, 'old_changed': 2}
    """
    flipped = mean((before["sex"] > 0) != (after["sex"] > 0) for before, after in pairs)
    moved = {
        f"{name}_changed": mean(abs(after[name] - before[name]) for before, after in pairs) for name in ("child", "old")
    }
    return {"sex_flipped": flipped} | moved


def by_group(rows: Sequence[Mapping[str, Any]], groups: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """group -> people, and of each column mean, low and high."""
    found: dict[str, dict[str, Any]] = {}
    for group in sorted(set(groups.values())):
        own = [row for row in rows if groups[row["person"]] == group]
        intervals = {column: mean_interval([row[column] for row in own]) for column in COLUMNS}
        found[group] = {"people": len(own)} | {k: [i.mean, i.low, i.high] for k, i in intervals.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "groups.json")
    args = parser.parse_args()
    keep_freed_memory()
    networks = load_networks(resolution=RESOLUTION)
    generator, w_avg, attributes = networks.generator, networks.generator.w_avg, load_attributes()
    known = generator, networks.embedder
    crowd = draw_strangers(*known, population_moment(generator), attributes)
    people = [w for w in (sample_person(generator, seed) for seed in SEEDS) if adults(w, generator)]
    rules = {"ufo": lambda w: ufo_target(w, w_avg), "natural": lambda w: natural_target(w, *known, crowd)}
    targets = {
        name: changes([(readings(w, w_avg, attributes), readings(rule(w), w_avg, attributes)) for w in people])
        for name, rule in rules.items()
    }
    rows = [
        row
        for row in read_rows(RESULTS / "main-people.jsonl")
        if row["scenario"] == "random" and row["method"] == "GUIDE"
    ]
    groups = {}
    for row in rows:
        seed = int(row["person"])
        w = sample_person(generator, seed, TRUNCATIONS[seed % len(TRUNCATIONS)])
        groups[row["person"]] = "man" if readings(w, w_avg, attributes)["sex"] > 0 else "woman"
    found = {"adults": len(people), "targets": targets, "erased": by_group(rows, groups)}
    write_json(args.out, found)
    print(found)


if __name__ == "__main__":
    main()
