"""One generator, from loading it to a person it cannot draw any more: what is dear happens once, the rest often.

>>> session = Session(networks, tmp_path)                              # for real: Session.open(resolution=256)
>>> _ = session.choose(seed=7)                                         # dear with a photo, which is inverted
>>> w_t = session.target()                                             # from here on as often as you like
>>> *_, last = session.erase(UnlearningSettings(steps=20, learning_rate=1e-2))
>>> session.measure().id < session.report.retention, [found.space for found in session.attack("reinvert", starts=1)]
(True, ['W', 'W+'])
>>> list(session.draw().shape), session.save() == tmp_path, session.undo() is session.generator
([1, 3, 16, 16], True, True)

Or without training, and then as many more as there are; each can be taken back by name, in any order:

>>> w_t = session.target("average")
>>> student = session.erase_at_once()
>>> session.undo("7") is session.generator                             # people have names: a seed, or that of the photo
True

A second person is erased from the generator as it is then. All is measured against the generator as it was opened.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from guide_lib.attacks import Hunted
from guide_lib.closed_form import ForgetList, coordinates_of, fibre_metric, population_moment
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, Person, load_networks, other_people, sample_person
from guide_lib.generators import Generator, View, as_released, attributes_of
from guide_lib.metrics.identity import Report, evaluate, render
from guide_lib.robust import RobustSettings, RobustStep, forget_for_good
from guide_lib.runtime import pick_device
from guide_lib.session import running, saving, showing
from guide_lib.session.aiming import target_of
from guide_lib.session.attacking import attack, encoder_for
from guide_lib.session.photographed import Photo, photographed
from guide_lib.targets import Strangers, draw_strangers
from guide_lib.unlearning import Step, UnlearningSettings, unlearn

T = TypeVar("T")


class Session:
    """A generator, the person who is to be forgotten, and the students that forgot somebody.

    Attributes:
        networks: the generator as it was opened, and those that look at its pictures.
        folder: where inversions are kept and results written; a temporary one unless named.
        facts: what `save` adds to metrics.json, for example the names of the networks.
        person, w_t: who was chosen, and the target [1, rows, w_dim]; None before.
        lists: who was erased at once from the generator and, after each training, from the student that it left.
        report: what `measure` found about the newest, or None.
    """

    def __init__(self, networks: Networks, folder: Path | None = None, facts: dict[str, Any] | None = None) -> None:
        self._scratch = tempfile.TemporaryDirectory() if folder is None else None
        self.networks, self.folder = networks, Path(self._scratch.name) if folder is None else folder
        self.facts = dict(facts or {})
        self.person: Person | None = None
        self.w_t: Tensor | None = None
        self._nobody = ForgetList(networks.generator)  # whose metric is reckoned at most once
        self.lists = [self._nobody]
        self.report: Report | None = None
        self.settings: UnlearningSettings | None = None
        self._stopped: Path | None = None  # the checkpoint of an erasure that was stopped early

    @classmethod
    def open(
        cls,
        generator: str = "mobilestylegan-ffhq",
        resolution: int | None = None,
        device: str | torch.device | None = None,
        folder: Path | None = None,
        *,
        embedder: str = "sface",
        judge: str = "dlib",
        quirks: bool = False,
        compiled: bool = False,
    ) -> Session:
        """Fetch (once) and load the networks by name; see `load_networks`.

        device: None takes the best one. quirks: EG3D with the accidents of the authors' script. compiled: let
        torch.compile translate the generator.

        Raises:
            GuideError: a name, the resolution or the device is unknown, or a file is not to be had.
        """
        names = {"generator": generator, "embedder": embedder, "judge": judge, "quirks": quirks}
        networks = load_networks(generator, resolution, pick_device(str(device) if device else None), embedder, judge)
        if quirks:
            networks = replace(networks, generator=as_released(networks.generator))
        if compiled:
            networks.generator.compile()
        return cls(networks, folder, names | {"resolution": networks.generator.resolution})

    @property
    def generator(self) -> Generator:
        """G_s, untouched."""
        return self.networks.generator

    @property
    def student(self) -> Generator:
        """G_u: the generator after the last erasure, the untouched one before the first."""
        return self.lists[-1].student()

    def choose(
        self,
        *,
        photo: Photo | None = None,
        seed: int | None = None,
        face: int | None = None,
        aligned: bool = False,
        inversion: str = "optimise",
    ) -> Person:
        """Say who is to be forgotten: the person in a photo, who is inverted, or the one that a seed draws.

        photo: a file, several of one person, or aligned pictures [N, 3, S, S] in [-1, 1]. GUIDE erases the first of
        them, `erase_at_once` all. face: which one of several, counted from the left. aligned: the files were cut
        already. inversion: a name in `METHODS`. No photo is inverted twice in one folder.

        Raises:
            GuideError: no usable face, an unknown method, or neither or both of photo and seed are given.
        """
        if (photo is None) == (seed is None):
            raise GuideError("Name a photo or a seed, one of the two.")
        if photo is None:
            return self.take(Person(str(seed), sample_person(self.generator, seed)))
        return self.take(photographed(self.networks, photo, self.folder, inversion, face, aligned))

    def take(self, person: Person) -> Person:
        """The same for somebody whose latent is known."""
        self.person, self.w_t, self.report, self._stopped = person, None, None, None
        return person

    def start_over(self, person: Person) -> Person:
        """The same, from the untouched generator."""
        self.lists = [self._nobody.upon(self.generator)]
        return self.take(person)

    @cached_property
    def strangers(self) -> Strangers:
        """Those among whom natural targets are searched for; drawn once, in seconds."""
        return draw_strangers(self.generator, self._nobody.metric, attributes_of(self.generator))

    @cached_property
    def fibre_metric(self) -> Tensor:
        """That of `guide_lib.closed_form.fibre`, [w_dim, w_dim]; a second, or minutes where no coordinates ship."""
        population = population_moment(self.generator)
        return fibre_metric(population, coordinates_of(self.generator, self.networks.embedder, population))

    def target(self, kind: str | None = "ufo", d: float = 30.0) -> Tensor:
        """Choose w_t [1, rows, w_dim] by a name in `guide_lib.session.aiming`. d: UFO's distance.

        None: "midway" for a photo, else "natural". Raises GuideError if nobody was chosen, or there is no such kind.
        """
        kind = kind or ("natural" if self.chosen().photo is None else "midway")
        self.w_t = target_of(kind, self.chosen().w_u, self.networks, lambda: self.strangers, d)
        return self.w_t

    def erase_at_once(self, *, fibre: bool | None = None) -> Generator:
        """Erase the person in closed form, in milliseconds (`guide_lib.closed_form`), with all their photos.

        Without a target chosen before, it is that of None. Returns the student; w_t is then what it draws. fibre: with
        pictures, too, that nobody has, in the `fibre_metric`; that or not then holds for all who are on the list, and
        None is what held before.

        Raises:
            GuideError: nobody was chosen, or the person is erased at once already.
        """
        person = self.chosen()
        w_t = self.target(None) if self.w_t is None else self.w_t
        codes = person.w_u if person.others is None else torch.cat([person.w_u, person.others])
        if fibre is not None and fibre != self.lists[-1].fibre:
            metric = self.fibre_metric if fibre else self._nobody.metric
            self.lists[-1] = self.lists[-1].solved_in(metric, fibre)
        self.lists[-1].add(person.name, codes, w_t)
        self.w_t = self.lists[-1].target(person.name)
        self.report = self._stopped = None
        return self.student

    def erase(self, settings: UnlearningSettings | None = None, *, checkpoint: Path | None = None) -> Iterator[Step]:
        """Unlearn the person from the generator as it is now; yields every step, see `guide_lib.unlearning.unlearn`.

        A person who is erased at once already is unlearned from there. Whoever stops early keeps the student of the
        last step, and the same call with the same `checkpoint` goes on from there. settings: `styles` unless given.
        Without a target chosen before, it is UFO's.
        """
        if checkpoint is not None and checkpoint == self._stopped:
            self.undo()  # the rest of this erasure, not another one on top of it
        self.settings = settings or UnlearningSettings.styles(self.chosen().w_u.device)
        yield from self._trained(partial(unlearn, checkpoint=checkpoint), self.settings, checkpoint=checkpoint)

    def erase_for_good(self, settings: RobustSettings | None = None) -> Iterator[RobustStep]:
        """The same, and what a search finds in the student is erased as well, in rounds; see `guide_lib.robust`."""
        self.settings = (settings := settings or RobustSettings()).training
        run = partial(forget_for_good, encoder=encoder_for([settings.attacker], self.generator.w_avg.device))
        yield from self._trained(run, self.photo(), settings)

    def _trained(self, run: Callable[..., Iterator[T]], *what: Any, checkpoint: Path | None = None) -> Iterator[T]:
        """The steps of a training from the generator as it is now; the student of the last one is kept."""
        person, last, w_t = self.chosen(), None, self.target() if self.w_t is None else self.w_t
        teacher, start = self.lists[-1].without(person.name), self.student if person.name in self.lists[-1] else None
        known = {"perceptual": self.networks.perceptual, "embedder": self.networks.embedder, "start": start}
        try:
            with closing(run(teacher.student(), person.w_u, w_t, *what, **known)) as steps:
                for last in steps:
                    yield last
        finally:
            if last is not None:
                self.lists.append(self.lists[-1].upon(last.student))
                self.report, self._stopped = None, checkpoint if last.index < last.total else None

    def undo(self, name: str | None = None) -> Generator:
        """Take the last erasure back, or that of a person erased at once; returns the generator as it is then.

        Raises:
            GuideError: there was none, or nobody of that name has been erased at once since the last training.
        """
        forgotten = self.lists[-1]
        if name is None and not forgotten and len(self.lists) == 1:
            raise GuideError("Nobody was erased, so there is nothing to undo.")
        if name is not None or forgotten:
            forgotten.remove(name or list(forgotten)[-1])
        else:
            del self.lists[-1]
        self.report = self._stopped = None
        return self.student

    def measure(self, others: int = 32) -> Report:
        """Compare the student with the untouched generator, at the person and at `others` other people."""
        crowd, views = other_people(self.generator, others), self.generator.judging_views()
        n, known = self.networks, (self.student, self.generator, self.chosen().w_u, crowd)
        self.report = evaluate(*known, n.judge, n.perceptual, views, n.acceptance)
        return self.report

    def attack(self, name: str, **options: Any) -> Any:
        """Try to bring the person back from the student, by a name in `guide_lib.session.attacking`; see there.

        Raises GuideError if there is no such attack, or nobody was chosen.
        """
        return attack(name, self.networks, Hunted(self.student, self.photo(), self.chosen().w_u, self.w_t), **options)

    def photo(self) -> Tensor:
        """What an attacker has in hand [1, 3, S, S]: the photo, or for a person who was a latent their picture."""
        person = self.chosen()
        return self.draw(before=True) if person.photo is None else person.photo

    def draw(self, ws: Tensor | None = None, view: View | None = None, *, before: bool = False) -> Tensor:
        """Pictures [N, 3, S, S] on the CPU of latents [N, rows, w_dim] (the person's unless given).

        They are the student's, or with `before` those of the untouched generator.
        """
        ws = self.chosen().w_u if ws is None else ws
        return render(self.generator if before else self.student, ws, view)

    def figure(self) -> Image.Image:
        """The person before and after, eight others before and after, and what `measure` says of them."""
        return showing.figure(self)

    def people(self) -> tuple[dict[str, float], Image.Image]:
        """Of everybody erased at once the judge's cosine by name, before against after, and the pictures."""
        return showing.people(self)

    def run(self, settings: UnlearningSettings | None = None) -> Report:
        """Erase under a progress bar, measure, and save everything; see `guide_lib.session.running`."""
        return running.run(self, settings)

    def save(self) -> Path:
        """Write everything into the folder, see `guide_lib.session.saving`."""
        return saving.save(self)

    @classmethod
    def load(cls, folder: Path, device: str | torch.device | None = None) -> Session:
        """The session that was saved into a folder: its networks, the person, the target and the student.

        Raises:
            GuideError: the folder holds no finished run, or a file in it is damaged.
        """
        facts = saving.read_facts(folder)
        person = facts.pop("person")
        return saving.restore(cls.open(**facts, device=device, folder=folder), person)

    def chosen(self) -> Person:
        """Who is to be forgotten. Raises GuideError before anybody was chosen."""
        if self.person is None:
            raise GuideError("Nobody was chosen yet; say who by choose(photo=...) or choose(seed=...).")
        return self.person
