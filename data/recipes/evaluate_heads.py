"""Measure the distilled heads on fresh latents: writes data/results/heads.json.

    python data/recipes/evaluate_heads.py                # 256 latents, a few minutes on two CPU cores

For each latent (truncation 1, seed 7,777, never trained on) the picture of a head is compared with the released
network's 1024 px picture, averaged down: LPIPS (AlexNet), and whether every face that is found in the large
picture is found in the small one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import trange

from guide_lib.generators import load_generator
from guide_lib.perception import find_landmarks, load_lpips
from guide_lib.runtime import keep_freed_memory, pick_device

SEED, SIZES = 7_777, (256, 128)


def found(image: Tensor) -> bool:
    """Whether a face is detected, in the picture brought to 256 px."""
    return bool(find_landmarks(F.interpolate(image, size=256, mode="bilinear", antialias=True).clamp(-1, 1))[1][0])


@torch.no_grad()
def measure(count: int) -> dict[str, dict[str, float]]:
    device = pick_device()
    generator, lpips = load_generator(resolution=1024, device=device), load_lpips("alex", device)
    rng = torch.Generator().manual_seed(SEED)
    distances: dict[int, list[float]] = {size: [] for size in SIZES}
    lost = dict.fromkeys(SIZES, 0)
    faces = 0
    for _ in trange(count, desc="heads", dynamic_ncols=True):
        ws = generator.sample(1, rng)
        large = generator.synthesis(ws).image
        there = found(large)
        faces += there
        for size in SIZES:
            small = generator.at(size).synthesis(ws).image
            distances[size].append(lpips(small, F.avg_pool2d(large, 1024 // size)).item())
            lost[size] += there and not found(small)
    return {
        str(size): {
            "lpips_mean": sum(distances[size]) / count,
            "lpips_max": max(distances[size]),
            "faces_in_the_large_picture": faces,
            "faces_lost": lost[size],
        }
        for size in SIZES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=256)
    count = parser.parse_args().count
    keep_freed_memory()
    result = {"latents": count, "seed": SEED, "heads": measure(count)}
    target = Path(__file__).resolve().parents[1] / "results" / "heads.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
