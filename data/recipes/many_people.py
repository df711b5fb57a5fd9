"""Erase 1 to 200 people of one generator in closed form: writes results/many-people.json and .md.

    python data/recipes/many_people.py                # ten minutes on one CPU core

People are seeds from 0 on, as in the main table, sent to the mean face or to natural faces, all solved for together (a
`ForgetList`) at 128 px. For each number of people: ID of (at most) the first 16 by the judge, retention of 32 others,
seconds of the solution and of the weights, bytes of the list. revived: how far the first person's picture is from the
target, the largest difference of a pixel in [-1, 1], solved together and one after another. undone: of everybody's
pictures from the generator's, once all are taken back in another order than they came.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guide_lib.closed_form import ForgetList, erase, forgetful, metric_of
from guide_lib.evaluation.scenarios import TRUNCATIONS
from guide_lib.experiment import Networks, load_networks, other_people, sample_person
from guide_lib.files import write_json
from guide_lib.generators import load_attributes
from guide_lib.metrics import identity_similarity, render
from guide_lib.runtime import keep_freed_memory
from guide_lib.targets import draw_strangers, natural_target

RESULT = Path(__file__).resolve().parents[1] / "results" / "many-people.json"
RESOLUTION, JUDGED, UNDONE = 128, 16, 5
NAMES = {"mean": "the mean face", "natural": "natural faces"}
SHOWN = (
    ("ID, mean", "id", ".2f"), ("ID, highest", "id_max", ".2f"), ("retention", "retention", ".3f"),
    ("lowest retention", "retention_min", ".2f"), ("seconds", "seconds", ".2f"), ("bytes of the list", "bytes", ",d"),
)  # fmt: skip
COUNTS = {"mean": (1, 2, 5, 10, 20, 50, 100, 200), "natural": (1, 2, 5, 10, 20, 50)}


def people(networks: Networks, count: int) -> list[Tensor]:
    """Latents [1, rows, w_dim] of the first seeds, truncated in turn as in the main table."""
    truncations = (TRUNCATIONS[seed % len(TRUNCATIONS)] for seed in range(count))
    return [sample_person(networks.generator, seed, t) for seed, t in enumerate(truncations)]


def row(networks: Networks, metric: Tensor, codes: list[Tensor], targets: list[Tensor]) -> dict[str, Any]:
    """What erasing these people together does."""
    generator, crowd = networks.generator, other_people(networks.generator)
    started = time.perf_counter()
    listed = ForgetList(generator, metric)
    listed.add_all({str(k): pair for k, pair in enumerate(zip(codes, targets, strict=True))})
    student = listed.student()
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        listed.save(Path(folder) / "list")
        size = (Path(folder) / "list").stat().st_size
    seen = torch.cat([*codes[:JUDGED], crowd])
    cosines = identity_similarity(networks.judge, render(generator, seen), render(student, seen))[0]
    own, kept = cosines[: len(codes[:JUDGED])], cosines[len(codes[:JUDGED]) :]
    one_by_one = forgetful(
        generator, [erase(w, t, generator.w_avg, metric) for w, t in zip(codes, targets, strict=True)]
    )
    return {
        "id": own.mean().item(), "id_max": own.max().item(), "retention": kept.mean().item(),
        "retention_min": kept.min().item(), "seconds": seconds, "bytes": size,
        "revived_together": apart(student, generator, codes[0], listed.target("0")),
        "revived_one_by_one": apart(one_by_one, generator, codes[0], targets[0]),
    }  # fmt: skip


def apart(student, generator, w: Tensor, w_t: Tensor) -> float:
    """The largest difference between what the student draws at w and what the generator draws at w_t."""
    return (render(student, w) - render(generator, w_t)).abs().max().item()


def undone(networks: Networks, metric: Tensor, codes: list[Tensor]) -> float:
    """The largest difference that is left after everybody was taken back, in another order, one at a time."""
    listed = ForgetList(networks.generator, metric)
    for k, w in enumerate(codes):
        listed.add(str(k), w, networks.generator.w_avg)
    for k in sorted(range(len(codes)), key=lambda k: k * 3 % len(codes)):
        listed.remove(str(k))
    return max(apart(listed.student(), networks.generator, w, w) for w in codes)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; one column a number of people, one line a target and a measure."""
    lines = [["", *(str(count) for count in COUNTS["mean"])], ["---"] * (1 + len(COUNTS["mean"]))]
    for kind in COUNTS:
        found = [row for row in rows if row["target"] == kind]
        for label, key, style in SHOWN:
            cells = [format(row[key], style) for row in found]
            lines.append([f"{label}, to {NAMES[kind]}", *cells, *["-"] * (len(lines[0]) - 1 - len(cells))])
    return "\n".join("|" + "|".join(f" {cell} " for cell in line) + "|" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    keep_freed_memory()
    networks = load_networks(resolution=RESOLUTION)
    generator = networks.generator
    metric = metric_of(generator)
    codes = people(networks, max(COUNTS["mean"]))
    known = generator, networks.embedder
    strangers = draw_strangers(generator, metric, load_attributes())
    natural = [natural_target(w, *known, strangers) for w in codes[: max(COUNTS["natural"])]]
    targets = {"mean": [generator.w_avg] * len(codes), "natural": natural}
    rows = []
    for kind, counts in COUNTS.items():
        for count in counts:
            rows.append({"target": kind, "people": count} | row(networks, metric, codes[:count], targets[kind][:count]))
            print(rows[-1], flush=True)
    found = {"rows": rows, "undone": undone(networks, metric, codes[:UNDONE])}
    write_json(args.out, found)
    args.out.with_suffix(".md").write_text(table(found["rows"]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
