"""Measure heads-eg3d on people it never saw: writes its figures as JSON, and a sheet to look at.

    python data/recipes/heads_quality.py work/pictures.pt --sheet sheet.png             # 64 people x 2 cameras
    python data/recipes/heads_quality.py work/pictures.pt --count 0 --fid 600  # the distance alone, seven minutes

Held-out person i is z from seed (2027, i), of whom no picture was in the training, seen by two cameras (yaw +-30, pitch
+-12 degrees). The renderer's photograph is the truth: LPIPS (AlexNet) and PSNR of the picture, and how far the field's
depth is from the true one where there is one.
`--fid` compares whole distributions, of people and cameras drawn as everywhere (`sample_views`): as many pictures of
the generator with as many photographs of other people, and, as the floor that so few pictures have, photographs with
photographs of a third set. What the JSON holds already and is not measured is kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from heads_eg3d import HEADS, finished
from torch import Tensor
from tqdm import trange

from guide_lib.figures import image_grid
from guide_lib.files import write_json
from guide_lib.generators.base import View
from guide_lib.generators.eg3d import EG3D
from guide_lib.heads import NUMBERS, describe, photograph
from guide_lib.metrics.distribution import Extractor, frechet_distance, generated_features
from guide_lib.perception import load_inception, load_lpips
from guide_lib.perception.perceptual import LPIPS
from guide_lib.runtime import step_rng

SEED, VIEWS = 2027, 2
SHEET_YAWS = (-30, -15, 0, 15, 30)


def held_out(index: int) -> tuple[Tensor, list[View]]:
    """z [1, 64] of a person and the cameras that see them."""
    rng = np.random.default_rng([SEED, index])
    z = torch.from_numpy(rng.standard_normal((1, NUMBERS))).float()
    yaws, pitches = rng.uniform(-30, 30, VIEWS), rng.uniform(-12, 12, VIEWS)
    return z, [View(*angles) for angles in zip(yaws.tolist(), pitches.tolist(), strict=True)]


@torch.no_grad()
def compared(generator: EG3D, z: Tensor, view: View, lpips: LPIPS) -> dict[str, float]:
    """One picture beside the photograph. Depth errors in scene units; the head is half a unit wide."""
    pose, camera = generator.camera(view)
    photo = photograph(describe(z[0].numpy()), pose[0], generator.resolution)
    ws = generator.mapping(z)
    features, depth = generator.render(generator.planes(ws), pose, camera)
    image = generator.superresolution(features, ws).clamp(-1, 1)
    truth = photograph(describe(z[0].numpy()), pose[0], HEADS.render_size).depth
    off = (depth[0, 0] - truth)[truth > 0].abs()
    return {
        "lpips": lpips(image, photo.image[None]).item(),
        "psnr": -10 * ((image - photo.image[None]) / 2).square().mean().log10().item(),
        "depth_error_median": off.median().item(),
        "depth_error_mean": off.mean().item(),
    }


def sheet(generator: EG3D, count: int) -> list[list[Tensor]]:
    """Rows of one person each: the photograph from the front, the pictures at `SHEET_YAWS`, the depth."""
    rows = []
    for index in range(count):
        z, _ = held_out(index)
        ws, front = generator.mapping(z), generator.camera(View())
        depth = generator.render(generator.planes(ws), *front)[1][0].expand(3, -1, -1)
        photo = photograph(describe(z[0].numpy()), front[0][0], generator.resolution).image
        pictures = [generator.picture(ws, View(yaw))[0] for yaw in SHEET_YAWS]
        rows.append([photo, *pictures, 1 - 2 * ((depth - 2.35) / 0.5).clamp(0, 1)])
    return rows


@torch.no_grad()
def photographed_features(generator: EG3D, count: int, extractor: Extractor, first: int) -> Tensor:
    """Features [count, D] of photographs of people `first` and on, each from a camera of `sample_views`."""
    found = []
    for index in trange(first, first + count, desc="photographs", dynamic_ncols=True):
        rng = step_rng(SEED, index)
        z = torch.randn(NUMBERS, generator=rng)
        pose = generator.camera(generator.sample_views(1, rng)[0])[0][0]
        found.append(extractor(photograph(describe(z.numpy()), pose, generator.resolution).image[None]))
    return torch.cat(found)


def distance(generator: EG3D, count: int, extractor: Extractor) -> dict[str, float]:
    """FID of `count` pictures to photographs of as many other people, and that between two sets of photographs."""
    photos, more = (photographed_features(generator, count, extractor, first) for first in (0, count))
    drawn = generated_features(generator, count, extractor)
    return {
        "fid_pictures": count,
        "fid": frechet_distance(drawn, photos),
        "fid_of_photographs": frechet_distance(more, photos),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", type=Path, help="what heads_eg3d.py saved of a stage")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--sheet", type=Path, help="a PNG of held-out people")
    parser.add_argument("--rows", type=int, default=32, help="of the sheet")
    parser.add_argument("--fid", type=int, default=0, metavar="N", help="also FID of N pictures to N photographs")
    parser.add_argument("--out", type=Path, help="a JSON file; beside the stage by default")
    args = parser.parse_args(argv)
    generator, lpips = finished(args.stage), load_lpips("alex")
    if args.sheet:
        labels = ["photograph", *(f"{yaw}°" for yaw in SHEET_YAWS), "depth"]
        image_grid(sheet(generator, args.rows), column_labels=labels, tile=generator.resolution).save(args.sheet)
    found = []
    for index in trange(args.count, desc="people", dynamic_ncols=True):
        z, views = held_out(index)
        found += [compared(generator, z, view, lpips) for view in views]
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]} if found else {}
    out = args.out or args.stage.with_suffix(".json")
    facts = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    if found:
        facts |= {"people": args.count, "views": VIEWS, "seed": SEED, **means}
    if args.fid:
        facts |= distance(generator, args.fid, load_inception())
    write_json(out, facts)
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
