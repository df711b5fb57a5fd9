"""Find where the detector's five points lie on rendered heads: prints the mean face that `HEADS` is aligned by.

    python data/recipes/heads_points.py                  # 48 people from 6 sides each, a minute

Seen through pixels whose depth is known, a marked point is one of the world. What is printed is the median over
people and views, the two sides made mirror images.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from tqdm import trange

from guide_lib.generators.cameras import intrinsics, look_at, pixel_rays
from guide_lib.generators.eg3d import EG3DConfig
from guide_lib.heads import NUMBERS, describe, photographs
from guide_lib.perception import find_landmarks

SEED, SIDE = 2029, 192
CAMERAS = [(yaw, pitch) for yaw in (-12.0, 0.0, 12.0) for pitch in (-5.0, 7.0)]  # degrees
MIRRORED = [1, 0, 2, 4, 3]  # the five points, left and right exchanged


def points(index: int) -> list[np.ndarray]:
    """The five points [5, 3] of person `index` in the world, of each view in which all of them lie on the head."""
    z = np.random.default_rng([SEED, index]).standard_normal(NUMBERS)
    poses = torch.stack([look_at(*camera) for camera in CAMERAS])
    photos = photographs(describe(z), poses, SIDE)
    marked, found = find_landmarks(torch.stack([photo.image for photo in photos]))
    origins, directions = pixel_rays(poses, intrinsics(EG3DConfig().field_of_view)[None], SIDE)
    seen = []
    for n in np.flatnonzero(found):
        column, row = np.rint(marked[n]).astype(int).clip(0, SIDE - 1).T
        pixel, depth = row * SIDE + column, photos[n].depth[row, column]
        if (depth > 0).all():
            seen.append((origins[n, pixel] + directions[n, pixel] * depth[:, None]).numpy())
    return seen


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=48)
    args = parser.parse_args(argv)
    found = [five for index in trange(args.count, dynamic_ncols=True) for five in points(index)]
    median = np.median(found, axis=0)
    mean = (median + median[MIRRORED] * [-1, 1, 1]) / 2
    print(f"{len(found)} of {args.count * len(CAMERAS)} views\n{mean.round(3).tolist()}")


if __name__ == "__main__":
    main()
