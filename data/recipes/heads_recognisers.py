"""Measure how well recognisers of real faces tell rendered heads apart: writes data/results/heads-recognisers.json.

    python data/recipes/heads_recognisers.py             # 100 people, 4 pictures each; five minutes of one core

Every picture has its own camera (yaw and pitch within 15 and 10 degrees), light and expression; once the person keeps
hair, beard and shirt, once these are drawn anew each time. Reported is the area under the curve of same against
different people, of the recogniser as it is, and with its embeddings centred on the mean of 50 other heads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor
from tqdm import trange

from guide_lib.files import write_json
from guide_lib.generators.cameras import look_at
from guide_lib.heads import NUMBERS, Light, another_day, describe, photograph
from guide_lib.metrics import impostor_cosines
from guide_lib.perception import Embedder, load_embedder, load_judge

TARGET = Path(__file__).resolve().parents[1] / "results" / "heads-recognisers.json"
SEED, VIEWS, SIDE = 2028, 4, 192
FOR_THE_CENTRE = 50  # people, who take part in nothing else


def pictures(index: int, redressed: bool) -> Tensor:
    """Person `index` on `VIEWS` days, [V, 3, S, S]."""
    rng = np.random.default_rng([SEED, index])
    person, found = describe(rng.standard_normal(NUMBERS)), []
    for _ in range(VIEWS):
        pose = look_at(float(rng.uniform(-15, 15)), float(rng.uniform(-10, 10)))
        found.append(photograph(another_day(person, rng, redressed), pose, SIDE, Light.draw(rng)).image)
    return torch.stack(found)


def area(embeddings: Tensor) -> float:
    """The chance that two pictures of one person [P, V, D] are more alike than two of different people."""
    count, views, _ = embeddings.shape
    who = torch.arange(count).repeat_interleave(views)
    cosines = embeddings.flatten(0, 1) @ embeddings.flatten(0, 1).T
    same = cosines[(who[:, None] == who) & ~torch.eye(len(who), dtype=torch.bool)]
    different = impostor_cosines(embeddings.flatten(0, 1), who)
    return float(stats.mannwhitneyu(same, different).statistic / (len(same) * len(different)))


def measured(recognisers: dict[str, Embedder], count: int, redressed: bool) -> dict[str, dict[str, float]]:
    seen: dict[str, list[Tensor]] = {name: [] for name in recognisers}
    faces = 0
    for index in trange(FOR_THE_CENTRE + count, desc="redressed" if redressed else "usual", dynamic_ncols=True):
        images = pictures(index, redressed)
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
    parser.add_argument("--out", type=Path, default=TARGET)
    args = parser.parse_args(argv)
    recognisers = {"sface": load_embedder("sface"), "mobilefacenet": load_embedder("mobilefacenet")}
    recognisers |= {"dlib": load_judge("dlib"), "edgeface": load_judge("edgeface")}
    kinds = {"usual": False, "redressed": True}
    result = {kind: measured(recognisers, args.count, redressed) for kind, redressed in kinds.items()}
    write_json(args.out, {"people": args.count, "views": VIEWS, "seed": SEED, "resolution": SIDE, **result})
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
