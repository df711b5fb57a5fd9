"""Live progress of an unlearning run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import torch
from PIL import Image

from guide_lib.evaluation.results import score_of
from guide_lib.figures.layout import GAP, stack
from guide_lib.figures.plots import Picture, image_grid, loss_curves, to_pil
from guide_lib.widgets.base import WIDE, View

if TYPE_CHECKING:
    from guide_lib.metrics import Report
    from guide_lib.session import Session
    from guide_lib.unlearning import Step, UnlearningSettings

CLICK_SECONDS = 0.005  # between two steps, for the kernel to deliver a click on Stop


class UnlearningDashboard(View):
    """Live progress of a run: a bar, a sentence, the face before / now / target, the loss curves.

    Args:
        total: number of steps the run will take.
        before, target: the person as the untouched generator draws them, and the face to become.
        render: called with a step, without gradients; returns the person as drawn now.
        every: steps between two drawings of the pictures; the bar moves at every step.

    `stopped` turns true when the Stop button is pressed. `of(session, settings)` watches the next erasure of a session.
    In a notebook: `last = await dashboard.run(session.erase(settings))`, and then `dashboard.judge(session.measure())`.

    >>> from guide_lib.unlearning import Step
    >>> target = generator.picture(w_t)
    >>> dashboard = UnlearningDashboard(5, photo, target, render=lambda step: step.student.picture(w_u), every=1)
    >>> dashboard.show(Step(1, 5, {"local": 0.25}, 0.1, student))
    >>> dashboard.progress.value, dashboard.state().split(";")[:2]
    (1, ['Unlearning: step 1 of 5', ' local loss 0.250'])
    """

    def __init__(
        self, total: int, before: Picture, target: Picture, render: Callable[[Step], Picture], every: int = 10
    ) -> None:
        super().__init__()
        self.total, self.every, self.stopped = total, every, False
        self.history: list[Step] = []
        self._before, self._now, self._target, self._render = before, before, target, render
        self._drawn, self._started, self._judged = 0, time.monotonic(), ""
        self.progress = ipw.IntProgress(value=0, max=total, description="Unlearning", style=WIDE)
        self.button = ipw.Button(description="Stop", tooltip="Finish the current step and keep the result")
        self.button.on_click(self.stop)
        self.box = ipw.VBox([ipw.HBox([self.progress, self.button]), self.text, self.image])
        self.redraw()

    @classmethod
    def of(cls, session: Session, settings: UnlearningSettings, every: int = 10) -> UnlearningDashboard:
        """For `session.erase(settings)`: the person before, as each step draws them, and the target."""
        w_u, view = session.person.w_u, session.generator.judging_views()[0]
        w_t = session.target() if session.w_t is None else session.w_t
        before, target = session.draw(w_u, view)[0], session.draw(w_t, view, before=True)[0]
        return cls(settings.steps, before, target, lambda step: step.student.picture(w_u, view)[0], every)

    def show(self, step: Step) -> None:
        """Take in one step: move the bar and, every few steps and at the last one, redraw."""
        self.history.append(step)
        self.progress.value = step.index
        if self.stopped or step.index >= self.total or step.index % self.every == 0:
            self._draw(step)

    async def run(self, steps: Iterator[Step]) -> Step:
        """Show every step until the last, the Stop button or an interrupt of the cell; returns the last one.

        Between steps the kernel gets a moment to deliver a click. Kernels that deliver clicks only between
        cells (ipykernel before 7) need the notebook's interrupt button, which keeps the result so far, too.

        Raises:
            ValueError: there was no step.
        """
        self._started = time.monotonic()
        try:
            for step in steps:
                self.show(step)
                await asyncio.sleep(CLICK_SECONDS)
                if self.stopped:
                    break
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.stop()
        finally:
            if isinstance(steps, Generator):
                steps.close()  # lets `unlearn` write its checkpoint
        if not self.history:
            raise ValueError("the run ended before its first step")
        self._draw(self.history[-1])
        return self.history[-1]

    def judge(self, report: Report, found: float | None = None) -> None:
        """Say what was measured of the result, too.

        found: share of attacks that brought the person back, for one person 0 or 1; with it comes the score.

        >>> from guide_lib.metrics import evaluate
        >>> dashboard = UnlearningDashboard(5, photo, photo, render=lambda step: photo)
        >>> others = generator.sample(8, rng)
        >>> dashboard.judge(evaluate(student, generator, w_u, others, judge, perceptual), found=0)
        >>> dashboard.state().split(";")[1]
        ' ID -0.49, retention 0.79, lowest retention 0.55, nearest eight 0.79, others still accepted 75%, score 0.88.'
        """
        numbers = [f"ID {report.id:.2f}", f"retention {report.retention:.2f}"]
        numbers += [f"lowest retention {report.retention_min:.2f}", f"nearest eight {report.retention_nearest:.2f}"]
        numbers += [f"others still accepted {report.retained:.0%}"]
        numbers += [] if found is None else [f"score {score_of(found, report.retention):.2f}"]
        self._judged = f"; {', '.join(numbers)}"
        self.redraw()

    def stop(self, _: object = None) -> None:
        """What the Stop button does."""
        self.stopped = self.button.disabled = True

    def picture(self) -> Image.Image:
        step = self.history[-1].index if self.history else 0
        labels = ["before", f"step {step}", "target"]
        faces = image_grid([[self._before, self._now, self._target]], None, labels, tile=192)
        return stack([faces, loss_curves(self.history, width=faces.width, height=220)], GAP)

    def state(self) -> str:
        clock = f"; {self._clock(self.history[-1].index)}" if self.history else ""
        return f"{self._standing()}{clock}{self._judged}."

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """As of every view, but a stored notebook keeps the sentence of the moment at which its cell showed the view.

        So while the run can go on it says what stays true, and it never has the clock.
        """
        over = self.stopped or self._judged or (self.history and self.history[-1].index >= self.total)
        ahead = f"Unlearning, {self.total} steps: progress, losses and the face while they are taken."
        text = f"{self._standing()}{self._judged}." if over else ahead
        return super()._repr_mimebundle_(**options) | {"text/plain": text}

    def _standing(self) -> str:
        if not self.history:
            return f"Unlearning: no step of {self.total} taken yet"
        step = self.history[-1]
        losses = ", ".join(f"{name} loss {float(value):.3f}" for name, value in step.losses.items())
        return f"Unlearning: step {step.index} of {self.total}; {losses}"

    def _draw(self, step: Step) -> None:
        if step.index != self._drawn:
            with torch.no_grad():
                self._now = to_pil(self._render(step))
            self._drawn = step.index
            self.redraw()

    def _clock(self, index: int) -> str:
        spent = time.monotonic() - self._started
        left = spent / len(self.history) * (self.total - index)
        return f"{spent:.0f} s so far" + (f", about {left:.0f} s left" if index < self.total else "")
