"""Write data/results/heads-threshold.json: from which cosine on a judge takes two heads for one person.

    python data/recipes/heads_threshold.py               # ten minutes of one CPU core

As judge_threshold.py does it for faces of people, with heads in place of both: *accepted* is what at most one in a
thousand pairs of different people reaches whom heads-eg3d draws, from the front, *strict* what at most one in 25 pairs
of photographs of the same person stays below, but not above *accepted*. The photographs are rendered: other cameras,
other light, another expression each time. Each judge is centred as it is for heads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from heads_recognisers import rendered
from judge_threshold import FALSE_ACCEPTS, FALSE_REJECTS, HELD_OUT, JUDGES, SEED, embedded, judged
from torch import Tensor
from tqdm import tqdm

from guide_lib.files import write_json
from guide_lib.generators import load_generator
from guide_lib.metrics import render
from guide_lib.perception import Embedder, load_judge
from guide_lib.runtime import keep_freed_memory

TARGET = Path(__file__).resolve().parents[1] / "results" / "heads-threshold.json"
BATCH = 16


def drawn(judges: dict[str, Embedder], seed: int, count: int) -> dict[str, Tensor]:
    """Embeddings [count, D] of people whom heads-eg3d draws, one picture each."""
    generator = load_generator("heads-eg3d")
    ws = generator.sample(count, torch.Generator().manual_seed(seed))
    return embedded(judges, (render(generator, part) for part in tqdm(ws.split(BATCH), desc="drawn")))


def measured(count: int, photographed: int) -> dict[str, Any]:
    """What is stored. count: people who are drawn, of each seed; photographed: people, four pictures each."""
    judges = {name: load_judge(name, faces="heads") for name in JUDGES}
    albums = [rendered(index, redressed=False) for index in tqdm(range(photographed), desc="rendered")]
    people = torch.arange(photographed).repeat_interleave(len(albums[0]))
    photos, strangers, others = embedded(judges, albums), drawn(judges, SEED, count), drawn(judges, HELD_OUT, count)
    facts: dict[str, Any] = {"false_accepts": FALSE_ACCEPTS, "false_rejects": FALSE_REJECTS, "people": count}
    facts |= {"photographed": photographed, "seed": SEED, "held_out_seed": HELD_OUT, "judges": {}}
    for name in judges:
        facts["judges"][name] = judged(strangers[name], others[name], photos[name], people, "rendered")
    return facts


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=512, help="people who are drawn, of each seed")
    parser.add_argument("--photographed", type=int, default=40, help="people who are rendered, four pictures each")
    args = parser.parse_args()
    keep_freed_memory()
    facts = measured(args.count, args.photographed)
    write_json(TARGET, facts)
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
