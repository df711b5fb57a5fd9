"""Write data/results/judge_threshold.json: from which cosine on a judge takes two pictures for one person.

    python data/recipes/judge_threshold.py               # half an hour of one CPU core

Of each judge and resolution two thresholds. *accepted*: at most one in a thousand pairs of different generated people
(512, truncation 1, seed 512) reaches it. *strict*: at most one in 25 pairs of the same person among the 400 ORL
photographs, which have one size, stays below it; it is the highest such cosine, but not above *accepted*. Both with the
95 % interval of a bootstrap over people.

How often either errs: false accepts on 512 other generated people (seed 513), both errors on the ORL photographs, with
exact intervals twice, pairs or people being the trials. Pairs share people, so the first are too narrow; whoever counts
in part is rounded outward, so the second are too wide. Beside that how well each recogniser, those of the losses and
the attacker's too, tells the ORL photographs apart.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from scipy import stats
from torch import Tensor
from tqdm import tqdm

from guide_lib.assets import fetch
from guide_lib.generators import load_generator
from guide_lib.metrics import (
    accept_rates,
    acceptance_threshold,
    impostor_cosines,
    rejection_threshold,
    render,
    share_interval,
)
from guide_lib.perception import Embedder, load_embedder, load_judge
from guide_lib.runtime import keep_freed_memory

TARGET = Path(__file__).resolve().parents[1] / "results" / "judge_threshold.json"
JUDGES, EMBEDDERS, RESOLUTIONS = ("dlib", "edgeface"), ("sface", "mobilefacenet"), (128, 256)
SEED, HELD_OUT, BATCH = 512, 513, 16
FALSE_ACCEPTS, FALSE_REJECTS, DRAWS = 1e-3, 1 / 25, 400
Embedders = Mapping[str, Embedder]


@torch.no_grad()
def embedded(recognisers: Embedders, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Unit embeddings [N, D] of all pictures by each recogniser."""
    parts = [{name: own.embed_faces(batch)[0] for name, own in recognisers.items()} for batch in batches]
    return {name: torch.cat([part[name] for part in parts]) for name in recognisers}


def generated(judges: Embedders, resolution: int, seed: int, count: int) -> dict[str, Tensor]:
    """Of generated people, one picture each."""
    generator = load_generator(resolution=resolution)
    ws = generator.sample(count, torch.Generator().manual_seed(seed))
    return embedded(judges, (render(generator, part) for part in tqdm(ws.split(BATCH), desc=f"{resolution} px")))


def photographed(recognisers: Embedders) -> tuple[dict[str, Tensor], Tensor]:
    """Of the ORL photographs [400], and whose they are."""
    (pictures,) = load_file(fetch("orl-faces")).values()
    grey = torch.from_numpy(np.ascontiguousarray(pictures)).float().flatten(0, -3)
    images = (grey / 127.5 - 1)[:, None].expand(-1, 3, -1, -1)
    images = torch.nn.functional.interpolate(images, scale_factor=2.0, mode="bilinear")
    return embedded(recognisers, tqdm(images.split(BATCH), desc="ORL")), torch.arange(len(grey)) // 10


def errors(wrong: Tensor, counted: Tensor, people: Tensor) -> dict[str, object]:
    """How often verdicts are wrong. wrong, counted: bool [N, N], every pair in them twice; people: [N], who is who."""
    wrong = wrong & counted
    pairs, mistakes = int(counted.sum()) // 2, int(wrong.sum()) // 2
    exact = stats.binomtest(mistakes, pairs).proportion_ci(0.95)
    members = torch.nn.functional.one_hot(people).T.float()
    by_people = share_interval(((members @ wrong.float()).sum(1) / (members @ counted.float()).sum(1)).tolist())
    return {
        "pairs": pairs,
        "wrong": mistakes,
        "share": mistakes / pairs,
        "interval_pairs": [exact.low, exact.high],
        "interval_people": [by_people.low, by_people.high],
    }


def verdicts(embeddings: Tensor, people: Tensor, threshold: float) -> dict[str, dict[str, object]]:
    """False accepts among the pairs of different people and, where somebody has two pictures, false rejects."""
    accepted, same = embeddings @ embeddings.T >= threshold, people[:, None] == people[None]
    itself = torch.eye(len(people), dtype=torch.bool)
    found = {"false_accepts": errors(accepted, ~same, people)}
    return found | ({"false_rejects": errors(~accepted, same & ~itself, people)} if (same & ~itself).any() else {})


