"""How costs grow: of a person as more people are erased, of a step as the pictures grow.

    python benchmarks/scaling.py people                      # 64 people, about 8 minutes on two CPU cores
    python benchmarks/scaling.py pictures                    # 128 to 1024 px, about 5 minutes

Writes data/results/scaling-people.json or scaling-pictures.json and the figure docs/scaling-people.png or
scaling-pictures.png. Few steps suffice: the cost of one does not depend on what the others did.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from machine import resident_mib
from PIL import Image
from step import Case, measure_sides

from guide_lib.experiment import Networks, load_networks, run_folder
from guide_lib.figures import curves
from guide_lib.runtime import computes_bfloat16, keep_freed_memory
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, STEPS = 64, 2
RESOLUTIONS = (128, 256, 512, 1024)


def erase_many(networks: Networks, people: int, folder: Path) -> dict[str, list[float]]:
    """Erase one person after another, each in a folder of their own.

    seconds: of each person; resident_mib: after each; disk_mib: of each one's folder.
    """
    settings = UnlearningSettings.fast(steps=STEPS)
    costs: dict[str, list[float]] = {"seconds": [], "resident_mib": [], "disk_mib": []}
    for seed in range(people):
        started = time.perf_counter()
        with run_folder(folder / str(seed)) as own:
            session = Session(networks, own)
            session.choose(seed=seed)
            session.run(settings)
            costs["disk_mib"].append(sum(file.stat().st_size for file in own.iterdir()) / 2**20)
        costs["seconds"].append(time.perf_counter() - started)
        costs["resident_mib"].append(resident_mib())
    return costs


def people_figure(costs: dict[str, list[float]]) -> Image.Image:
    """Each cost relative to its median: flat where it does not grow."""
    lines = {"seconds": "time of a person", "resident_mib": "memory", "disk_mib": "disk of a person"}
    relative = {label: [value / statistics.median(costs[key]) for value in costs[key]] for key, label in lines.items()}
    return curves(range(1, len(costs["seconds"]) + 1), relative, "people erased", "relative to the median")


def pictures_figure(resolutions: dict[str, dict[str, object]]) -> Image.Image:
    """Median seconds of a step over the side of the pictures, a line for each precision."""
    sides = {"library": "single precision", "library-bfloat16": "bfloat16"}
    lines = {
        label: [statistics.median(result[side]["seconds"]) for result in resolutions.values()]
        for side, label in sides.items()
        if all(side in result for result in resolutions.values())
    }
    return curves([int(size) for size in resolutions], lines, "side of the picture, px", "seconds a step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("people", "pictures"))
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "machine": platform.machine()}
    if args.what == "people":
        keep_freed_memory()
        networks = load_networks(resolution=RESOLUTIONS[0])
        with tempfile.TemporaryDirectory() as folder:
            costs = erase_many(networks, args.people, Path(folder))
        result, figure = machine | {"resolution": RESOLUTIONS[0], "steps": STEPS} | costs, people_figure(costs)
    else:
        names = ["library"] + ["library-bfloat16"] * computes_bfloat16(torch.device("cpu"))
        taken = {}
        for size in RESOLUTIONS:
            taken[str(size)] = measure_sides(Case("mobilestylegan-ffhq", size, None), names, args.repeats)
            print(f"{size} px measured", file=sys.stderr)
        result, figure = machine | {"repeats": args.repeats, "resolutions": taken}, pictures_figure(taken)
    content = json.dumps(result, indent=1) + "\n"
    (ROOT / "data" / "results" / f"scaling-{args.what}.json").write_text(content, encoding="utf-8")
    figure.save(ROOT / "docs" / f"scaling-{args.what}.png")


if __name__ == "__main__":
    main()
