"""Views on latents: edit a person, mix two, choose a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets as ipw

from guide_lib.targets import distance_from_mean, ufo_target
from guide_lib.widgets.base import WIDE
from guide_lib.widgets.explorers import DrawnExplorer, Rendered, likened, slider

if TYPE_CHECKING:
    from guide_lib.session import Session


class LatentEditor(DrawnExplorer):
    """A person of your choice, moved along a direction in a range of rows.

    Controls: `seed`, `truncation`, `direction`, `share` in [-1, 1], and the rows from `first` to `last`, both included.

    Args:
        render: called with (seed, truncation, direction, amount, rows), without gradients; returns the picture.
        reach: for each direction the amount at share 1, in the direction's unit.
        rows: how many rows a latent has.
    """

    def __init__(
        self, render: Callable[[int, float, str, float, range], Rendered], reach: dict[str, float], rows: int
    ) -> None:
        self.reach = reach
        super().__init__(
            lambda seed, truncation, direction, share, first, last: render(
                seed, truncation, direction, share * reach[direction], range(first, last + 1)
            ),
            "",
            seed=slider(ipw.IntSlider, "Seed", value=3, min=0, max=99),
            truncation=slider(ipw.FloatSlider, "Truncation", value=0.7, min=0.0, max=1.0, step=0.1),
            direction=ipw.Dropdown(options=list(reach), description="Direction", style=WIDE),
            share=slider(ipw.FloatSlider, "Share", value=0.5, min=-1.0, max=1.0, step=0.1),
            first=slider(ipw.IntSlider, "First row", value=0, min=0, max=rows - 1),
            last=slider(ipw.IntSlider, "Last row", value=rows - 1, min=0, max=rows - 1),
        )

    def settings(self) -> str:
        v = self.values()
        moved = f"moved by {v['share'] * self.reach[v['direction']]:+.1f} along '{v['direction']}'"
        where = f"in rows {v['first']} to {v['last']}" if v["first"] <= v["last"] else "in no row"
        return f"The face of seed {v['seed']} at truncation {v['truncation']:.1f}, {moved} {where}."


class LatentMixer(DrawnExplorer):
    """Two people and their mixture. Controls: seeds `a` and `b`; rows from `first` to `last` come from b.

    Args:
        render: called with (a, b, rows), without gradients; returns the picture, for example all three side by side.
        rows: how many rows a latent has.
    """

    def __init__(self, render: Callable[[int, int, range], Rendered], rows: int, a: int = 3, b: int = 12) -> None:
        super().__init__(
            lambda a, b, first, last: render(a, b, range(first, last + 1)),
            "",
            a=slider(ipw.IntSlider, "Person a", value=a, min=0, max=99),
            b=slider(ipw.IntSlider, "Person b", value=b, min=0, max=99),
            first=slider(ipw.IntSlider, "First row", value=0, min=0, max=rows - 1),
            last=slider(ipw.IntSlider, "Last row", value=rows // 2, min=0, max=rows - 1),
        )

    def settings(self) -> str:
        a, b, first, last = self.values().values()
        taken = f"rows {first} to {last}" if first <= last else "no row"
        return f"Seed {a} with {taken} of seed {b}."


class TargetSlider(DrawnExplorer):
    """Walk from a person through the mean face and past it. Control: `d`, negative on the person's side.

    Args:
        render: called with d, without gradients; returns the picture.
        person: how far the person is from the mean face, in the scale of d; the walk starts there.
        stop: how far past the mean face the walk goes.

    >>> view = TargetSlider(lambda d: photo, person=20.0)
    >>> view.set(d=-5.0)
    >>> view.state()
    'd = -5.0: 25% of the way from the mean face to the person.'
    """

    def __init__(self, render: Callable[[float], Rendered], person: float, stop: float = 40.0) -> None:
        self.person = person
        limits = {"value": -person, "min": -person, "max": stop, "step": (stop + person) / 40}
        super().__init__(render, "", d=slider(ipw.FloatSlider, "Distance d", **limits))

    @classmethod
    def of(cls, session: Session, stop: float = 40.0) -> TargetSlider:
        """UFO's line of the chosen person, as the untouched generator draws it, and the judge's cosine to them."""
        w_u, w_avg = session.person.w_u, session.generator.w_avg
        person = distance_from_mean(w_u, w_avg).item()
        return cls(likened(session, lambda d: ufo_target(w_u, w_avg, d)), person, stop)

    def settings(self) -> str:
        d = self.controls["d"].value
        if d < 0:
            return f"d = {d:+.1f}: {-d / self.person:.0%} of the way from the mean face to the person."
        return f"d = {d:+.1f}: past the mean face, opposite the person."
