"""Erase people in closed form and send them to different targets: writes results/natural-targets.json.

    python data/recipes/natural_targets.py               # twenty minutes on a busy CPU core; resumable

random: the people of the main table, seeds 0 to 15. ood: ORL people 5 to 12, the first of three photos is erased and
the other two are those of ID_others; their codes are the encoder's answer and 25 steps in W+, not the main table's
inversion. All at 128 px, by the judge, 32 other people.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean

import torch
from safetensors.torch import load_file
from torch import Tensor

from guide_lib.assets import fetch
from guide_lib.checkpoint import load_tensors, save_tensors
from guide_lib.closed_form import Erasure, erase, forgetful, population_moment, weighted_metric
from guide_lib.evaluation.scenarios import TRUNCATIONS
from guide_lib.experiment import Networks, load_networks, other_people, sample_person
from guide_lib.files import append_row, write_json
from guide_lib.generators import load_attributes, load_directions
from guide_lib.inversion import InversionSettings, invert, load_encoder
from guide_lib.metrics import render
from guide_lib.metrics.forgetting import other_pictures
from guide_lib.perception.faces import align
from guide_lib.perception.identity import identity_cosine
from guide_lib.perception.photos import enlarged
from guide_lib.runtime import keep_freed_memory
from guide_lib.targets import draw_strangers, natural_target, ufo_target

RESULT = Path(__file__).resolve().parents[1] / "results" / "natural-targets.json"
RESOLUTION, SEEDS, ORL, PHOTOS = 128, range(16), range(5, 13), 3
SHORT = InversionSettings(steps_w=0, steps_w_plus=25, learning_rate=0.1)
RANDOM, OOD = ("natural",), ("natural", "three times the way", "ufo")
FIGURES = ("id", "id_others", "retention", "lowest")


class Bench:
    """The networks, what the search and the edit need of them, and the 32 others before any edit."""

    def __init__(self) -> None:
        self.networks: Networks = load_networks(resolution=RESOLUTION)
        self.generator, self.directions = self.networks.generator, load_directions()
        moment = population_moment(self.generator)
        self.metric = weighted_metric(moment)
        known = self.generator, self.networks.embedder
        self.search = (*known, draw_strangers(self.generator, moment, load_attributes()))
        self.crowd = other_people(self.generator)
        self.before = self.seen(self.generator, self.crowd)

    def seen(self, generator, ws: Tensor) -> Tensor:
        """Identities by the judge [N, 128]."""
        return self.networks.judge.embed_faces(render(generator, ws))[0]

    def erased(self, w_u: Tensor, target: str) -> Erasure:
        """The edit for one kind of target; whatever is not a face in W keeps the way back."""
        w_avg = self.generator.w_avg
        if target == "ufo":
            return erase(w_u, ufo_target(w_u, w_avg), w_avg, self.metric)
        w_t = natural_target(w_u, *self.search)
        if target == "natural":
            return erase(w_u, w_t, w_avg, self.metric, way_back=False)
        return erase(w_u, w_u + 3 * (w_t - w_u), w_avg, self.metric)

    def row(self, w_u: Tensor, others: Tensor, target: str) -> dict[str, float]:
        """ID at w_u, ID_others at `others`, mean and least cosine of the crowd."""
        student, codes = forgetful(self.generator, [self.erased(w_u, target)]), torch.cat([w_u, others])
        own = identity_cosine(self.seen(self.generator, codes), self.seen(student, codes))
        crowd = identity_cosine(self.before, self.seen(student, self.crowd))
        values = own[0], own[1:].mean(), crowd.mean(), crowd.min()
        return dict(zip(FIGURES, (value.item() for value in values), strict=True))

    def orl(self, person: int, folder: Path) -> Tensor:
        """Codes [PHOTOS, rows, 512] of an ORL person, counted from 1; kept in `folder`."""
        path = folder / f"orl{person:02d}.safetensors"
        if not path.exists():
            pictures = load_file(fetch("orl-faces"))["images"][person - 1][:PHOTOS].numpy()
            photos = torch.cat([align(enlarged(picture)) for picture in pictures])
            known = {"perceptual": self.networks.perceptual, "embedder": self.networks.embedder}
            save_tensors(path, {"ws": invert(self.generator, photos, SHORT, start=load_encoder()(photos), **known)}, {})
        return load_tensors(path)[0]["ws"]


def summary(rows: list[dict]) -> dict[str, dict[str, float]]:
    """scenario: target -> people, the means, and the extremes."""
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        means = {figure: mean(row[figure] for row in own) for figure in FIGURES}
        extremes = {"id_max": max(row["id"] for row in own), "lowest_of_all": min(row["lowest"] for row in own)}
        found[name] = {"people": len(own)} | means | extremes
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/natural-targets"), help="rows and codes are kept here")
    args = parser.parse_args()
    keep_freed_memory()
    args.work.mkdir(parents=True, exist_ok=True)
    path, bench = args.work / "rows.jsonl", Bench()
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["name"], row["person"]) for row in rows}
    plan = [("random", target, person) for person in SEEDS for target in RANDOM]
    plan += [("ood", target, person) for person in ORL for target in OOD]
    for scenario, target, person in plan:
        key = {"name": f"{scenario}: {target}", "person": person}
        if tuple(key.values()) in done:
            continue
        if scenario == "random":
            w_u = sample_person(bench.generator, person, TRUNCATIONS[person % len(TRUNCATIONS)])
            others = other_pictures(w_u, bench.directions)
        else:
            w_u, others = bench.orl(person, args.work).split([1, PHOTOS - 1])
        rows.append(key | bench.row(w_u, others, target))
        append_row(path, rows[-1])
        print(rows[-1], flush=True)
    write_json(RESULT, {"summary": summary(rows), "people": rows})
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
