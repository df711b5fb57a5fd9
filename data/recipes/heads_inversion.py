"""Invert photographs of people whom heads-eg3d never saw: writes data/results/heads-inversion.json.

    python data/recipes/heads_inversion.py               # 8 people, a quarter of an hour of one CPU core

A rendered photograph, from a camera within 20 degrees, is inverted over W: once from the camera that took it, once from
the one that five points of the face tell. Then the truth is asked: how alike the drawn head is to the photograph, and,
seen from the other side, to a photograph from there that the inversion never saw. Beside that the camera's error.

Then the person is erased in closed form, at the first code alone, and ID_others is measured at two photographs of
another day (other camera, light, expression and hair), inverted in the same way before: the judge's cosine of what
their codes draw before and after. Resumable: a person who is stored is not inverted again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from heads_quality import held_out
from torch import Tensor
from tqdm import trange

from guide_lib.experiment import Person
from guide_lib.files import write_json
from guide_lib.generators import View
from guide_lib.heads import Light, another_day, describe, photograph
from guide_lib.inversion import InversionSettings, invert
from guide_lib.metrics import identity_similarity
from guide_lib.perception.pose import views_of
from guide_lib.runtime import keep_freed_memory
from guide_lib.session import Session

TARGET = Path(__file__).resolve().parents[1] / "results" / "heads-inversion.json"
SEED, YAW, PITCH = 2031, 20.0, 10.0  # the cameras' limits, degrees
OTHER_DAYS = 2
SETTINGS = InversionSettings(steps_w=50, steps_w_plus=0, learning_rate=0.05)


def other_side(view: View) -> View:
    """Of the face, from the same height."""
    return View(-float(np.copysign(YAW, view.yaw)), view.pitch)


def photographs_of(session: Session, index: int) -> tuple[Tensor, list[View], Tensor]:
    """Of a person: the photograph and those of other days [1 + 2, 3, S, S], their cameras, one from the other side."""
    rng, person = np.random.default_rng([SEED, index]), describe(held_out(index)[0][0].numpy())
    views = [View(float(rng.uniform(-YAW, YAW)), float(rng.uniform(-PITCH, PITCH))) for _ in range(1 + OTHER_DAYS)]
    poses = [session.generator.camera(view)[0][0] for view in [*views, other_side(views[0])]]
    days = [another_day(person, rng, redressed=True) for _ in range(OTHER_DAYS)]
    lights = [Light(), *(Light.draw(rng) for _ in range(OTHER_DAYS)), Light()]
    photos = [photograph(who, pose, 128, light).image
              for who, pose, light in zip([person, *days, person], poses, lights, strict=True)]  # fmt: skip
    return torch.stack(photos[:-1]), views, photos[-1][None]


def one_person(session: Session, index: int) -> dict[str, float]:
    """Everything that is stored of a person."""
    generator, networks = session.generator, session.networks
    photos, views, aside_photo = photographs_of(session, index)
    aside, found = other_side(views[0]), views_of(generator, photos)
    tools = {"perceptual": networks.perceptual, "embedder": networks.embedder}
    # The first photograph twice, from the true camera and from the found one; all are one batch.
    ws = invert(generator, torch.cat([photos[:1], photos]), SETTINGS, views=[views[0], *found], **tools)
    row: dict[str, float] = {}
    with torch.no_grad():
        for name, w, view in (("known", ws[:1], views[0]), ("found", ws[1:2], found[0])):
            drawn, turned = generator.picture(w, view), generator.picture(w, aside)
            row[f"lpips_{name}"] = networks.perceptual(drawn, photos[:1]).item()
            row[f"judge_{name}"] = identity_similarity(networks.judge, photos[:1], drawn)[0].item()
            row[f"judge_aside_{name}"] = identity_similarity(networks.judge, aside_photo, turned)[0].item()
        truth = generator.picture(generator.mapping(held_out(index)[0]), views[0])
    row["judge_of_the_true_z"] = identity_similarity(networks.judge, photos[:1], truth)[0].item()
    row["yaw_error"] = abs(found[0].yaw - views[0].yaw)
    row["pitch_error"] = abs(found[0].pitch - views[0].pitch)
    session.start_over(Person(str(index), ws[:1], photos[:1]))
    session.target("natural")
    session.erase_at_once()
    for name, codes in (("id", ws[:1]), ("id_others", ws[2:])):
        cosines = identity_similarity(networks.judge, session.draw(codes, before=True), session.draw(codes))[0]
        row[name] = cosines.mean().item()
    return row


def main() -> None:
    """Measure, and write after every person."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=8)
    count = parser.parse_args().people
    keep_freed_memory()
    session = Session.open("heads-eg3d")
    facts: dict[str, Any] = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {"rows": []}
    for index in trange(len(facts["rows"]), count, desc="people"):
        rows = [*facts["rows"], one_person(session, index)]
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        facts = {"people": len(rows), "seed": SEED, "steps_w": SETTINGS.steps_w, "means": means, "rows": rows}
        write_json(TARGET, facts)
    print(json.dumps(facts["means"], indent=1))


if __name__ == "__main__":
    main()
