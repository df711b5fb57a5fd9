"""Where identity lies in W, and what is left of a person's fibre: the file of coordinates and results/fibre.*

    python data/recipes/fibre.py find                # the coordinates: two minutes on a CPU core
    python data/recipes/fibre.py choose              # how much the eraser should weigh the fibre, on people 100 to 103
    python data/recipes/fibre.py measure             # people 0 to 15, by methods without training: ten minutes
    python data/recipes/fibre.py measure --methods GUIDE "for good" --people 4
    python data/recipes/fibre.py picture             # docs/fibre.jpg: one person's fibre before and after
    python data/recipes/fibre.py tables              # fibre.md of the stored rows

Coordinates are found with the loss's recogniser; the judge, another network, says who is seen. A fibre is 16 pictures
of the person's coordinates with all else of 16 people at truncation 0.7. A killed run goes on row by row.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from guide_lib.closed_form import (
    ForgetList,
    IdentityCoordinates,
    coordinates_of,
    fibre_metric,
    identity_coordinates,
    population_moment,
)
from guide_lib.closed_form.fibre import FILE
from guide_lib.errors import GuideError
from guide_lib.evaluation import Measures, summarise, table_of
from guide_lib.evaluation.comparison import unlearn_by
from guide_lib.evaluation.measuring import measured
from guide_lib.evaluation.scenarios import people_of
from guide_lib.experiment import Networks, Person, load_networks, sample_person
from guide_lib.figures.plots import image_grid, jpeg_bytes
from guide_lib.files import append_row, read_rows, write_json
from guide_lib.metrics.columns import METRICS
from guide_lib.runtime import keep_freed_memory
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings

DATA = Path(__file__).resolve().parents[1]
ROWS, CHOICE, TABLE = (DATA / "results" / name for name in ("fibre-people.jsonl", "fibre.json", "fibre.md"))
PICTURE = DATA.parent / "docs" / "fibre.jpg"
RESOLUTION, SCENARIO = 128, "random"
SHOWN, SHOWN_WITH = 5, 13  # seeds of the picture's person and of the six others
WEIGHTS = (None, 1.0, 4.0, 16.0, 64.0, 1000.0)  # of the fibre; None is the closed form's usual metric
CHOSEN_ON = range(100, 104)
UNTRAINED = ["closed form", "closed form of the fibre"]
MEASURED = ("id", "id_fibre", "accepted_fibre", "id_fibre_control", "accepted_fibre_control")
KEPT_OF_OTHERS = ("retention", "retention_lowest", "retained", "clean", "seconds")


def find(networks: Networks) -> None:
    """Write the coordinates, and the mean for which they hold."""
    generator, population = networks.generator, population_moment(networks.generator)
    found = identity_coordinates(generator, networks.embedder, population)
    tensors = {name: part.float().contiguous() for name, part in vars(found).items()}
    save_file(tensors | {"w_avg": generator.w_avg[0, 0].clone()}, DATA / FILE)
    print([round(found.shares[:count].sum().item(), 3) for count in (4, 8, 16, 32)])


def choose(networks: Networks, coordinates: IdentityCoordinates) -> None:
    """What it does to the fibre, and costs the others, to weigh the fibre so much."""
    session, population, found = Session(networks), population_moment(networks.generator), []
    for weight in WEIGHTS:
        for seed in CHOSEN_ON:
            person = Person(str(seed), sample_person(networks.generator, seed, (1.0, 0.7)[seed % 2]))
            session.start_over(person)
            if weight is not None:
                metric = fibre_metric(population, coordinates, weight)
                session.lists.append(ForgetList(networks.generator, metric))
            session.erase_at_once()
            row = measured(session, person, Measures(coordinates=coordinates))
            found.append({"weight": weight, "person": str(seed)} | {name: row[name] for name in MEASURED[:3]})
            found[-1] |= {name: row[name] for name in ("retention", "retention_min")}
            print(found[-1], flush=True)
    write_json(CHOICE, {"shares": coordinates.shares.tolist(), "people": found})


def measure(networks: Networks, coordinates: IdentityCoordinates, methods: list[str], people: int) -> None:
    """A row for each person and method."""
    session, settings = Session(networks), UnlearningSettings.table()
    known = {(row["method"], row["person"]) for row in read_rows(ROWS)}
    for person in people_of(SCENARIO, networks, people, session.folder):
        for method in methods:
            if (method, person.name) in known:
                continue
            checkpoint = session.folder / "run.safetensors"
            row = {"scenario": SCENARIO, "method": method, "person": person.name}
            row |= unlearn_by(method, session, person, settings, checkpoint)
            checkpoint.unlink(missing_ok=True)
            row |= measured(session, person, Measures(coordinates=coordinates))
            append_row(ROWS, row)
            print(method, person.name, {name: round(row[name], 3) for name in (*MEASURED, "retention")}, flush=True)


def picture(networks: Networks, coordinates: IdentityCoordinates) -> None:
    """Others; the person with all else of theirs; the same after either erasure."""
    session, others = Session(networks), networks.generator.sample(6, torch.Generator().manual_seed(SHOWN_WITH), 0.7)
    person = Person(str(SHOWN), sample_person(networks.generator, SHOWN))
    session.start_over(person)
    fibre = coordinates.fibre(person.w_u, others, networks.generator.w_avg)
    codes = torch.cat([person.w_u, fibre])
    rows = [list(session.draw(torch.cat([person.w_u, others]), before=True)), list(session.draw(codes, before=True))]
    for method in UNTRAINED:
        unlearn_by(method, session, person, UnlearningSettings(), session.folder / "run.safetensors")
        rows.append(list(session.draw(codes)))
    names = ["person, six others", "the person's fibre", *UNTRAINED]
    PICTURE.write_bytes(jpeg_bytes(image_grid(rows, names, tile=128)))


def tables() -> str:
    """fibre.md: how the fibre is weighed, and methods beside one another."""
    found = {}
    for row in json.loads(CHOICE.read_text(encoding="utf-8"))["people"]:
        found.setdefault(row["weight"], []).append(row)
    names = ("id", "id_fibre", "accepted_fibre", "retention", "retention_min")
    lines = ["| weight of the fibre | " + " | ".join(METRICS[name].label for name in names) + " |", "|---" * 6 + "|"]
    for weight, rows in found.items():
        cells = [format(sum(row[name] for row in rows) / len(rows), ".3f") for name in names]
        lines.append(" | ".join([f"| {'none' if weight is None else format(weight, 'g')}", *cells]) + " |")
    people = table_of(summarise(read_rows(ROWS)), (*MEASURED, *KEPT_OF_OTHERS), sideways=True)
    text = "\n".join(lines) + "\n\n" + people + "\n"
    TABLE.write_text(text, encoding="utf-8")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("find", "choose", "measure", "picture", "tables"))
    parser.add_argument("--methods", nargs="+", default=UNTRAINED)
    parser.add_argument("--people", type=int, default=16)
    args = parser.parse_args()
    if args.step == "tables":
        print(tables())
        return
    keep_freed_memory()
    networks = load_networks(resolution=RESOLUTION)
    if args.step == "find":
        find(networks)
        return
    coordinates = coordinates_of(networks.generator, networks.embedder, population_moment(networks.generator))
    if args.step in ("choose", "picture"):
        {"choose": choose, "picture": picture}[args.step](networks, coordinates)
    else:
        measure(networks, coordinates, args.methods, args.people)


if __name__ == "__main__":
    try:
        main()
    except GuideError as error:
        sys.exit(f"error: {error}")
