"""Measure how well recognisers of real faces tell rendered heads apart: writes data/results/heads-recognisers.json.

    python data/recipes/heads_recognisers.py                         # 100 people, 4 pictures each

Every picture has its own camera (yaw and pitch within 15 and 10 degrees). Rendered ones have their own light and
expression, too: once the person keeps hair, beard and shirt, once these are drawn anew each time. Of those that
heads-eg3d draws the camera is all that changes. Reported is the area under the curve of same against different people,
of the recogniser as it is, and with its embeddings centred on the mean of other heads.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor
from tqdm import trange

from guide_lib.files import write_json
from guide_lib.generators import Generator, View, load_generator
from guide_lib.generators.cameras import look_at
from guide_lib.heads import NUMBERS, Light, another_day, describe, photograph
from guide_lib.metrics import impostor_cosines
from guide_lib.perception import Embedder, load_embedder, load_judge

TARGET = Path(__file__).resolve().parents[1] / "results" / "heads-recognisers.json"
SEED, VIEWS, SIDE = 2028, 4, 128
FOR_THE_CENTRE = 20  # people, who take part in nothing else
RECOGNISERS: dict[str, Callable[[str], Embedder]] = {
    "sface": load_embedder,
    "mobilefacenet": load_embedder,
    "dlib": load_judge,
    "edgeface": load_judge,
}


def rendered(index: int, redressed: bool) -> Tensor:
    """Person `index` on `VIEWS` days, [V, 3, S, S]."""
    rng = np.random.default_rng([SEED, index])
    person, found = describe(rng.standard_normal(NUMBERS)), []
    for _ in range(VIEWS):
        pose = look_at(*_camera(rng))
        found.append(photograph(another_day(person, rng, redressed), pose, SIDE, Light.draw(rng)).image)
    return torch.stack(found)


@torch.no_grad()
def drawn(index: int) -> Tensor:
    """Person `index` as heads-eg3d draws them from `VIEWS` cameras, [V, 3, S, S]."""
    rng, generator = np.random.default_rng([SEED, index]), _generator()
    ws = generator.mapping(torch.from_numpy(rng.standard_normal((1, NUMBERS))).float())
    return torch.cat([generator.picture(ws, View(*_camera(rng))) for _ in range(VIEWS)])


def _camera(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(-15, 15)), float(rng.uniform(-10, 10))


@functools.cache
def _generator() -> Generator:
    return load_generator("heads-eg3d")


PICTURES: dict[str, Callable[[int], Tensor]] = {
    "usual": functools.partial(rendered, redressed=False),
    "redressed": functools.partial(rendered, redressed=True),
    "drawn": drawn,
}


def area(embeddings: Tensor) -> float:
    """The chance that two pictures of one person [P, V, D] are more alike than two of different people."""
    count, views, _ = embeddings.shape
    who = torch.arange(count).repeat_interleave(views)
    cosines = embeddings.flatten(0, 1) @ embeddings.flatten(0, 1).T
    same = cosines[(who[:, None] == who) & ~torch.eye(len(who), dtype=torch.bool)]
    different = impostor_cosines(embeddings.flatten(0, 1), who)
    return float(stats.mannwhitneyu(same, different).statistic / (len(same) * len(different)))


def measured(recognisers: dict[str, Embedder], count: int, kind: str) -> dict[str, dict[str, float]]:
    """Of each recogniser the areas, on pictures of a kind; and how many faces were found."""
    seen: dict[str, list[Tensor]] = {name: [] for name in recognisers}
    faces = 0
    for index in trange(FOR_THE_CENTRE + count, desc=kind, dynamic_ncols=True):
        images = PICTURES[kind](index)
        for name, recogniser in recognisers.items():
            embedded, found = recogniser.embed_faces(images)
            seen[name].append(embedded)
        faces += int(found.sum())
    result = {}
    for name, parts in seen.items():
        everyone = torch.stack(parts)
        people, centre = everyone[FOR_THE_CENTRE:], everyone[:FOR_THE_CENTRE].mean((0, 1))
        result[name] = {"auc": area(people), "auc_centred": area(F.normalize(people - centre, dim=-1))}
    share = faces / (VIEWS * (FOR_THE_CENTRE + count))
    return result | {"detector": {"faces_found": share}}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=PICTURES, default=list(PICTURES))
    parser.add_argument("--recognisers", nargs="+", choices=RECOGNISERS, default=list(RECOGNISERS))
    parser.add_argument("--out", type=Path, default=TARGET, help="what it holds of other kinds is kept")
    args = parser.parse_args(argv)
    recognisers = {name: RECOGNISERS[name](name) for name in args.recognisers}
    result = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    result |= {"people": args.count, "views": VIEWS, "seed": SEED, "resolution": SIDE}
    for kind in args.kinds:
        result[kind] = measured(recognisers, args.count, kind)
        write_json(args.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
