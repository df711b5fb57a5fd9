"""What each way of inverting buys: writes results/inversion.json and results/inversion.md.

    python data/recipes/inversion_table.py               # 64 faces, about an hour on two CPU cores, minutes on a GPU
    python data/recipes/inversion_table.py --count 16    # a quarter of it

Photos are held-out generated faces (256 px, truncation 1; no recipe trained on their seed) and the bundled portrait.
Every method starts from the photo alone; LPIPS and the judge's cosine compare the photo with what the latent draws.
Pivotal tuning takes a minute a face and sees the first few. Resumable: one JSON line for each batch and method, in
the folder --work, to be deleted when the encoder has been trained anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from guide_lib.encoder import Encoder, load_encoder
from guide_lib.experiment import Networks, bar, find_codes, load_networks, portrait, run_folder, write_json
from guide_lib.inversion import InversionSettings, inversion_steps
from guide_lib.metrics import reconstruction, render
from guide_lib.perception.faces import align
from guide_lib.perception.photos import load_photo
from guide_lib.pivotal import PivotalSettings, pivotal_tuning
from guide_lib.runtime import keep_freed_memory, pick_device

SEED = 64_000_064  # far from every seed that a recipe trains on
METHODS = ("encoder", "W", "W+", "encoder, then W+", "pivotal tuning at W")
REFINING = InversionSettings(steps_w=0, steps_w_plus=50)  # from the encoder's answer
Row = dict[str, Any]


def encoded(encoder: Encoder, photos: Tensor) -> tuple[Tensor, float]:
    """The codes of photos [N, 3, S, S], one photo at a time, and the seconds for all."""
    with torch.no_grad():
        encoder(photos[:1])  # the first pass of a network sets things up
        started = time.perf_counter()
        return torch.cat([encoder(photo) for photo in photos.split(1)]), time.perf_counter() - started


def refined(networks: Networks, photos: Tensor, start: Tensor, settings: InversionSettings) -> tuple[Tensor, float]:
    """The codes after a few steps of W+ from `start`, and the seconds for all."""
    seconds, ws = 0.0, start
    steps = inversion_steps(
        networks.generator, photos, settings, perceptual=networks.perceptual, embedder=networks.embedder, start=start
    )
    for step in bar(steps, settings.steps_w_plus, "refining"):
        seconds, ws = seconds + step.seconds, step.ws
    return ws, seconds


def measured(networks: Networks, ws: Tensor, photos: Tensor, seconds: float) -> Row:
    """LPIPS and judge cosine of each photo, and the seconds a photo took when the batch was inverted together."""
    seen = reconstruction(networks.generator, ws, photos, networks.judge, networks.perceptual)
    share = seconds / len(photos)
    return {"judge": seen.judge.tolist(), "lpips": seen.lpips.tolist(), "seconds": [share] * len(photos)}


def tuned(networks: Networks, pivots: Tensor, photos: Tensor, settings: PivotalSettings) -> Row:
    """Pivotal tuning, one generator for each photo."""
    rows = []
    for pivot, photo in zip(pivots.split(1), photos.split(1), strict=True):
        seconds = 0.0
        steps = pivotal_tuning(networks.generator, pivot, photo, settings, perceptual=networks.perceptual)
        for step in bar(steps, settings.steps, "pivotal tuning"):
            seconds += step.seconds
        rows.append(measured(replace(networks, generator=step.student), pivot, photo, seconds))
    return {key: [row[key][0] for row in rows] for key in rows[0]}


def batch_rows(
    networks: Networks, encoder: Encoder, photos: Tensor, folder: Path, missing: set[str], settings: dict[str, Any]
) -> Iterator[tuple[str, Row]]:
    """(method, its row) for each method that is missing for these photos."""
    if missing & {"encoder", "encoder, then W+"}:
        start, first = encoded(encoder, photos)
    if "encoder" in missing:
        yield "encoder", measured(networks, start, photos, first)
    if "encoder, then W+" in missing:
        ws, seconds = refined(networks, photos, start, settings["encoder, then W+"])
        yield "encoder, then W+", measured(networks, ws, photos, first + seconds)
    if missing & {"W", "W+", "pivotal tuning at W"}:
        found, seconds = find_codes(networks, photos, folder, settings["W+"]), 0.0
        for space in ("W", "W+"):  # W+ goes on from W, so its time includes that of W
            seconds += found.seconds[space]
            if space in missing:
                yield space, measured(networks, found.codes[space], photos, seconds)
    if "pivotal tuning at W" in missing:
        row = tuned(networks, found.codes["W"], photos, settings["pivotal tuning at W"])
        before = found.seconds["W"] / len(photos)
        yield "pivotal tuning at W", row | {"seconds": [before + seconds for seconds in row["seconds"]]}


def all_rows(
    networks: Networks,
    encoder: Encoder,
    batches: dict[str, tuple[Tensor, set[str]]],
    folder: Path,
    settings: dict[str, Any],
) -> list[Row]:
    """The rows of every batch, name -> (photos, methods); those that rows.jsonl holds are not computed again."""
    path = folder / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    for name, (photos, methods) in tqdm(batches.items(), desc="batches", dynamic_ncols=True):
        missing = methods - {row["method"] for row in rows if row["batch"] == name}
        for method, row in batch_rows(networks, encoder, photos, folder, missing, settings):
            rows.append({"batch": name, "method": method} | row)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    return [row for row in rows if row["batch"] in batches and row["method"] in batches[row["batch"]][1]]


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """For each method in order: how many faces, mean and spread of judge and LPIPS, mean seconds a photo."""
    out = {}
    for method in METHODS:
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


def held_out(networks: Networks, count: int, batch: int, pivotal: int) -> dict[str, tuple[Tensor, set[str]]]:
    """The generated photos in batches, and which methods see them: pivotal tuning only the first `pivotal`."""
    people = networks.generator.sample(count, torch.Generator().manual_seed(SEED))
    photos, batches = render(networks.generator, people), {}
    for i in range(0, count, batch):
        methods = set(METHODS) if i + batch <= pivotal else set(METHODS) - {"pivotal tuning at W"}
        batches[f"{i}-{min(i + batch, count) - 1}"] = (photos[i : i + batch], methods)
    return batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=64, help="generated faces, of which the first are the same always")
    parser.add_argument("--batch", type=int, default=8, help="photos inverted together")
    parser.add_argument("--pivotal-count", type=int, default=8, help="faces for pivotal tuning, whole batches of them")
    parser.add_argument("--pivotal-steps", type=int, default=150, help="at most; the authors stop at LPIPS 0.07, too")
    parser.add_argument("--work", type=Path, default=Path("runs/inversion-table"), help="where the rows are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "results")
    parser.add_argument("--device", default=None)
    args = parser.parse_args()
    keep_freed_memory()
    device = pick_device(args.device)
    networks, encoder = load_networks(resolution=256, device=device), load_encoder(device)
    settings = {"W+": InversionSettings(), "encoder, then W+": REFINING}
    settings["pivotal tuning at W"] = PivotalSettings(steps=args.pivotal_steps)
    batches = held_out(networks, args.count, args.batch, args.pivotal_count)
    batches["portrait"] = (align(load_photo(portrait())), set(METHODS))
    batches = {name: (photos.to(device), methods) for name, (photos, methods) in batches.items()}
    with run_folder(args.work) as folder:
        rows = all_rows(networks, encoder, batches, folder, settings)
    result = {
        "generated": summary([row for row in rows if row["batch"] != "portrait"]),
        "portrait": summary([row for row in rows if row["batch"] == "portrait"]),
        "seed": SEED,
        "resolution": 256,
        "photos_inverted_together": args.batch,
        "device": device.type,
        "settings": {name: asdict(s) for name, s in settings.items()},
    }
    args.out.mkdir(exist_ok=True)
    write_json(args.out / "inversion.json", result)
    (args.out / "inversion.md").write_text(table(result) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
