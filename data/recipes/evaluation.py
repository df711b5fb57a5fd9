"""The tables of what was forgotten, what else changed and what an attacker recovers: writes results/NAME-* and, for the
README, results/NAME.md.

    python data/recipes/evaluation.py main               # about six hours on two CPU cores
    python data/recipes/evaluation.py main --people 4 --scenarios random
    python data/recipes/evaluation.py attacks
    python data/recipes/evaluation.py ablation

main: GUIDE, the baseline, GUIDE with each loss left out, in three scenarios. attacks: GUIDE with and without the
adjacency loss under every attack. ablation: d, alpha, the numbers of neighbours and of others, gradient ascent, style
layers alone, LoRA and adapters, a stronger local loss in place of adjacency, single precision. But for the last,
everything is computed in mixed precision, at 128 px, with half the steps of the preset `fast` at twice its rate. Out of
domain are the ORL faces (grey, real): of each person the first photo is erased, three others make ID_others.

Resumable: a row that results/NAME-people.jsonl holds is not computed again; few people today and more tomorrow is fine.
Several processes or machines can share the work, each with a scenario and an --out of its own; then

    python data/recipes/evaluation.py main --people 0 --add elsewhere/main another/main
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from guide_lib.assets import fetch
from guide_lib.comparison import Measures, evaluate_people
from guide_lib.directions import load_directions
from guide_lib.errors import GuideError
from guide_lib.experiment import load_networks, run_folder
from guide_lib.jsonlines import append_row
from guide_lib.perception.inception import load_inception
from guide_lib.perception.photos import enlarged
from guide_lib.results import read_rows, row_key, summarise, table_of
from guide_lib.runtime import keep_freed_memory, pick_device
from guide_lib.scenarios import SCENARIOS, chosen_methods
from guide_lib.unlearning import UnlearningSettings

RESULTS = Path(__file__).resolve().parents[1] / "results"
RESOLUTION, PAIRS, PHOTOS = 128, 256, 4
# Half the preset's steps at twice its rate, which pictures of this size bear: hours instead of a day.
SHORT = {"steps": 70, "learning_rate": 6e-5, "mixed_precision": True}
WRITTEN = ("run.json", "people.jsonl", "summary.json", "table.md")  # by `evaluate_people`, and all it needs to go on


@dataclass(frozen=True)
class Table:
    """scenarios, methods (names and groups), people a scenario, whether every student is attacked, metrics to quote."""

    scenarios: tuple[str, ...]
    methods: list[str]
    people: int
    attacks: bool = False
    quoted: tuple[str, ...] = ("id", "id_others", "retention", "fid_pre")


ATTACKED = (
    *("id", "accepted_w_u", "id_others", "accepted_others"),
    *("reinverted_w", "reinverted_w_accepted", "reinverted_w_seconds"),
    *("reinverted_w_plus", "reinverted_w_plus_accepted", "reinverted_w_plus_seconds"),
    *("relearnt", "relearn_steps", "relearnt_control", "relearn_steps_control"),
    *("fingerprint_rank", "fingerprint_beside_rank"),
)
TABLES = {
    "main": Table(SCENARIOS, ["main"], 16),
    "attacks": Table(("random",), ["GUIDE", "GUIDE without adjacency"], 8, attacks=True, quoted=ATTACKED),
    "ablation": Table(("random",), ["GUIDE", "d", "alpha", "counts", "ascent", "frugal", "control"], 8),
}


def orl_folders(folder: Path, people: int) -> Path:
    """A folder for each of the first ORL people, with `PHOTOS` photos, enlarged so that a face can be found in them."""
    for person, pictures in enumerate(load_file(fetch("orl-faces"))["images"][:people].numpy(), start=1):
        (folder / f"orl{person:02d}").mkdir(parents=True, exist_ok=True)
        for k, picture in enumerate(pictures[:PHOTOS]):
            enlarged(picture).save(folder / f"orl{person:02d}" / f"{k}.png")
    return folder


def add_rows(folder: Path, prefix: str) -> None:
    """Rows of PREFIX-people.jsonl that the folder lacks, if PREFIX-run.json says that they were made the same way."""
    theirs, ours = Path(f"{prefix}-run.json"), folder / "run.json"
    if not theirs.exists():
        raise GuideError(f"There is no {theirs}; name the two files before -people.jsonl and -run.json.")
    if not ours.exists():
        shutil.copy(theirs, ours)
    if theirs.read_bytes() != ours.read_bytes():
        raise GuideError(f"The rows of {prefix} were made with other settings; they cannot be added.")
    known = {row_key(row) for row in read_rows(folder / "people.jsonl")}
    for row in read_rows(Path(f"{prefix}-people.jsonl")):
        if row_key(row) not in known:
            append_row(folder / "people.jsonl", row)


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
    args = parser.parse_args()
    keep_freed_memory()
    table, device = TABLES[args.table], pick_device(args.device)
    people = table.people if args.people is None else args.people
    networks = load_networks(resolution=RESOLUTION, device=device)
    measures = Measures(load_directions(device), load_inception(device), PAIRS, attacks=table.attacks)
    settings = UnlearningSettings.fast(**SHORT)
    kept = {name: args.out / f"{args.table}-{name}" for name in WRITTEN}
    with run_folder(args.work or Path("runs") / args.table) as folder:
        for name, result in kept.items():
            if result.exists() and not (folder / name).exists():
                shutil.copy(result, folder / name)
        for prefix in args.add:
            add_rows(folder, prefix)
        photos = orl_folders(folder / "orl", people)
        for scenario in args.scenarios or table.scenarios:
            methods = chosen_methods(args.methods or table.methods)
            rows = evaluate_people(networks, scenario, methods, settings, folder, people, measures, photos)
            for name, result in kept.items():
                shutil.copy(folder / name, result)
            quoted = table_of(summarise(rows), table.quoted, sideways=table.attacks)
            (args.out / f"{args.table}.md").write_text(quoted + "\n", encoding="utf-8")
            print(quoted)


if __name__ == "__main__":
    main()
