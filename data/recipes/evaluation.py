"""The tables of what was forgotten, what else changed and what an attacker recovers: writes results/NAME-* and, for
docs/results.md, results/NAME.md.

    python data/recipes/evaluation.py main               # about six hours on two CPU cores
    python data/recipes/evaluation.py main --people 4 --scenarios random
    python data/recipes/evaluation.py closed             # three hours
    python data/recipes/evaluation.py shortcuts --add data/results/main
    python data/recipes/evaluation.py attacks
    python data/recipes/evaluation.py ablation --add data/results/main

main: GUIDE, the baseline, GUIDE with each loss left out, in three scenarios. closed: erasing in closed form, to a
natural face, the mean and UFO's target, and for photos 30 steps of GUIDE from the first. shortcuts: what
computing in bfloat16 and training the style layers alone change. attacks: GUIDE with and without the adjacency loss
under every attack. ablation: d, alpha, the numbers of neighbours and of others, gradient ascent, LoRA and adapters, a
stronger local loss in place of adjacency. Everything but one of the shortcuts is computed in mixed precision, at 128
px, with half the steps of the preset `fast` at twice its rate (adapters at twenty times). Out of domain are the ORL
faces (grey, real): of each person the first photo is erased, three others make ID_others; people 5 to 8 are left out,
on whom the target for photos was chosen.

Resumable: a row that results/NAME-people.jsonl holds is not computed again; few people today and more tomorrow is fine.
--workers 2 makes two rows at once, --scheduler as many as a Dask cluster has workers (docs/endurance.md). Rows from a
machine out of reach are added last of all:

    python data/recipes/evaluation.py main --people 0 --add elsewhere/main another/main

The means are of people who have been through every method of their scenario.

    python data/recipes/evaluation.py main --tables      # the tables again, of the stored rows; loads no network
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from guide_lib.assets import fetch
from guide_lib.errors import GuideError
from guide_lib.evaluation import (
    METHODS,
    SCENARIOS,
    add_rows,
    chosen_methods,
    claim_folder,
    evaluate_people,
    open_bench,
    read_rows,
    summarise,
    table_of,
)
from guide_lib.experiment import run_folder
from guide_lib.files import write_json
from guide_lib.perception.photos import enlarged
from guide_lib.runtime import keep_freed_memory
from guide_lib.unlearning import UnlearningSettings
from guide_lib.workers import crew_of

RESULTS = Path(__file__).resolve().parents[1] / "results"
CHOSEN_ON = range(5, 9)  # ORL people, counted from 1
RESOLUTION, PAIRS, PHOTOS = 128, 256, 4  # PAIRS: for FID_pre and KID, which cost as much as half a run
KEPT = ("run.json", "people.jsonl")  # all that a run needs to go on
MEASURED = {"pairs", "real", "attacks"}  # facts of a run that say what was measured, not how a person was erased


@dataclass(frozen=True)
class Table:
    """scenarios, methods (names and groups), people a scenario, the metrics to quote in docs/, whether FID_pre is
    measured and every student attacked."""

    scenarios: tuple[str, ...]
    methods: list[str]
    people: int
    quoted: tuple[str, ...] = (
        *("id", "id_others", "retention", "retention_min", "retention_lowest", "fid_pre"),
        *("weave", "clean", "strangeness"),
    )
    distribution: bool = True
    attacks: bool = False


ATTACKED = (
    *("id", "accepted_w_u", "id_others", "accepted_others"),
    *("reinverted_w", "reinverted_w_accepted", "reinverted_w_seconds"),
    *("reinverted_w_plus", "reinverted_w_plus_accepted", "reinverted_w_plus_seconds"),
    *("relearnt", "relearn_steps", "relearnt_control", "relearn_steps_control"),
    *("fingerprint_rank", "fingerprint_rank_control", "fingerprint_beside_rank"),
)
CLOSED = (
    *("id", "id_others", "retention", "retention_min", "retention_lowest"),
    *("weave", "clean", "strangeness", "collapse", "seconds"),
)
ABLATED = [
    "main",
    "d",
    "alpha",
    "counts",
    "ascent",
    "GUIDE by LoRA",
    "GUIDE by adapters",
    "local x 3 without adjacency",
]
TABLES = {
    "main": Table(SCENARIOS, ["main"], 16),
    "closed": Table(SCENARIOS, ["closed"], 16, CLOSED, distribution=False),
    "shortcuts": Table(("random",), ["GUIDE", "GUIDE in single precision", "GUIDE by styles"], 5),
    "attacks": Table(("random",), ["GUIDE", "GUIDE without adjacency"], 6, ATTACKED, distribution=False, attacks=True),
    "ablation": Table(("random",), ABLATED, 3, ("id", "id_others", "retention", "lpips_others"), distribution=False),
}


def orl_folders(folder: Path, people: int) -> Path:
    """A folder for each of the first ORL people, with `PHOTOS` photos, enlarged so that a face can be found in them."""
    pictures_of = load_file(fetch("orl-faces"))["images"].numpy()
    for person in [p for p in range(1, 1 + len(pictures_of)) if p not in CHOSEN_ON][:people]:
        pictures = pictures_of[person - 1]
        (folder / f"orl{person:02d}").mkdir(parents=True, exist_ok=True)
        for k, picture in enumerate(pictures[:PHOTOS]):
            enlarged(picture).save(folder / f"orl{person:02d}" / f"{k}.png")
    return folder


def add_made(
    folder: Path, prefix: str, scenarios: Collection[str], methods: Collection[str], measured: bool = False
) -> None:
    """Rows of PREFIX-people.jsonl, of these scenarios and methods, that the folder, already claimed, lacks.

    measured: whether those may be added, too, for which other things were measured.

    Raises:
        GuideError: PREFIX-run.json is missing, or says that they were made in another way than those of the folder.
    """
    made = Path(f"{prefix}-run.json")
    if not made.exists():
        raise GuideError(f"There is no {made}; name the two files before -people.jsonl and -run.json.")
    add_rows(
        folder,
        made,
        Path(f"{prefix}-people.jsonl"),
        lambda row: row["scenario"] in scenarios and row["method"] in methods,
        MEASURED if measured else (),
    )


def complete(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of people who have been through every method of their scenario: so all means are of the same people."""
    methods: dict[str, set[str]] = defaultdict(set)
    done: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        methods[row["scenario"]].add(row["method"])
        done[row["scenario"], row["person"]].add(row["method"])
    return [row for row in rows if done[row["scenario"], row["person"]] == methods[row["scenario"]]]


