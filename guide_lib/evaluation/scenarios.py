"""Who is erased, and how: the scenarios and the methods of the evaluation, as data.

>>> session = Session(networks, tmp_path)
>>> for person in people_of("random", networks, 2, tmp_path):
...     _ = session.take(person)
...     settings = METHODS["GUIDE without adjacency"].prepare(session, UnlearningSettings())
...     print(person.name, person.facts, list(session.w_t.shape), settings.weight_adjacency)
0 {'truncation': 1.0} [1, 3, 6] 0.0
1 {'truncation': 0.7} [1, 3, 6] 0.0
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, Person, portrait, sample_person
from guide_lib.files import file_stem
from guide_lib.losses import DistanceWeights
from guide_lib.metrics.identity import render
from guide_lib.robust import ROUND
from guide_lib.session import Session
from guide_lib.session.photographed import inverted, photographed_people, photographed_person, usable_people
from guide_lib.unlearning import UnlearningSettings

TRUNCATIONS = (1.0, 0.7)  # person k is drawn at TRUNCATIONS[k % 2]
HELD_OUT = 10_000  # the first seed of the pictures that are re-encoded: nobody else uses these
SCENARIOS = ("random", "ind", "ood")


@dataclass(frozen=True)
class Method:
    """How somebody is erased.

    target: "ufo", "average", "self" (w_t = w_u), or None for the natural one of a latent or a photo. d: UFO's distance.
    changes: to the settings of the run, by name. robust: to those of rounds of a search and a training on what it found
    (`guide_lib.robust`), None for one training. at_once: in closed form, first. fibre: that in the metric in which all
    of the person's fibre goes (`guide_lib.closed_form.fibre`). trained: by training, then.
    """

    target: str | None = "ufo"
    d: float = 30.0
    changes: dict[str, Any] = field(default_factory=dict)
    at_once: bool = False
    fibre: bool = False
    trained: bool = True
    robust: dict[str, Any] | None = None

    def prepare(self, session: Session, settings: UnlearningSettings) -> UnlearningSettings:
        """Choose the target w_t for the session's person; returns the settings of this method.

        >>> session = Session(networks, tmp_path)
        >>> _ = session.choose(seed=7)
        >>> METHODS["baseline"].prepare(session, UnlearningSettings()).weight_global
        0.0
        >>> torch.equal(session.w_t, generator.w_avg)
        True
        """
        session.target(self.target, self.d)
        return replace(settings, **self.changes)


LOCAL_ONLY = {"weight_adjacency": 0.0, "weight_global": 0.0}
METHODS: dict[str, Method] = {
    "GUIDE": Method(),
    "baseline": Method(target="average", changes=LOCAL_ONLY),
    "GUIDE without local": Method(changes={"weight_local": 0.0}),
    "GUIDE without adjacency": Method(changes={"weight_adjacency": 0.0}),
    "GUIDE without global": Method(changes={"weight_global": 0.0}),
    # Adjacency also pulls at w_u, twice as hard as the local loss; this is that pull without the neighbours.
    "local x 3 without adjacency": Method(changes={"weight_local": 3.0, "weight_adjacency": 0.0}),
    # Nobody in place of the person: the identity term alone, with its sign turned, pushes G_u(w_u) away from G_s(w_u).
    "identity ascent": Method("self", changes=LOCAL_ONLY | {"distance": DistanceWeights(0.0, 0.0, -0.1)}),
    "identity ascent with global": Method(
        "self", changes={"weight_adjacency": 0.0, "distance": DistanceWeights(0.0, 0.0, -0.1)}
    ),
    "GUIDE by styles": Method(changes={"trained": "styles"}),
    "GUIDE by LoRA": Method(changes={"trained": "lora"}),
    # Adapters start from nothing and have no style layers among them, which the preset lets learn faster.
    "GUIDE by adapters": Method(changes={"trained": "adapters", "learning_rate": 6e-4}),
    "GUIDE in single precision": Method(changes={"mixed_precision": False}),
    "closed form": Method(None, at_once=True, trained=False),
    "closed form to the mean": Method("average", at_once=True, trained=False),
    "closed form to UFO": Method("ufo", at_once=True, trained=False),
    "closed form of the fibre": Method(None, at_once=True, fibre=True, trained=False),
    # The person has arrived, so nothing walks; what is left is the neighbourhood.
    "closed form then GUIDE": Method(None, changes={"steps": 30, "walk": 0.0}, at_once=True),
    "for good": Method(None, changes=ROUND, at_once=True, robust={}),
    "for good longer": Method(None, changes=ROUND, at_once=True, robust={"rounds": 8}),
    "for good from the start": Method(
        None, changes=ROUND | {"steps": 30}, at_once=True, robust={"rounds": 2, "pursuit": 0, "once": True}
    ),
    "GUIDE to a natural face": Method(None),
    **{f"d = {d:g}": Method(d=d) for d in (0.0, 5.0, 15.0, 50.0)},
    **{f"alpha = {a:g}": Method(changes={"alpha_max": a}) for a in (0.0, 5.0, 30.0)},
    **{f"N_a = {n}": Method(changes={"n_adjacent": n}) for n in (1, 4)},
    **{f"N_g = {n}": Method(changes={"n_global": n}) for n in (1, 4)},
}
GROUPS = {  # what --methods takes besides single names; GUIDE itself is d = 30, alpha = 15, N_a = N_g = 2
    "main": ["GUIDE", "baseline", "GUIDE without local", "GUIDE without adjacency", "GUIDE without global"],
    "d": [name for name in METHODS if name.startswith("d = ")],
    "alpha": [name for name in METHODS if name.startswith("alpha = ")],
    "counts": [name for name in METHODS if name.startswith("N_")],
    "ascent": ["identity ascent", "identity ascent with global"],
    "frugal": ["GUIDE by styles", "GUIDE by LoRA", "GUIDE by adapters"],
    "closed": [name for name, method in METHODS.items() if method.at_once],
    "control": ["local x 3 without adjacency", "GUIDE in single precision"],
    "all": list(METHODS),
}


def chosen_methods(names: list[str]) -> list[str]:
    """Names of methods and of groups -> names of methods, each once. Raises GuideError for an unknown one.

    >>> chosen_methods(["baseline", "counts", "N_a = 1"])
    ['baseline', 'N_a = 1', 'N_a = 4', 'N_g = 1', 'N_g = 4']
    """
    chosen: list[str] = []
    for name in names:
        if name not in GROUPS and name not in METHODS:
            known = ", ".join([*GROUPS, *METHODS])
            raise GuideError(f"There is no method '{name}'; choose from: {known}.")
        chosen += GROUPS.get(name, [name])
    return list(dict.fromkeys(chosen))


def people_of(
    scenario: str,
    networks: Networks,
    count: int,
    folder: Path,
    photos: Path | None = None,
    skip: Collection[str] = (),
) -> Iterator[Person]:
    """The first `count` people of a scenario, one after another; `folder` keeps inversions, so none is made twice.

    skip: names of people to leave out, who then need no inversion.

    random: latents of seeds 0, 1, ...; ind: the inversions of generated pictures that are treated as photographs;
    ood: real photos, `photos` or else the bundled portrait (see `photographed_people`).

    Raises:
        GuideError: an unknown scenario, or the photos cannot be used.
    """
    if scenario == "ood":
        yield from photographed_people(networks, photos or portrait(), folder, count, skip)
    else:
        for name in people_names(scenario, networks, count, photos, skip):
            yield person_named(scenario, networks, name, folder, photos)


def people_names(
    scenario: str, networks: Networks, count: int, photos: Path | None = None, skip: Collection[str] = ()
) -> list[str]:
    """The names of whom `people_of` yields; nobody is inverted.

    >>> people_names("ind", networks, 3, skip={"10001"})
    ['10000', '10002']
    """
    if scenario == "ood":
        return [name for name, _ in usable_people(networks.generator.alignment, photos or portrait(), count, skip)]
    first = {"random": 0, "ind": HELD_OUT}.get(scenario)
    if first is None:
        raise GuideError(f"There is no scenario '{scenario}'; choose one of: {', '.join(SCENARIOS)}.")
    return [str(seed) for seed in range(first, first + count) if str(seed) not in skip]


def person_named(scenario: str, networks: Networks, name: str, folder: Path, photos: Path | None = None) -> Person:
    """One of those whom `people_of` yields, by name, without the others.

    Several workers may ask at once for the same person, who is inverted by the first of them.

    Raises:
        GuideError: the photo cannot be used.
    """
    if scenario == "random":
        truncation = TRUNCATIONS[int(name) % len(TRUNCATIONS)]
        return Person(name, sample_person(networks.generator, int(name), truncation), facts={"truncation": truncation})
    with FileLock(folder / f".{file_stem(name)}.lock"):
        if scenario == "ood":
            return photographed_person(networks, photos or portrait(), name, folder)
        photo = render(networks.generator, sample_person(networks.generator, int(name), 0.7))
        return Person(name, inverted(networks, photo, folder), photo)
