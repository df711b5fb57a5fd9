"""One generator, from loading it to a person it cannot draw any more: what is dear happens once, the rest often.

>>> session = Session(networks, tmp_path)                              # for real: Session.open(resolution=256)
>>> _ = session.choose(seed=7)                                         # dear with a photo, which is inverted
>>> w_t = session.target()                                             # from here on as often as you like
>>> *_, last = session.erase(UnlearningSettings(steps=20, learning_rate=1e-2))
>>> session.measure().id < session.report.retention, [found.space for found in session.attack("reinvert", starts=1)]
(True, ['W', 'W+'])
>>> list(session.draw().shape), session.save() == tmp_path, session.undo() is session.generator
([1, 3, 16, 16], True, True)

A second person is erased from the generator as it is then. All is measured against the generator as it was opened.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from guide_lib.attacks import fingerprint_alone, fingerprint_beside, neighbour_curve, reinvert, relearn
from guide_lib.checkpoint import load_tensors, save_tensors
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, Person, bar, history, load_networks, other_people, recorded, sample_person
from guide_lib.figures.plots import before_after, loss_curves
from guide_lib.files import shown, write_json
from guide_lib.generators import Generator, View, as_released, dressed, load_student, save_student
from guide_lib.inversion.methods import invert_by, reconstructions
from guide_lib.metrics.forgetting import ACCEPTANCE
from guide_lib.metrics.identity import Report, evaluate, render
from guide_lib.perception.photos import load_face
from guide_lib.perception.pose import views_of
from guide_lib.runtime import pick_device
from guide_lib.targets import average_target, ufo_target
from guide_lib.unlearning import Step, UnlearningSettings, unlearn

SHOWN = 8  # other people in the before/after figure
CANDIDATES = 16  # latents among which a fingerprint has to find the erased one
CANDIDATE_SEED = 40_961


class Session:
    """A generator, the person who is to be forgotten, and the students that forgot somebody.

    Attributes:
        networks: the generator as it was opened, and those that look at its pictures.
        folder: where inversions are kept and results written; a temporary one unless named.
        facts: what `save` adds to metrics.json, for example the names of the networks.
        person, w_t: who was chosen, and the target [1, rows, w_dim]; None before.
        students: the generator after each erasure, the newest last.
        report: what `measure` found about the newest, or None.
    """

    def __init__(self, networks: Networks, folder: Path | None = None, facts: dict[str, Any] | None = None) -> None:
        self._scratch = tempfile.TemporaryDirectory() if folder is None else None
        self.networks, self.folder = networks, Path(self._scratch.name) if folder is None else folder
        self.facts = dict(facts or {})
        self.person: Person | None = None
        self.w_t: Tensor | None = None
        self.students: list[Generator] = []
        self.report: Report | None = None
        self._settings: UnlearningSettings | None = None
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
        return self.students[-1] if self.students else self.generator

    def choose(
        self,
        *,
        photo: str | Path | Tensor | None = None,
        seed: int | None = None,
        face: int | None = None,
        aligned: bool = False,
        inversion: str = "optimise",
    ) -> Person:
        """Say who is to be forgotten: the person in a photo, who is inverted, or the one that a seed draws.

        photo: a file, or an aligned picture [1, 3, S, S] in [-1, 1]. face: which one of several, counted from the left.
        aligned: the file was cut already. inversion: a name in `METHODS`. No photo is inverted twice in one folder.

        Raises:
            GuideError: no usable face, an unknown method, or neither or both of photo and seed are given.
        """
        if (photo is None) == (seed is None):
            raise GuideError("Name a photo or a seed, one of the two.")
        if photo is None:
            chosen = Person(str(seed), sample_person(self.generator, seed))
        else:
            cut = photo if isinstance(photo, Tensor) else load_face(photo, 512, face, self.generator.alignment, aligned)
            views = views_of(self.generator, cut)
            stages = invert_by(inversion, self.networks, cut, self.folder, views=views)
            seen = reconstructions(self.networks, cut, stages, views)
            cosines = {stage: found.judge.item() for stage, found in seen.items()}
            name = "photo" if isinstance(photo, Tensor) else shown(Path(photo).stem)
            chosen = Person(name, list(stages.values())[-1].ws, cut, facts={"inversion": cosines})
        self.person, self.w_t, self.report, self._stopped = chosen, None, None, None
        return chosen

    def target(self, kind: str = "ufo", d: float = 30.0) -> Tensor:
        """Choose w_t [1, rows, w_dim]: "ufo" (d in the paper's scale), "average", or "self" (nobody else).

        Raises:
            GuideError: nobody was chosen, or there is no such kind.
        """
        w_u, w_avg = self._chosen().w_u, self.generator.w_avg
        known = {"ufo": lambda: ufo_target(w_u, w_avg, d), "average": lambda: average_target(w_u, w_avg)}
        known["self"] = w_u.clone
        if kind not in known:
            raise GuideError(f"There is no target '{kind}'; choose one of: {', '.join(known)}.")
        self.w_t = known[kind]()
        return self.w_t

    def erase(self, settings: UnlearningSettings | None = None, *, checkpoint: Path | None = None) -> Iterator[Step]:
        """Unlearn the person from the generator as it is now; yields every step, see `guide_lib.unlearning.unlearn`.

        Whoever stops early keeps the student of the last step, and the same call with the same `checkpoint` goes on
        from there. settings: the demo's unless given. Without a target chosen before, it is UFO's.
        """
        if checkpoint is not None and checkpoint == self._stopped:
            self.undo()  # the rest of this erasure, not another one on top of it
        w_u, w_t = self._chosen().w_u, self.target() if self.w_t is None else self.w_t
        self._settings = settings or UnlearningSettings.styles(w_u.device)
        known = {"perceptual": self.networks.perceptual, "embedder": self.networks.embedder}
        last = None
        try:
            with closing(unlearn(self.student, w_u, w_t, self._settings, **known, checkpoint=checkpoint)) as steps:
                for last in steps:
                    yield last
        finally:
            if last is not None:
                self.students.append(last.student)
                self.report, self._stopped = None, checkpoint if last.index < last.total else None

    def undo(self) -> Generator:
        """Take the last erasure back; returns the generator as it is then. Raises GuideError if there was none."""
        if not self.students:
            raise GuideError("Nobody was erased, so there is nothing to undo.")
        self.report = self._stopped = None
        del self.students[-1]
        return self.student

    def measure(self, others: int = 32) -> Report:
        """Compare the student with the untouched generator, at the person and at `others` other people."""
        crowd, views = other_people(self.generator, others), self.generator.judging_views()
        judges = self.networks.judge, self.networks.perceptual
        self.report = evaluate(self.student, self.generator, self._chosen().w_u, crowd, *judges, views)
        return self.report

    def attack(self, name: str, **options: Any) -> Any:
        """Try to bring the person back from the student; the options are those of the function in `guide_lib.attacks`.

        "reinvert": search for another latent -> list of Reinversion. "relearn": tune until the judge accepts ->
        Relearning. "neighbours": look around w_u -> list of Neighbours. "fingerprint", "fingerprint beside": find w_u
        among 15 strangers, from the student alone or with the untouched generator at hand -> Fingerprint.

        Raises:
            GuideError: there is no such attack, or nobody was chosen.
        """
        n, w_u, photo = self.networks, self._chosen().w_u, self.photo()
        look, seen_by = {"perceptual": n.perceptual}, {"perceptual": n.perceptual, "judge": n.judge}
        known = {
            "reinvert": lambda: reinvert(self.student, photo, embedder=n.embedder, **seen_by, **options),
            "relearn": lambda: relearn(self.student, w_u, photo, **seen_by, **{"threshold": ACCEPTANCE} | options),
            "neighbours": lambda: list(neighbour_curve(self.student, self.generator, w_u, n.judge, **options)),
            "fingerprint": lambda: fingerprint_alone(self.student, self.candidates(), **look, **options),
            "fingerprint beside": lambda: fingerprint_beside(self.student, self.generator, self.candidates(), **look),
        }
        if name not in known:
            raise GuideError(f"There is no attack '{name}'; choose one of: {', '.join(known)}.")
        return known[name]()

    def candidates(self) -> Tensor:
        """The person and 15 strangers [16, rows, w_dim]: among these a fingerprint has to find the first."""
        strangers = self.generator.sample(CANDIDATES - 1, torch.Generator().manual_seed(CANDIDATE_SEED))
        return torch.cat([self._chosen().w_u, strangers])

    def photo(self) -> Tensor:
        """What an attacker has in hand [1, 3, S, S]: the photo, or for a person who was a latent their picture."""
        person = self._chosen()
        return self.draw(before=True) if person.photo is None else person.photo

    def draw(self, ws: Tensor | None = None, view: View | None = None, *, before: bool = False) -> Tensor:
        """Pictures [N, 3, S, S] on the CPU of latents [N, rows, w_dim] (the person's unless given).

        They are the student's, or with `before` those of the untouched generator.
        """
        ws = self._chosen().w_u if ws is None else ws
        return render(self.generator if before else self.student, ws, view)

    def figure(self) -> Image.Image:
        """The person before and after, eight others before and after, and what `measure` says of them."""
        report, person = self.report or self.measure(), self._chosen()
        ws = torch.cat([person.w_u, other_people(self.generator)[:SHOWN]])
        drawn, redrawn = self.draw(ws, before=True), self.draw(ws)
        caption = (
            f"Identity cosine by an independent judge, before against after: the erased person {report.id:.2f}, "
            f"{report.others} other people {report.retention:.2f} on average (lowest {report.retention_min:.2f})."
        )
        return before_after(drawn[0], redrawn[0], list(drawn[1:]), list(redrawn[1:]), caption, person.photo)

    def run(self, settings: UnlearningSettings | None = None) -> Report:
        """Erase under a progress bar, measure, and save everything into the folder.

        While it runs, the losses go into losses.csv and the state into checkpoint.safetensors; an interrupted run
        continues from there.
        """
        settings = settings or UnlearningSettings.styles(self._chosen().w_u.device)
        checkpoint, losses = self.folder / "checkpoint.safetensors", self.folder / "losses.csv"
        # an interrupt between two steps saves the state at once, while the folder is still held
        with closing(self.erase(settings, checkpoint=checkpoint)) as steps:
            for _ in recorded(bar(steps, settings.steps, "unlearning"), losses):
                pass
        self.save()
        loss_curves(history(losses)).save(self.folder / "curves.png")
        checkpoint.unlink(missing_ok=True)
        return self.report

    def save(self) -> Path:
        """Write student.safetensors, latents.safetensors, metrics.json and before_after.png; returns the folder."""
        person, report = self._chosen(), self.report or self.measure()
        save_student(self.folder / "student.safetensors", self.student, self.facts.get("generator"))
        kept = {"w_u": person.w_u, "w_t": self.w_t} | ({} if person.photo is None else {"photo": person.photo})
        save_tensors(self.folder / "latents.safetensors", kept)
        facts = {"person": person.name} | person.facts
        settings = {} if self._settings is None else {"settings": asdict(self._settings)}
        write_json(self.folder / "metrics.json", report.as_dict() | self.facts | facts | settings)
        self.figure().save(self.folder / "before_after.png")
        return self.folder

    @classmethod
    def load(cls, folder: Path, device: str | torch.device | None = None) -> Session:
        """The session that was saved into a folder: its networks, the person, the target and the student.

        Raises:
            GuideError: the folder holds no finished run, or a file in it is damaged.
        """
        try:
            facts = json.loads((folder / "metrics.json").read_bytes())
            names = {key: facts[key] for key in ("embedder", "judge", "quirks")}
            # older runs do not say at which resolution
            resolution = facts.get("resolution") or load_student(folder / "student.safetensors").resolution
            session = cls.open(facts["generator"], resolution, device, folder, **names)
        except (OSError, ValueError, LookupError) as error:
            raise GuideError(f"{folder} holds no finished run of `unlearn`; name the folder of one.") from error
        latents, _ = load_tensors(folder / "latents.safetensors")
        w_u, session.w_t = (latents[name].to(session.generator.w_avg) for name in ("w_u", "w_t"))
        session.person = Person(facts.get("person", folder.name), w_u, latents.get("photo"))
        weights, _ = load_tensors(folder / "student.safetensors")
        session.students.append(dressed(session.generator.student(), weights))
        return session

    def _chosen(self) -> Person:
        if self.person is None:
            raise GuideError("Nobody was chosen yet; say who by choose(photo=...) or choose(seed=...).")
        return self.person
