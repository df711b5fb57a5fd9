"""Write data/results/judge_threshold.json: the judge's cosine at 0.1 % false accepts.

    python data/recipes/judge_threshold.py               # a few minutes on two CPU cores

All pairs of 512 generated people (truncation 1, 256 px, seed 512), which is the domain in which people are erased
here; beside it, for comparison, the pairs of different people among the 400 ORL photographs and how many of the pairs
of the same person either threshold accepts.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor
from tqdm import tqdm

from guide_lib.assets import fetch
from guide_lib.generators import load_generator
from guide_lib.metrics import acceptance_threshold, impostor_cosines, render
from guide_lib.perception import Embedder, load_judge
from guide_lib.runtime import keep_freed_memory

TARGET = Path(__file__).resolve().parents[1] / "results" / "judge_threshold.json"
SEED, RATE, RESOLUTION, BATCH = 512, 1e-3, 256, 16


@torch.no_grad()
def generated(judge: Embedder, count: int) -> Tensor:
    """Unit embeddings [count, D] of generated people."""
    generator = load_generator(resolution=RESOLUTION)
    ws = generator.sample(count, torch.Generator().manual_seed(SEED))
    parts = (judge.embed_faces(render(generator, part))[0] for part in tqdm(ws.split(BATCH), desc="generated"))
    return torch.cat(list(parts))


@torch.no_grad()
def photographed(judge: Embedder) -> tuple[Tensor, Tensor]:
    """Unit embeddings [400, D] of the ORL photographs, and whose they are."""
    (pictures,) = load_file(fetch("orl-faces")).values()
    grey = torch.from_numpy(np.ascontiguousarray(pictures)).float().flatten(0, -3)
    images = (grey / 127.5 - 1)[:, None].expand(-1, 3, -1, -1)
    images = torch.nn.functional.interpolate(images, scale_factor=2.0, mode="bilinear")
    parts = (judge.embed_faces(part)[0] for part in tqdm(images.split(BATCH), desc="ORL"))
    return torch.cat(list(parts)), torch.arange(len(grey)) // 10


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=512, help="generated people")
    count = parser.parse_args().count
    keep_freed_memory()
    judge = load_judge()
    impostors = impostor_cosines(generated(judge, count))
    orl, people = photographed(judge)
    strangers = impostor_cosines(orl, people)
    first, second = torch.triu_indices(len(orl), len(orl), offset=1)
    same = (orl @ orl.T)[first, second][people[first] == people[second]]
    facts = {"rate": RATE, "seed": SEED, "resolution": RESOLUTION}
    for name, scores in (("generated", impostors), ("orl", strangers)):
        threshold = acceptance_threshold(scores, RATE)
        share = (same >= threshold).float().mean().item()
        facts[name] = {"pairs": len(scores), "threshold": threshold, "orl_same_person_accepted": share}
    TARGET.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