def write_tables(name: str, out: Path) -> str:
    """NAME-summary.json, NAME.md and NAME-table.md of the rows in NAME-people.jsonl; returns the quoted table."""
    summary = summarise(complete(read_rows(out / f"{name}-people.jsonl")))
    write_json(out / f"{name}-summary.json", {"summary": summary})
    quoted = table_of(summary, TABLES[name].quoted, sideways=TABLES[name].attacks)
    for file, text in {f"{name}.md": quoted, f"{name}-table.md": table_of(summary)}.items():
        (out / file).write_text(text + "\n", encoding="utf-8")
    return quoted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--people", type=int, help="of each scenario, instead of the table's number")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, help="instead of the table's")
    parser.add_argument("--methods", nargs="+", help="names or groups, instead of the table's")
    parser.add_argument("--work", type=Path, help="where inversions and pictures are kept (default runs/TABLE)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--add", nargs="+", default=[], metavar="PREFIX", help="rows made elsewhere: PREFIX-people.jsonl"
    )
    parser.add_argument("--device")
    parser.add_argument("--workers", type=int, help="rows that are made at once, in processes of this machine")
    parser.add_argument("--scheduler", help="address or file of a Dask scheduler, whose workers make the rows")
    parser.add_argument("--tables", action="store_true", help="only write the tables of the stored rows again")
    args = parser.parse_args()
    if args.tables:
        print(write_tables(args.table, args.out))
        return
    keep_freed_memory()
    table = TABLES[args.table]
    people = table.people if args.people is None else args.people
    scenarios, methods = args.scenarios or table.scenarios, chosen_methods(args.methods or table.methods)
    asked = {"pairs": PAIRS if table.distribution else 0, "attacks": table.attacks}
    settings = UnlearningSettings.table()
    kept = {name: args.out / f"{args.table}-{name}" for name in KEPT}
    with run_folder(args.work or Path("runs") / args.table) as folder:
        ready = partial(open_bench, folder.absolute(), resolution=RESOLUTION, device=args.device, **asked)
        bench = ready()
        networks, measures = bench.session.networks, bench.measures
        claim_folder(folder, networks, settings, measures)
        if kept["people.jsonl"].exists():  # whatever the folder holds: what is stored must not be lost
            add_made(folder, f"{args.out / args.table}", SCENARIOS, METHODS)
        for prefix in args.add:
            add_made(folder, prefix, scenarios, methods, measured=not (table.distribution or table.attacks))
        photos = orl_folders(folder / "orl", people)
        with crew_of(ready, args.workers, args.scheduler) as crew:
            for scenario in scenarios:
                try:
                    evaluate_people(networks, scenario, methods, settings, folder, people, measures, photos, crew)
                finally:  # of a run that was stopped, or lacks a row, what there is
                    for name, result in kept.items():
                        if (folder / name).exists():
                            shutil.copy(folder / name, result)
                print(write_tables(args.table, args.out))
    print(f"now enter the new sums: python data/recipes/manifest.py results/{args.table}-people.jsonl")


if __name__ == "__main__":
    try:
        main()
    except GuideError as error:
        sys.exit(f"error: {error}")
