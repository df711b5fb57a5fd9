"""Many people erased at once, and what each more of them costs the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice
from statistics import fmean
from typing import TYPE_CHECKING

import ipywidgets as ipw
import torch
from PIL import Image
from torch import Tensor

from guide_lib.closed_form import erase, forgetful
from guide_lib.experiment import other_people, sample_person
from guide_lib.figures.layout import GAP, stack
from guide_lib.figures.plots import image_grid
from guide_lib.generators import Generator, adults
from guide_lib.metrics.identity import render
from guide_lib.perception.identity import identity_cosine
from guide_lib.widgets.explorers import Explorer, slider

if TYPE_CHECKING:
    from guide_lib.session import Session


def _grown_up(generator: Generator) -> Iterator[Tensor]:
    """The adults [1, rows, w_dim] among the people of seeds 1, 2, ..."""
    people = (sample_person(generator, seed) for seed in count(1))
    return (w for w in people if adults(w, generator))


class ManyForgotten(Explorer):
    """The first of those who are erased and some others, before and after. Control: `people`, how many are erased.

    Args:
        draw: called with how many are erased, without gradients; returns pictures [shown + N, 3, S, S], first those of
            the people who are erased first, then those of N others, who never are.
        likeness: called with what `draw` gave; returns the judge's cosine of each to the same before, [shown + N].
        shown: how many of the pictures are of people to be erased.
        most: where the slider ends.

    >>> faces = torch.linspace(0, 1, 3)[:, None, None, None].expand(3, 3, 16, 16)
    >>> view = ManyForgotten(lambda people: faces / (1 + people), lambda after: 2 * after[:, 0, 0, 0], shown=1, most=9)
    >>> view.state()
    '1 person erased: cosine 0.00. 2 others: 0.75 on average, lowest 0.50.'
    """

    def __init__(
        self, draw: Callable[[int], Tensor], likeness: Callable[[Tensor], Tensor], shown: int, most: int = 100
    ) -> None:
        self._draw, self._likeness, self.shown = draw, likeness, shown
        self._before = self._drawn(0)
        self._now: tuple[int, Tensor, list[float]] | None = None  # only the newest is kept
        super().__init__(people=slider(ipw.IntSlider, "People", value=1, min=1, max=most))

    @classmethod
    def of(cls, session: Session, most: int = 100, shown: int = 8, others: int = 8) -> ManyForgotten:
        """The adults among seeds 1, 2, ... are erased from the untouched generator of a session.

        Each is replaced by the next adult of the session's strangers, unseen, so there are at most as many people as
        those.
        """
        generator, judge, strangers = session.generator, session.networks.judge, session.strangers.ws
        targets = strangers[adults(strangers, generator)][:most]
        people = torch.cat(list(islice(_grown_up(generator), len(targets))))
        watched = torch.cat([people[:shown], other_people(generator, others)])
        metric, known = session.lists[0].metric, judge.embed_faces(render(generator, watched))[0]

        def draw(first: int) -> Tensor:
            solved = [erase(people[:first], targets[:first], generator.w_avg, metric)] if first else []
            return render(forgetful(generator, solved), watched)

        return cls(draw, lambda after: identity_cosine(known, judge.embed_faces(after)[0]), shown, len(targets))

    @torch.no_grad()
    def _drawn(self, people: int) -> Tensor:
        return self._draw(people)

    def _measured(self) -> tuple[int, Tensor, list[float]]:
        """How many are erased now, the pictures and the cosines."""
        people = self.controls["people"].value
        if self._now is None or self._now[0] != people:
            after = self._drawn(people)
            with torch.no_grad():
                self._now = people, after, self._likeness(after).tolist()
        return self._now

    def cosines(self) -> tuple[list[float], list[float]]:
        """The judge's cosines of those shown who are erased, and of the others."""
        people, _, cosines = self._measured()
        return cosines[: min(people, self.shown)], cosines[self.shown :]

    def picture(self) -> Image.Image:
        people, after, cosines = self._measured()
        words = [f"{'erased' if i < people else 'not yet'} {c:.2f}" for i, c in enumerate(cosines[: self.shown])]
        groups = (slice(0, self.shown), words), (slice(self.shown, None), [f"{c:.2f}" for c in cosines[self.shown :]])
        names = ["before", "after"]
        grids = [image_grid([list(self._before[k]), list(after[k])], names, labels, tile=88) for k, labels in groups]
        return stack(grids, 2 * GAP)

    def state(self) -> str:
        people, (erased, others) = self._measured()[0], self.cosines()
        if people == 1:
            first = f"1 person erased: cosine {erased[0]:.2f}."
        else:
            first = f"{people} people erased: cosine {fmean(erased):.2f} on average of {len(erased)} of them."
        return f"{first} {len(others)} others: {fmean(others):.2f} on average, lowest {min(others):.2f}."
