"""Every attacker against every erasure, with controls, by two judges: results/attacked-attacks.jsonl (a search a line),
attacked-people.jsonl (a student a line) and attacked.md.

    python data/recipes/attacked.py                                 # twelve minutes a person on one core
    python data/recipes/attacked.py --people 4 --methods "for good" --attackers unseen
    python data/recipes/attacked.py --tables                        # the tables again, of the stored rows

People are seeds from 0 on, at 128 px, as in the main table (100 and 101 served to choose the presets). "strong" is who
searches in W and from there in W+ with the networks of the loss; "encoder" begins in W+ at the encoder's answer;
"unseen" has another perceptual network, another recogniser, other starts and four times the steps. Beside each stand
the untouched generator and a stranger. Resumable, search by search; several processes can share the work, each with a
--shard of the people and a --work of its own; their rows are put together by giving all folders to --tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from guide_lib.attacks import ATTACKERS
from guide_lib.errors import GuideError
from guide_lib.evaluation import LEADERBOARD, AttackTable, Measures, attack_lines, leaderboard, summarise, table_of
from guide_lib.experiment import Networks, load_networks, run_folder
from guide_lib.files import append_row, read_rows
from guide_lib.generators import load_directions
from guide_lib.metrics import thresholds_of
from guide_lib.perception import load_judge
from guide_lib.runtime import computes_bfloat16, keep_freed_memory, pick_device
from guide_lib.session.attacking import equipment_of
from guide_lib.unlearning import UnlearningSettings

RESULTS = Path(__file__).resolve().parents[1] / "results"
RESOLUTION, SCENARIO = 128, "random"
METHODS = ["closed form", "GUIDE", "for good"]
SEARCHED = {  # name -> (attacker of the library, starts, how many times the steps)
    "strong": ("own", 2, 1),
    "encoder": ("encoder", 1, 1),
    "unseen": ("independent", 2, 4),
}
SHORT = {"steps": 70, "learning_rate": 6e-5, "mixed_precision": True}  # as in data/recipes/evaluation.py
FILES = {"attacks.jsonl": "attacked-attacks.jsonl", "people.jsonl": "attacked-people.jsonl"}
SPACES = ("best", "untouched", "strangers", "excess")
MEASURED = (
    *("id", "accepted_w_u", "accepted_w_u_second", "accepted_others", "accepted_others_second"),
    *("relearnt_10", "relearnt_30", "relearnt"),
    *("retention", "retention_min", "retention_lowest", "retained", "clean", "seconds"),
)


def table_in(folder: Path, networks: Networks, names: Sequence[str], device: object) -> AttackTable:
    """The table of these attackers, by both judges."""
    attackers = {}
    for name in names:
        known, starts, times = SEARCHED[name]
        settings = ATTACKERS[known].settings
        steps = {"steps_w": times * settings.steps_w, "steps_w_plus": times * settings.steps_w_plus}
        settings = replace(settings, mixed_precision=computes_bfloat16(device), **steps)
        attackers[name] = replace(ATTACKERS[known], starts=starts, settings=settings)
    equipment = equipment_of(networks, attackers.values())
    equipment = replace(equipment, judges={"dlib": networks.judge, "edgeface": load_judge("edgeface", device)})
    thresholds = {judge: thresholds_of(judge, RESOLUTION).accepted for judge in equipment.judges}
    return AttackTable(networks, equipment, attackers, thresholds, folder, strangers=1)


def store(folders: Sequence[Path], out: Path) -> None:
    """Add the rows of folders that the stored files lack."""
    for name, stored in FILES.items():
        known = {_key(row) for row in read_rows(out / stored)}
        for row in (row for folder in folders for row in read_rows(folder / name)):
            if _key(row) not in known:
                known.add(_key(row))
                append_row(out / stored, row)


def _key(row: dict) -> tuple:
    return tuple(row.get(name) for name in ("scenario", "method", "person", "attacker", "who"))


def write_tables(out: Path) -> str:
    """attacked.md of the stored rows; returns it."""
    thresholds = {judge: thresholds_of(judge, RESOLUTION).accepted for judge in ("dlib", "edgeface")}
    rows = read_rows(out / FILES["attacks.jsonl"])
    lines = ["| attacker | judge | accepted | best | in G_s | strangers | excess |", "|---|---|---|---|---|---|---|"]
    for judge, threshold in thresholds.items():
        for line in attack_lines(rows, judge, threshold):
            label = f"{line['method']}: {line['attacker']}, {line['space']} ({line['people']} people)"
            cells = [format(line[name], ".3f") for name in ("accepted", *SPACES)]
            lines.append(" | ".join(["| " + label, judge, *cells]) + " |")
    summary = summarise(read_rows(out / FILES["people.jsonl"]))
    board = leaderboard(summary, attack_lines(rows, "dlib", thresholds["dlib"]))
    tables = table_of(board, LEADERBOARD), "\n".join(lines), table_of(summary, MEASURED, sideways=True)
    text = "\n\n".join(tables) + "\n"
    (out / "attacked.md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--attackers", nargs="+", choices=SEARCHED, default=["strong"])
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th person, beginning with i")
    parser.add_argument("--work", type=Path, nargs="+", default=[Path("runs") / "attacked"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--tables", action="store_true", help="only store the rows of --work and write the tables")
    parser.add_argument("--device")
    args = parser.parse_args()
    if not args.tables:
        keep_freed_memory()
        device, (shard, of) = pick_device(args.device), map(int, args.shard.split("/"))
        networks = load_networks(resolution=RESOLUTION, device=device)
        judge = load_judge("edgeface", device)
        second = judge, thresholds_of("edgeface", RESOLUTION).accepted
        measures = Measures(load_directions(device), relearning=True, second=second)
        skip = [str(seed) for seed in range(args.people) if seed % of != shard]
        with run_folder(args.work[0]) as folder:
            table = table_in(folder, networks, args.attackers, device)
            settings = UnlearningSettings.fast(**SHORT)
            table.fill(SCENARIO, args.methods, settings, args.people, measures=measures, skip=skip)
    store(args.work, args.out)
    print(write_tables(args.out))


if __name__ == "__main__":
    try:
        main()
    except GuideError as error:
        sys.exit(f"error: {error}")