def genuine_cosines(embeddings: Tensor, people: Tensor) -> Tensor:
    """Of all pairs of two pictures of one person."""
    first, second = torch.triu_indices(len(people), len(people), offset=1)
    return (embeddings @ embeddings.T)[first, second][people[first] == people[second]]


def told_apart(embeddings: Tensor, people: Tensor) -> dict[str, float]:
    """How well pairs of one person and of two are told apart: the area under the ROC curve, and how many of one person
    are accepted where one in a thousand of two is."""
    same, different = genuine_cosines(embeddings, people), impostor_cosines(embeddings, people)
    area = stats.mannwhitneyu(same, different).statistic / (len(same) * len(different))
    threshold = acceptance_threshold(different, FALSE_ACCEPTS)
    return {"auc": float(area), "threshold": threshold, "accepted": accept_rates(same, different, threshold)[0]}


def resampled(scores: Callable[[Tensor], Tensor], people: int, threshold: Callable[[Tensor], float]) -> list[float]:
    """The 95 % bootstrap interval of a threshold; scores: those of the people drawn, who may come more than once."""
    rng = torch.Generator().manual_seed(0)
    drawn = (torch.randint(people, (people,), generator=rng) for _ in range(DRAWS))
    return torch.tensor([threshold(scores(who)) for who in drawn]).quantile(torch.tensor([0.025, 0.975])).tolist()


def accepting(strangers: Tensor) -> dict[str, object]:
    """The threshold of false accepts; strangers: [N, D], of as many people."""
    cosines, above = strangers @ strangers.T, torch.ones(len(strangers), len(strangers), dtype=torch.bool).triu(1)

    def scores(who: Tensor) -> Tensor:
        return cosines[who][:, who][above & (who[:, None] != who[None])]

    limit = partial(acceptance_threshold, rate=FALSE_ACCEPTS)
    everybody = torch.arange(len(strangers))
    return {"threshold": limit(scores(everybody)), "interval": resampled(scores, len(strangers), limit)}


def rejecting(orl: Tensor, people: Tensor) -> dict[str, object]:
    """The threshold of false rejects; orl: [N, D], as many pictures of each person, one person after another."""
    count = int(people.max()) + 1
    cosines = genuine_cosines(orl, people).view(count, -1)
    limit = partial(rejection_threshold, rate=FALSE_REJECTS)
    return {
        "threshold": limit(cosines.flatten()),
        "interval": resampled(lambda who: cosines[who].flatten(), count, limit),
    }


def judged(strangers: Tensor, others: Tensor, orl: Tensor, people: Tensor) -> dict[str, object]:
    """Both thresholds of one judge at one resolution. strangers, others: [N, D], of the two seeds."""
    cosines, everybody = impostor_cosines(strangers), torch.arange(len(others))
    accepted, strict = accepting(strangers), rejecting(orl, people)
    found: dict[str, object] = {"strangers_mean": cosines.mean().item(), "strangers_sd": cosines.std().item()}
    for name, chosen in (("accepted", accepted), ("strict", min(accepted, strict, key=lambda own: own["threshold"]))):
        on_orl = {f"orl_{kind}": counted for kind, counted in verdicts(orl, people, chosen["threshold"]).items()}
        found[name] = chosen | verdicts(others, everybody, chosen["threshold"]) | on_orl
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=512, help="generated people of each seed")
    count = parser.parse_args().count
    keep_freed_memory()
    judges = {name: load_judge(name) for name in JUDGES}
    orl, people = photographed(judges | {name: load_embedder(name) for name in EMBEDDERS})
    facts = {"false_accepts": FALSE_ACCEPTS, "false_rejects": FALSE_REJECTS, "people": count}
    facts |= {"seed": SEED, "held_out_seed": HELD_OUT, "judges": {name: {} for name in JUDGES}}
    facts["orl"] = {name: told_apart(embeddings, people) for name, embeddings in orl.items()}
    for resolution in RESOLUTIONS:
        strangers, others = (generated(judges, resolution, seed, count) for seed in (SEED, HELD_OUT))
        for name in JUDGES:
            found = judged(strangers[name], others[name], orl[name], people)
            facts["judges"][name][str(resolution)] = found
    TARGET.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
