"""Scrub through an inversion after it has run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import ipywidgets as ipw
import torch
from PIL import Image

from guide_lib.figures.layout import GAP, stack
from guide_lib.figures.plots import LossPoint, Picture, image_grid, loss_curves
from guide_lib.widgets.base import WIDE
from guide_lib.widgets.explorers import DrawnExplorer

if TYPE_CHECKING:
    from guide_lib.inversion.optimise import InversionStep


class InversionScrubber(DrawnExplorer):
    """The photo, what the code draws after a step, and the loss curve. Control: `step`, at first the last one.

    Args:
        photo: the aligned photo, [3, S, S] or [1, 3, S, S] in [-1, 1].
        steps: what `inversion_steps` gave, all of it; of several photos the first is shown.
        render: called with one code [1, rows, w_dim], without gradients; returns its picture.

    Raises:
        ValueError: there is no step.
    """

    def __init__(
        self, photo: Picture, steps: Sequence[InversionStep], render: Callable[[torch.Tensor], Picture]
    ) -> None:
        if not steps:
            raise ValueError("the inversion has no step to show")
        self.photo, self.steps, self._draw = photo, list(steps), render
        self._curve = [LossPoint(step.index, {step.space: step.loss[0].item()}) for step in steps]
        count = len(self.steps)
        slider = ipw.IntSlider(value=count, min=1, max=count, description="Step", continuous_update=False, style=WIDE)
        super().__init__(self._figure, "", step=slider)

    def settings(self) -> str:
        step = self._shown()
        last = f"step {step.index} of {len(self.steps)}"
        return f"The inversion after {last}, in {step.space}; the loss was {step.loss[0].item():.3f} before it."

    def _shown(self) -> InversionStep:
        return self.steps[self.controls["step"].value - 1]

    def _figure(self, step: int) -> Image.Image:
        shown = self._shown()
        labels = ["photo", f"step {step}, in {shown.space}"]
        faces = image_grid([[self.photo, self._draw(shown.ws[:1])]], None, labels, tile=224)
        return stack([faces, loss_curves(self._curve, width=faces.width, height=200, mark=step)], GAP)
