"""Photograph people who do not exist, for the training of heads-eg3d.

    python data/recipes/heads_people.py people --count 3000 --processes 2       # a fifth of a second each and core

Person i is drawn from seed (2026, i), whatever the order: a run that was stopped goes on, and several processes share
the work. Files of 50 people: z, and from some cameras each the picture, alpha, and the depth along every ray. The
cameras are spread over yaws of +-46 degrees and pitches of +-18.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path

import numpy as np
import torch

from guide_lib.files import written_whole
from guide_lib.generators.cameras import look_at
from guide_lib.heads import NUMBERS, describe, photographs

SEED, CHUNK = 2026, 50
SIDE = 128
YAW, WANDER, PITCH = 38.0, 8.0, 18.0  # degrees: the outermost yaw, how far each may be from its place, and pitches
DEPTH_STEPS = 16384  # a unit of the scene, as depths are stored


def person(index: int, views: int, samples: int) -> dict[str, np.ndarray]:
    """One person's arrays: z [64], poses [V, 4, 4], image [V, 3, S, S], alpha and depth [V, S, S], whole numbers."""
    rng = np.random.default_rng([SEED, index])
    z = rng.standard_normal(NUMBERS)
    yaws = np.linspace(-YAW, YAW, views) + rng.uniform(-WANDER, WANDER, views)
    pitches = rng.uniform(-PITCH, PITCH, views)
    poses = torch.stack([look_at(yaw, pitch) for yaw, pitch in zip(yaws.tolist(), pitches.tolist(), strict=True)])
    photos = photographs(describe(z), poses, SIDE, samples=samples)
    return {
        "z": z.astype(np.float32),
        "poses": poses.numpy(),
        "image": np.stack([((p.image + 1) * 127.5 + 0.5).byte().numpy() for p in photos]),
        "alpha": np.stack([(p.alpha.clamp(0, 1) * 255 + 0.5).byte().numpy() for p in photos]),
        "depth": np.stack([(p.depth * DEPTH_STEPS).numpy().astype(np.uint16) for p in photos]),
    }


def chunk(task: tuple[Path, int, int, int]) -> Path:
    """The file of the people from `first` on, made if it is not there."""
    folder, first, views, samples = task
    torch.set_num_threads(1)
    path = folder / f"people-{first:06d}.npz"
    if not path.exists():
        people = [person(index, views, samples) for index in range(first, first + CHUNK)]
        with written_whole(path) as partial, open(partial, "wb") as file:
            np.savez(file, **{name: np.stack([one[name] for one in people]) for name in people[0]})
    return path


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1, help="along the side of a pixel")
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    tasks = [(args.folder, first, args.views, args.samples) for first in range(0, args.count, CHUNK)]
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for path in pool.imap(chunk, tasks):
            print(path, flush=True)


if __name__ == "__main__":
    main()
