"""Views on what was measured before: thresholds, mixtures of losses, other people. They draw at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import ipywidgets as ipw
import torch
from PIL import Image

from guide_lib.experiment import other_people
from guide_lib.figures.charts import LEVELS, curves, histogram
from guide_lib.figures.layout import GAP, stack
from guide_lib.figures.plots import Picture, image_grid
from guide_lib.metrics.identity import accept_rates, identity_similarity
from guide_lib.widgets.base import WIDE
from guide_lib.widgets.explorers import Explorer, slider

if TYPE_CHECKING:
    from guide_lib.session import Session


class ThresholdSlider(Explorer):
    """Cosines of pairs of one person and of two, and what a threshold makes of them. Control: `threshold` in [-1, 1].

    Args:
        same, different: the cosines, each a vector.

    >>> ThresholdSlider(torch.tensor([0.9, 0.4]), torch.tensor([0.6, 0.1]), threshold=0.5).state()
    'At 0.50, 50.0% of the same and 50.0% of the different pairs are accepted.'
    """

    def __init__(self, same: torch.Tensor, different: torch.Tensor, threshold: float = 0.0) -> None:
        self.same, self.different = same, different
        super().__init__(threshold=slider(ipw.FloatSlider, "Threshold", value=threshold, min=-1.0, max=1.0, step=0.02))

    def picture(self) -> Image.Image:
        groups = {"two people": self.different.tolist(), "the same person": self.same.tolist()}
        chosen = self.controls["threshold"].value
        return histogram(groups, "identity cosine", chosen, levels=LEVELS | {"chosen": chosen})

    def state(self) -> str:
        threshold = self.controls["threshold"].value
        true, false = accept_rates(self.same, self.different, threshold)
        return f"At {threshold:.2f}, {true:.1%} of the same and {false:.1%} of the different pairs are accepted."


class LossMixer(Explorer):
    """Weigh losses that were measured along a line of students and see where their sum is least.

    A control for every loss, its weight in [0, 8].

    Args:
        positions: where each student stands, 0 the untouched generator.
        losses: name -> its value for each student.
        faces: for each student the pictures to show. labels: what they are.

    Raises:
        ValueError: the lengths differ.

    >>> losses = {"local": [3.0, 1.0, 0.5], "global": [0.0, 0.5, 2.0]}
    >>> mixer = LossMixer([0.0, 0.5, 1.0], losses, [[photo]] * 3, ["person"])
    >>> mixer.total(), mixer.best()
    ([3.0, 1.5, 2.5], 1)
    >>> mixer.set(**{"global": 8.0})
    >>> mixer.best()                                      # whoever weighs the others higher goes less far
    0
    """

    def __init__(
        self,
        positions: Sequence[float],
        losses: Mapping[str, Sequence[float]],
        faces: Sequence[Sequence[Picture]],
        labels: Sequence[str],
    ) -> None:
        if any(len(values) != len(positions) for values in [*losses.values(), faces]):
            raise ValueError("every loss and every list of faces needs one entry for each position")
        self.positions, self.losses, self.faces, self.labels = positions, losses, faces, labels
        weights = {"value": 1.0, "min": 0.0, "max": 8.0, "step": 0.5}
        super().__init__(**{name: slider(ipw.FloatSlider, name.capitalize(), **weights) for name in losses})

    def total(self) -> list[float]:
        """The weighted sum for each student."""
        weights = {name: control.value for name, control in self.controls.items()}
        columns = zip(*self.losses.values(), strict=True)
        return [sum(w * value for w, value in zip(weights.values(), column, strict=True)) for column in columns]

    def best(self) -> int:
        """The index of the student with the least sum; the first of several."""
        total = self.total()
        return total.index(min(total))

    def picture(self) -> Image.Image:
        weights = {name: control.value for name, control in self.controls.items()}
        weighted = {f"{weights[k]:g} x {k}": [weights[k] * v for v in values] for k, values in self.losses.items()}
        lines = {**weighted, "total": self.total()}
        faces = image_grid([self.faces[self.best()]], None, self.labels, tile=160)
        width = max(faces.width, 560)
        place = self.positions[self.best()]
        went, weighed = "how far the student went", "loss times its weight"
        return stack([curves(self.positions, lines, went, weighed, place, (width, 260)), faces], GAP)

    def state(self) -> str:
        weights = ", ".join(f"{name} {control.value:g}" for name, control in self.controls.items())
        place = self.best()
        there = ", ".join(f"{name} {values[place]:.2f}" for name, values in self.losses.items())
        least = f"the sum is least at position {self.positions[place]:.2f}"
        return f"Weights {weights}: {least}, where the losses are {there}."


class PeopleGrid(Explorer):
    """Other people before and after, a page at a time. Controls: `order` ("drawn" or "most changed") and `page`.

    Args:
        before, after: their pictures, in the same order.
        likeness: for each the judge's cosine between the two.
        per_page: how many people at a time.

    Raises:
        ValueError: the lengths differ, or there is nobody.

    >>> grid = PeopleGrid([photo] * 4, [photo] * 4, likeness=[0.9, 0.5, 0.8, 0.95], per_page=2)
    >>> grid.set(order="most changed")
    >>> grid.shown()
    [1, 2]
    """

    def __init__(
        self, before: Sequence[Picture], after: Sequence[Picture], likeness: Sequence[float], per_page: int = 6
    ) -> None:
        if not len(before) == len(after) == len(likeness) > 0:
            raise ValueError("as many pictures before as after, and as many cosines, at least one of each")
        self.before, self.after, self.likeness, self.per_page = before, after, likeness, per_page
        pages = -(-len(before) // per_page)
        order = ipw.ToggleButtons(options=["drawn", "most changed"], description="Order", style=WIDE)
        super().__init__(order=order, page=slider(ipw.IntSlider, "Page", value=1, min=1, max=max(pages, 1)))

    @classmethod
    def of(cls, session: Session, people: int = 32) -> PeopleGrid:
        """Other people as the untouched generator and as the student of a session draws them."""
        crowd = other_people(session.generator, people)
        before, after = session.draw(crowd, before=True), session.draw(crowd)
        return cls(list(before), list(after), identity_similarity(session.networks.judge, before, after)[0].tolist())

    def shown(self) -> list[int]:
        """The people on this page, by their place in the lists."""
        people = list(range(len(self.likeness)))
        if self.controls["order"].value == "most changed":
            people.sort(key=lambda i: self.likeness[i])
        start = (self.controls["page"].value - 1) * self.per_page
        return people[start : start + self.per_page]

    def picture(self) -> Image.Image:
        shown = self.shown()
        rows = [[pictures[i] for i in shown] for pictures in (self.before, self.after)]
        return image_grid(rows, ["before", "after"], [f"cosine {self.likeness[i]:.2f}" for i in shown], tile=120)

    def state(self) -> str:
        cosines = ", ".join(f"{self.likeness[i]:.2f}" for i in self.shown())
        return f"Other people before and after, judge cosines {cosines}; lowest of all {min(self.likeness):.2f}."
