"""Every attacker against every erasure, with controls, by two judges: results/attacked-attacks.jsonl (a search a line),
attacked-people.jsonl (a student a line), attacked.md and docs/attacked.png, what a search reaches after so many steps.

    python data/recipes/attacked.py                                 # twelve minutes a person on one core
    python data/recipes/attacked.py --people 4 --methods "for good" --attackers unseen
    python data/recipes/attacked.py --seed 1 --strangers 0          # other random numbers, the same people
    python data/recipes/attacked.py --tables                        # the tables again, of the stored rows

People are seeds from 0 on, at 128 px, as in the main table (100 and 101 served to choose the presets). "strong" is who
searches in W and from there in W+ with the networks of the loss; "encoder" begins in W+ at the encoder's answer;
"unseen" has another perceptual network, another recogniser, other starts and four times the steps. Beside each stand
the untouched generator and a stranger. Under several seeds a person counts once, with their mean; a third of the time
is saved where the stranger is sought under the first seed alone.

Resumable, search by search: what --work or --out holds is not computed again. --workers, --scheduler and --shard are
those of `guide evaluate` (docs/endurance.md); a shard only fills its part of --work, and the same command without it,
or --tables, takes the rows of all shards. More folders after the first in --work give the rows they hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from guide_lib.attacks import ATTACKERS
from guide_lib.commands.options import number, worker_options
from guide_lib.errors import GuideError
from guide_lib.evaluation import (
    LEADERBOARD,
    AttackTable,
    Measures,
    add_attacks,
    attack_lines,
    budget_curves,
    leaderboard,
    shard_folder,
    summarise,
    table_of,
)
from guide_lib.experiment import load_networks, run_folder
from guide_lib.figures.charts import curves
from guide_lib.files import read_rows
from guide_lib.generators import load_directions
from guide_lib.metrics import thresholds_of
from guide_lib.perception import load_judge
from guide_lib.runtime import computes_bfloat16, keep_freed_memory, pick_device
from guide_lib.session.attacking import equipment_of
from guide_lib.unlearning import UnlearningSettings
from guide_lib.workers import crew_of

RESULTS = Path(__file__).resolve().parents[1] / "results"
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "attacked.png"
RESOLUTION, SCENARIO = 128, "random"
METHODS = ["closed form", "GUIDE", "for good"]
SEARCHED = {  # name -> (attacker of the library, starts, how many times the steps)
    "strong": ("own", 2, 1),
    "encoder": ("encoder", 1, 1),
    "unseen": ("independent", 2, 4),
}
STORED = "attacked-"  # what the names of the stored files begin with
SPACES = ("best", "untouched", "strangers", "excess")
MEASURED = (
    *("id", "accepted_w_u", "accepted_w_u_second", "accepted_others", "accepted_others_second"),
    *("relearnt_10", "relearnt_30", "relearnt"),
    *("retention", "retention_min", "retention_lowest", "retained", "clean", "seconds"),
)


def open_table(
    folder: Path, names: Sequence[str], device: str | None = None, seed: int = 0, strangers: int = 1
) -> tuple[AttackTable, Measures]:
    """The table of these attackers, by both judges, and what is measured besides: what a worker has ready."""
    place, attackers = pick_device(device), {}
    for name in names:
        known, starts, times = SEARCHED[name]
        settings = ATTACKERS[known].settings
        steps = {"steps_w": times * settings.steps_w, "steps_w_plus": times * settings.steps_w_plus}
        settings = replace(settings, mixed_precision=computes_bfloat16(place), **steps)
        attackers[name] = replace(ATTACKERS[known], starts=starts, settings=settings)
    networks, second = load_networks(resolution=RESOLUTION, device=place), load_judge("edgeface", place)
    equipment = equipment_of(networks, attackers.values())
    equipment = replace(equipment, judges={"dlib": networks.judge, "edgeface": second})
    thresholds = {judge: thresholds_of(judge, RESOLUTION).accepted for judge in equipment.judges}
    table = AttackTable(networks, equipment, attackers, thresholds, folder, strangers=strangers, seed=seed)
    return table, Measures(load_directions(place), relearning=True, second=(second, thresholds["edgeface"]))


def write_tables(out: Path) -> str:
    """attacked.md of the stored rows; returns it."""
    thresholds = {judge: thresholds_of(judge, RESOLUTION).accepted for judge in ("dlib", "edgeface")}
    rows = read_rows(out / f"{STORED}attacks.jsonl")
    lines = ["| attacker | judge | accepted | best | in G_s | strangers | excess |", "|---|---|---|---|---|---|---|"]
    found = {judge: list(attack_lines(rows, judge, threshold)) for judge, threshold in thresholds.items()}
    for judge, each in found.items():
        for line in each:
            label = f"{line['method']}: {line['attacker']}, {line['space']} ({line['people']} people)"
            cells = [format(line[name], ".3f") for name in ("accepted", *SPACES)]
            lines.append(" | ".join(["| " + label, judge, *cells]) + " |")
    summary = summarise(read_rows(out / f"{STORED}people.jsonl"))
    board = leaderboard(summary, found["dlib"])
    tables = table_of(board, LEADERBOARD), "\n".join(lines), table_of(summary, MEASURED, sideways=True)
    text = "\n\n".join(tables) + "\n"
    (out / "attacked.md").write_text(text, encoding="utf-8")
    return text


def budgets(rows: list[dict[str, Any]]) -> tuple[list[int], dict[str, list[float]]]:
    """How close searches of the strong attacker have come after so many steps, by dlib: all people, the first seed."""
    counted = ("untouched", *METHODS)
    return budget_curves([row for row in rows if not row.get("seed") and row["method"] in counted], "dlib", "strong")


def draw_budgets(rows: list[dict[str, Any]]) -> Image.Image:
    """The curves of `budgets`."""
    steps, lines = budgets(rows)
    steps_w = ATTACKERS[SEARCHED["strong"][0]].settings.steps_w
    levels = {"accepted": thresholds_of("dlib", RESOLUTION).accepted}
    words = f"steps of each start ({steps_w} in W, from there W+)", "cosine, better start"
    return curves(steps, lines, *words, mark=steps_w, levels=levels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--attackers", nargs="+", choices=SEARCHED, default=["strong"])
    parser.add_argument("--seed", type=number(0), default=0, help="of trainings and starts (default 0)")
    parser.add_argument("--strangers", type=number(0), default=1, help="who are sought in each student (default 1)")
    parser.add_argument("--work", type=Path, nargs="+", default=[Path("runs") / "attacked"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--tables", action="store_true", help="only store the rows of --work and write the tables")
    parser.add_argument("--device")
    worker_options(parser)
    args = parser.parse_args()
    if not args.tables:
        keep_freed_memory()
        work = args.work[0]
        with run_folder(shard_folder(work, args.shard) if args.shard else work) as folder:
            add_attacks(folder, *args.work)
            add_attacks(folder, args.out, prefixes=("", STORED))
            of_whom = args.device, args.seed, args.strangers
            ready = partial(open_table, folder.absolute(), tuple(args.attackers), *of_whom)
            (table, measures), settings = ready(), UnlearningSettings.table()
            with crew_of(ready, args.workers, args.scheduler) as crew:
                table.fill(
                    SCENARIO, args.methods, settings, args.people, measures=measures, crew=crew, shard=args.shard
                )
        if args.shard:
            return
    add_attacks(args.out, *args.work, prefixes=(STORED, ""))
    print(write_tables(args.out))
    if args.out == RESULTS:
        draw_budgets(read_rows(RESULTS / f"{STORED}attacks.jsonl")).save(PICTURE)


if __name__ == "__main__":
    try:
        main()
    except GuideError as error:
        sys.exit(f"error: {error}")
