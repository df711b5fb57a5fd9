"""How much of the pull at a person's own latent comes from the neighbours: writes results/pull.json.

    python data/recipes/pull.py                 # ten minutes on one CPU core

To first order a step against a gradient g lowers the local loss by <g_local, g>. Of what the local and the adjacency
loss lower it together, the neighbours' share is <g_local, g_adjacency> / <g_local, g_local + g_adjacency>, over all
weights that are trained. Asked at every fifth step of GUIDE's run as the tables have it (128 px, 70 steps), of adults
that the generator drew. `speeds`: the same, with each layer's gradient times its learning rate, as far as Adam's steps
follow gradients at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import quantiles

import torch
from torch import Tensor

from guide_lib.experiment import load_networks, sample_person
from guide_lib.files import write_json
from guide_lib.generators import Generator
from guide_lib.losses import Distance
from guide_lib.runtime import keep_freed_memory
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn
from guide_lib.unlearning.objective import Objective

RESULT = Path(__file__).resolve().parents[1] / "results" / "pull.json"
PEOPLE, EVERY, RESOLUTION = (3, 14, 24), 5, 128
SETTINGS = UnlearningSettings.fast(steps=70, learning_rate=6e-5, mixed_precision=False)


def gradients(student: Generator, objective: Objective, index: int) -> dict[str, dict[str, Tensor]]:
    """local and adjacency -> parameter -> its gradient, each loss with its weight in the sum."""
    parameters, draw, s = student.trainable_parameters(), objective.draw(index), objective.settings
    local = s.weight_local * objective.local(student, draw)["local"]
    near = s.weight_adjacency * objective.adjacency(student, draw, draw.delta)["adjacency"]
    found = {}
    for name, loss in {"local": local, "adjacency": near}.items():
        grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        kept = zip(parameters, grads, strict=True)
        found[name] = {parameter: grad for parameter, grad in kept if grad is not None}
    return found


def share(local: dict[str, Tensor], adjacency: dict[str, Tensor], speed: dict[str, float]) -> float:
    """The neighbours' part of what lowers the local loss; speed: what each parameter's gradient is multiplied by.

    >>> local, both = {"a": torch.tensor([1.0, 0.0])}, {"a": torch.tensor([2.0, 5.0])}
    >>> round(share(local, both, {"a": 1.0}), 3)
    0.667
    """
    own, near = (sum(speed[k] * (local[k] * g[k]).sum().item() for k in local) for g in (local, adjacency))
    return near / (own + near)


def measure(networks, seed: int, settings: UnlearningSettings, every: int) -> list[dict[str, float]]:
    """A row for each step that is looked at: before it, of the student as it is then."""
    generator = networks.generator
    w_u = sample_person(generator, seed)
    w_t, known = ufo_target(w_u, generator.w_avg), {"perceptual": networks.perceptual, "embedder": networks.embedder}
    objective = Objective(generator, w_u, w_t, settings, Distance(**known))
    rows, student = [], generator.student()
    steps = unlearn(generator, w_u, w_t, settings, **known)
    for index in range(1, settings.steps + 1):
        if index % every == 1:
            found = gradients(student, objective, index)
            speeds = {k: settings.style_rate if student.is_style(k) else 1.0 for k in found["local"]}
            even = dict.fromkeys(speeds, 1.0)
            rows.append({"step": index, "share": share(**found, speed=even), "speeds": share(**found, speed=speeds)})
        student = next(steps).student
    return rows


def summary(rows: list[dict[str, float]], name: str) -> dict[str, float]:
    """The median and the quartiles; a mean would be ruled by looks at which the local loss hardly pulls. against: how
    many looks found the neighbours pulling the other way.

    >>> summary([{"share": value} for value in (0.5, 0.25, 0.75, -9.0, 0.5)], "share")
    {'looks': 5, 'lower': 0.25, 'median': 0.5, 'upper': 0.5, 'against': 1}
    """
    values = [row[name] for row in rows]
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return {
        "looks": len(values),
        "lower": lower,
        "median": middle,
        "upper": upper,
        "against": sum(v < 0 for v in values),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    keep_freed_memory()
    networks = load_networks(resolution=RESOLUTION)
    rows = [{"seed": seed} | row for seed in PEOPLE for row in measure(networks, seed, SETTINGS, EVERY)]
    write_json(
        args.out, {"people": len(PEOPLE), "summary": {k: summary(rows, k) for k in ("share", "speeds")}, "rows": rows}
    )
    print(args.out.read_text(encoding="utf-8")[:400])


if __name__ == "__main__":
    main()
