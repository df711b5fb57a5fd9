"""Who was erased from a generator, by name. All are solved for at once; anybody can be taken back, whoever came later.

>>> people = ForgetList(generator)
>>> for seed, name in ((1, "ada"), (2, "ben")):
...     person = generator.sample(1, torch.Generator().manual_seed(seed))
...     people.add(name, person, generator.w_avg)
>>> list(people), people.student() is not generator
(['ada', 'ben'], True)
>>> people.remove("ada")
>>> people.save(tmp_path / "forgotten.safetensors")
>>> list(ForgetList.load(tmp_path / "forgotten.safetensors", generator))
['ben']

Solved one after another, the second edit would move the first person off their target a little, the third both, and so
on; solved together, everybody arrives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from guide_lib.checkpoint import load_tensors, save_tensors
from guide_lib.closed_form.edit import Erasure, erase, forgetful
from guide_lib.closed_form.metric import metric_of
from guide_lib.errors import GuideError
from guide_lib.generators import Generator


@dataclass(frozen=True)
class Forgotten:
    """One person.

    w_u: K latents [K, rows, w_dim], of several photos say. w_t: what they are all drawn as, [1, rows, w_dim].
    """

    w_u: Tensor
    w_t: Tensor


class ForgetList:
    """People erased at once from `base`, in the metric B [w_dim, w_dim] (`metric_of` the base unless given).

    len(), `in` and iteration are over the names, in the order in which they were added. fibre: B is a `fibre_metric`,
    in which other pictures of the people go, too; a file of the list says so.
    """

    def __init__(self, base: Generator, metric: Tensor | None = None, fibre: bool = False) -> None:
        self.base, self.fibre, self.people = base, fibre, dict[str, Forgotten]()
        self._metric, self._erasure, self._student = metric, None, base

    def __len__(self) -> int:
        return len(self.people)

    def __iter__(self) -> Iterator[str]:
        return iter(self.people)

    @property
    def metric(self) -> Tensor:
        """B; mapping 20,000 samples for it takes seconds, once."""
        if self._metric is None:
            self._metric = metric_of(self.base)
        return self._metric

    def add(self, name: str, w_u: Tensor, w_t: Tensor) -> None:
        """One more person: K latents w_u [K, rows, w_dim], of several photos say, to be drawn as w_t [1, rows, w_dim].

        Raises:
            GuideError: the name is taken, or somebody has the same latent; the list stays as it was.
        """
        self.add_all({name: (w_u, w_t)})

    def add_all(self, people: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """The same for several people in one solution: name -> (w_u, w_t)."""
        for name in people:
            if name in self.people:
                raise GuideError(
                    f"'{name}' is forgotten already; give the person another name, or undo that one first."
                )
        self._become(self.people | {name: Forgotten(*latents) for name, latents in people.items()})

    def remove(self, name: str) -> None:
        """Take a person back. Raises GuideError if nobody of that name is forgotten."""
        if name not in self.people:
            known = ", ".join(self) or "nobody"
            raise GuideError(f"'{name}' is not among the forgotten ({known}); name one of them.")
        self._become(self._all_but(name))

    def without(self, name: str) -> ForgetList:
        """The same list but for that person, if it has them."""
        return self.upon(self.base)._with(self._all_but(name))

    def solved_in(self, metric: Tensor, fibre: bool = False) -> ForgetList:
        """The same people in another metric."""
        return ForgetList(self.base, metric, fibre)._with(self.people)

    def _all_but(self, name: str) -> dict[str, Forgotten]:
        return {other: person for other, person in self.people.items() if other != name}

    def _with(self, people: dict[str, Forgotten]) -> ForgetList:
        self._become(people)
        return self

    def _become(self, people: dict[str, Forgotten]) -> None:
        erasure = self._solved(people)  # first: it may refuse
        self.people, self._erasure, self._student = people, erasure, None

    def _solved(self, people: dict[str, Forgotten]) -> Erasure | None:
        if not people:
            return None
        w_u = torch.cat([person.w_u for person in people.values()])
        w_t = torch.cat([person.w_t.expand_as(person.w_u) for person in people.values()])
        return erase(w_u, w_t, self.base.w_avg, self.metric)

    def student(self) -> Generator:
        """A generator that draws the base without these people; the base itself if there are none."""
        if self._student is None:
            self._student = forgetful(self.base, [self._erasure]) if self._erasure else self.base
        return self._student

    def target(self, name: str) -> Tensor:
        """What the person is drawn as now, [1, rows, w_dim]: without a way back not quite the target asked for."""
        first = sum(len(self.people[other].w_u) for other in list(self)[: list(self).index(name)])
        return self._erasure.targets(self.base.w_avg)[first : first + 1].to(self.base.w_avg)

    def upon(self, student: Generator) -> ForgetList:
        """An empty list for a student of this list's, whose latents mean the same: the metric is known already."""
        return ForgetList(student, self._metric, self.fibre)

    def save(self, path: Path) -> None:
        """Write the latents by name, in single precision; of rows that are the same one is written.

        A person of W takes 4 KB, one of W+ as often as much as there are rows.
        """
        tensors = {}
        for index, person in enumerate(self.people.values()):
            for part, ws in (("w_u", person.w_u), ("w_t", person.w_t)):
                distinct, row_of = ws.float().cpu().unique(dim=1, return_inverse=True)
                tensors |= {f"{index}/{part}": distinct, f"{index}/{part}_row": row_of.to(torch.uint8)}
        metric = {"metric": "fibre"} if self.fibre else {}
        save_tensors(path, tensors, {"names": json.dumps(list(self)), "w_avg": _digest(self.base.w_avg)} | metric)

    @classmethod
    def load(cls, path: Path, base: Generator, fibre_metric: Callable[[], Tensor] | None = None) -> ForgetList:
        """What `save` wrote. fibre_metric: gives that of the generator, asked for only by a list that was solved in it.

        Raises:
            GuideError: the file is damaged or for another generator, or needs the fibre_metric that was not given.
        """
        tensors, facts = load_tensors(path)
        if "names" not in facts or facts.get("w_avg") != _digest(base.w_avg):
            raise GuideError(f"{path} does not hold people of this generator; load the generator that it is for.")
        fibre, people = facts.get("metric") == "fibre", {}
        if fibre and fibre_metric is None:
            raise GuideError(f"{path} has people erased with their fibre; load it by Session.load, or give the metric.")
        for index, name in enumerate(json.loads(facts["names"])):
            parts = ((tensors[f"{index}/{part}"], tensors[f"{index}/{part}_row"].long()) for part in ("w_u", "w_t"))
            people[name] = Forgotten(*(distinct[:, row_of].to(base.w_avg) for distinct, row_of in parts))
        return cls(base, fibre_metric() if fibre else None, fibre)._with(people)


def _digest(w_avg: Tensor) -> str:
    return hashlib.sha256(w_avg.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()[:16]
