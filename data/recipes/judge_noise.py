"""How much of a retention is the judge's own noise: writes results/judge_noise.json.

    python data/recipes/judge_noise.py               # two minutes on a CPU core

The pictures of the 32 other people, as in the tables, beside the same with noise of one grey level of 255, which nobody
sees: what the judge says of these is what a perfect retention can be told apart from.
"""

from __future__ import annotations

from pathlib import Path

import torch

from guide_lib.experiment import load_networks, other_people
from guide_lib.files import write_json
from guide_lib.metrics import identity_similarity, render

RESULT = Path(__file__).resolve().parents[1] / "results" / "judge_noise.json"
RESOLUTION, DRAWS, LEVEL = 128, 8, 2 / 255


def main() -> None:
    networks = load_networks(resolution=RESOLUTION)
    pictures, rng = render(networks.generator, other_people(networks.generator)), torch.Generator().manual_seed(0)
    cosines = []
    for _ in range(DRAWS):
        noise = LEVEL * torch.randn(pictures.shape, generator=rng)
        cosines.append(identity_similarity(networks.judge, pictures, (pictures + noise).clamp(-1, 1))[0])
    seen = torch.stack(cosines)
    found = {
        "resolution": RESOLUTION,
        "draws": DRAWS,
        "mean": seen.mean().item(),
        "lowest_of_a_draw": seen.min(1).values.mean().item(),
        "lowest": seen.min().item(),
    }
    write_json(RESULT, found)
    print(found)


if __name__ == "__main__":
    main()
