"""Find directions in W for yaw, pitch and smile: writes mobilestylegan-ffhq-directions.safetensors and results/.

    python data/recipes/directions.py                    # about ten minutes on two CPU cores

Faces are drawn (256 px, truncation 1) and measured by MTCNN's points; guide_lib.generators finds the moves that
change one measure at the least cost, where the loss's embedder says what makes a stranger. Faces never drawn before
then give each direction its scale (one unit: one degree, or one standard deviation) and the evidence, in which the
judge has its only part: what is measured, and how much of the person is left, at several distances.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from guide_lib.experiment import Networks, load_networks
from guide_lib.generators.directions import FILE, UNITS, cost_of_moves, least_change, measure_faces, move, ridge
from guide_lib.metrics import render
from guide_lib.perception import find_landmarks, identity_cosine
from guide_lib.runtime import keep_freed_memory, pick_device

SEED, CHECK_SEED = 51_200, 51_201
BATCH = 8
REACH = {"yaw": 16.0, "pitch": 10.0, "smile": 2.0}  # how far the evidence goes, in units
SHAPE_ROWS = 10  # the rows up to 32 px, which draw pose and shape but not colours


def measured(images: Tensor) -> Tensor:
    """[N, 3], the measures in the order of UNITS; NaN where no face is found."""
    found = measure_faces(find_landmarks(images)[0])
    return torch.from_numpy(np.stack([found[name] for name in UNITS], axis=1))


@torch.no_grad()
def draw_people(networks: Networks, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """w [N, 512], measures [N, 3] and embeddings [N, E] of the faces that were found among `count`."""
    rng, parts = torch.Generator().manual_seed(SEED), []
    for _ in tqdm(range(count // BATCH), desc="faces", dynamic_ncols=True):
        ws = networks.generator.sample(BATCH, rng)
        images = networks.generator.synthesis(ws).image
        parts.append((ws[:, 0].cpu(), measured(images), networks.embedder.embed(images).cpu()))
    w, measures, embeddings = (torch.cat(column) for column in zip(*parts, strict=True))
    found = measures.isfinite().all(1)
    return w[found], measures[found], embeddings[found]


def calibrate(networks: Networks, moves: dict[str, Tensor], people: Tensor, spread: Tensor) -> dict[str, Tensor]:
    """Divide each move by the change that is measured in pictures when it is walked half its reach to both sides."""
    scaled = {}
    for k, name in enumerate(UNITS):
        amount = REACH[name] / 2
        low, high = (measured(render(networks.generator, move(people, moves[name], a))) for a in (-amount, amount))
        slope = ((high - low)[:, k] / spread[k] / (2 * amount)).nanmean().item()
        print(f"{name}: a predicted change of 1 is seen as {slope:.2f}")
        scaled[name] = moves[name] / slope
    return scaled


@torch.no_grad()
def evidence(
    networks: Networks, direction: Tensor, reach: float, people: Tensor, spread: Tensor, rows: range | None
) -> list[dict[str, float]]:
    """What a walk along one direction changes, in units of every measure, and the judge's cosine to the start."""
    start = render(networks.generator, people)
    before, who = measured(start), networks.judge.embed_faces(start)[0]
    walk = []
    for amount in (-reach, -reach / 2, reach / 2, reach):
        images = render(networks.generator, move(people, direction, amount, rows))
        after, (embeddings, found) = measured(images), networks.judge.embed_faces(images)
        cosines = identity_cosine(who, embeddings)
        change = dict(zip(UNITS, ((after - before) / spread).nanmean(0).tolist(), strict=True))
        judged = {"judge": cosines.mean().item(), "judge_min": cosines.min().item()}
        walk.append({"amount": amount} | change | judged | {"faces_lost": int((~found).sum())})
    return walk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1200, help="faces to learn from, a multiple of 8")
    parser.add_argument("--check", type=int, default=16, help="faces for scale and evidence")
    parser.add_argument("--identity", type=float, default=1.0, help="weight of the embedding in the cost of a move")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1], help="the data folder")
    parser.add_argument("--device", default=None)
    args = parser.parse_args()
    keep_freed_memory()
    networks = load_networks(resolution=256, device=pick_device(args.device))
    w, measures, embeddings = draw_people(networks, args.count)
    # Angles are in degrees already; the other measures are counted in standard deviations.
    spread = torch.tensor([1.0 if UNITS[k] == "degrees" else measures[:, i].std() for i, k in enumerate(UNITS)])
    fit = ridge(w, measures / spread)
    found = least_change(fit.gradient, cost_of_moves(w, embeddings, args.identity)).float()
    people = networks.generator.sample(args.check, torch.Generator().manual_seed(CHECK_SEED))
    directions = calibrate(networks, dict(zip(UNITS, found.T, strict=True)), people, spread)
    report = {"faces": len(w), "seed": SEED, "identity": args.identity, "penalty": fit.penalty, "directions": {}}
    for k, (name, direction) in enumerate(tqdm(directions.items(), desc="evidence", dynamic_ncols=True)):
        facts = {"unit": UNITS[name], "explained": fit.explained[k].item(), "norm": direction.norm().item()}
        for title, rows in (("all_rows", None), (f"rows_below_{SHAPE_ROWS}", range(SHAPE_ROWS))):
            facts[title] = evidence(networks, direction, REACH[name], people, spread, rows)
        report["directions"][name] = facts
    tensors = {name: direction.contiguous() for name, direction in directions.items()}
    save_file(tensors, args.out / FILE, {"evidence": json.dumps(report)})
    path = args.out / "results" / "directions.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
