"""What each way of inverting buys: writes results/inversion.json and results/inversion.md.

    python data/recipes/inversion_table.py               # 64 faces, under two hours on two CPU cores, minutes on a GPU
    python data/recipes/inversion_table.py --optimise 16 --pivotal 16     # an hour less

Photos are held-out generated faces (256 px, truncation 1; no recipe trained on their seed) and the bundled portrait.
Every method starts from the photo alone; LPIPS and the judge's cosine compare the photo with what the latent draws.
Slow methods may be shown fewer faces. Resumable: one JSON line for each batch and row, in the folder --work, to be
deleted when the encoder has been trained anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from guide_lib.experiment import Networks, load_networks, portrait, run_folder
from guide_lib.files import append_row, read_rows, write_json
from guide_lib.inversion import Encoder, load_encoder
from guide_lib.inversion.methods import METHODS, Stage, invert_by
from guide_lib.metrics import reconstruction, render
from guide_lib.perception import align, load_photo
from guide_lib.runtime import keep_freed_memory, pick_device

SEED = 64_000_064  # far from every seed that a recipe trains on
# Method -> the rows of the table that come out of it, and the stage that each of them is.
STAGES = {
    "encoder": {"encoder": "encoder"},
    "refine": {"encoder, then W+": "W+"},
    "optimise": {"W": "W", "W+": "W+"},
    "pivotal": {"pivotal tuning at W": "tuned"},
}
ROWS = ("encoder", "W", "W+", "encoder, then W+", "pivotal tuning at W")
Row = dict[str, Any]


def measured(networks: Networks, stage: Stage, photos: Tensor) -> Row:
    """LPIPS and judge cosine of each photo, and the seconds a photo took when the batch was inverted together."""
    seen = reconstruction(stage.generator, stage.ws, photos, networks.judge, networks.perceptual)
    share = stage.seconds / len(photos)
    return {"judge": seen.judge.tolist(), "lpips": seen.lpips.tolist(), "seconds": [share] * len(photos)}


def batch_rows(
    method: str, networks: Networks, encoder: Encoder, photos: Tensor, folder: Path, missing: set[str]
) -> Iterator[tuple[str, Row]]:
    """(row's name, row) for each row of a method that is missing for these photos."""
    wanted = {name: stage for name, stage in STAGES[method].items() if name in missing}
    # Pivotal tuning gives a generator to each photo, not one to all of them.
    parts = photos.split(1) if method == "pivotal" else [photos]
    runs = [invert_by(METHODS[method], networks, part, folder, encoder) for part in parts] if wanted else []
    for name, stage in wanted.items():
        rows = [measured(networks, run[stage], part) for run, part in zip(runs, parts, strict=True)]
        yield name, {key: [value for row in rows for value in row[key]] for key in rows[0]}


def all_rows(
    networks: Networks, encoder: Encoder, batches: dict[str, tuple[Tensor, set[str]]], folder: Path
) -> list[Row]:
    """The rows of every batch, name -> (photos, rows), method by method; those in rows.jsonl are not computed again."""
    path = folder / "rows.jsonl"
    rows = read_rows(path)
    for method in STAGES:
        for batch, (photos, names) in tqdm(batches.items(), desc=method, dynamic_ncols=True):
            missing = names - {row["method"] for row in rows if row["batch"] == batch}
            for name, row in batch_rows(method, networks, encoder, photos, folder, missing):
                rows.append({"batch": batch, "method": name} | row)
                append_row(path, rows[-1])
    return [row for row in rows if row["batch"] in batches and row["method"] in batches[row["batch"]][1]]


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """For each method in order: how many faces, mean and spread of judge and LPIPS, mean seconds a photo."""
    out = {}
    for method in ROWS:
        mine = [row for row in rows if row["method"] == method]
        values = {key: [v for row in mine for v in row[key]] for key in ("judge", "lpips", "seconds")}
        if not values["judge"]:
            continue
        out[method] = {"faces": len(values["judge"])} | {key: mean(v) for key, v in values.items()}
        out[method]["judge_min"] = min(values["judge"])
        if len(values["judge"]) > 1:
            out[method] |= {f"{key}_sd": stdev(values[key]) for key in ("judge", "lpips")}
    return out


def table(result: Row) -> str:
    """Markdown: judge cosine, LPIPS and seconds a photo of each method, on generated faces and on the portrait."""
    lines = ["| | faces | judge cosine | LPIPS | seconds a photo | portrait: judge | LPIPS |", "|---" * 7 + "|"]
    for method, g in result["generated"].items():
        cells = [f"{g['faces']}", f"{g['judge']:.2f}", f"{g['lpips']:.2f}", f"{g['seconds']:.2g}"]
        p = result["portrait"][method]
        lines.append(f"| {method} | " + " | ".join([*cells, f"{p['judge']:.2f}", f"{p['lpips']:.2f}"]) + " |")
    return "\n".join(lines)


def held_out(networks: Networks, counts: dict[str, int], batch: int) -> dict[str, tuple[Tensor, set[str]]]:
    """The generated photos in batches, and the rows they belong to: a method sees the first `counts[method]`."""
    count = max(counts.values())
    people = networks.generator.sample(count, torch.Generator().manual_seed(SEED))
    photos, batches = render(networks.generator, people), {}
    for i in range(0, count, batch):
        few = photos[i : i + batch]
        names = {name for method in STAGES if i + len(few) <= counts[method] for name in STAGES[method]}
        batches[f"{i}-{i + len(few) - 1}"] = (few, names)
    return batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for method in STAGES:
        text = f"generated faces for '{method}', whole batches of the same ones (default 64)"
        parser.add_argument(f"--{method}", type=int, default=64, help=text)
    parser.add_argument("--batch", type=int, default=8, help="photos inverted together")
    parser.add_argument("--work", type=Path, default=Path("runs/inversion-table"), help="where the rows are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "results")
    parser.add_argument("--device", default=None)
    args = parser.parse_args()
    keep_freed_memory()
    device = pick_device(args.device)
    networks, encoder = load_networks(resolution=256, device=device), load_encoder(device)
    batches = {"portrait": (align(load_photo(portrait())), set(ROWS))}
    counts = {method: getattr(args, method) for method in STAGES}
    batches |= held_out(networks, counts, args.batch)
    with run_folder(args.work) as folder:
        rows = all_rows(networks, encoder, batches, folder)
    result = {
        "generated": summary([row for row in rows if row["batch"] != "portrait"]),
        "portrait": summary([row for row in rows if row["batch"] == "portrait"]),
        "seed": SEED,
        "resolution": 256,
        "photos_inverted_together": args.batch,
        "device": device.type,
        "methods": {name: asdict(METHODS[name]) for name in STAGES},
    }
    args.out.mkdir(exist_ok=True)
    write_json(args.out / "inversion.json", result)
    (args.out / "inversion.md").write_text(table(result) + "\n", encoding="utf-8")
    print(table(result))
    print("now enter the new sum: python data/recipes/manifest.py results/inversion.json")


if __name__ == "__main__":
    main()
