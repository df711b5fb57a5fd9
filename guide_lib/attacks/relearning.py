"""Tuning the weights of G_u until it draws the person again, with the person's photo or without.

>>> settings = PivotalSettings(60, 1e-2, threshold=0.0, locality=0.0)
>>> known = {"perceptual": perceptual, "judge": judge, "threshold": 0.9, "settings": settings}
>>> both = relearn_beside(student, generator, w_u, w_t, photo, **known)
>>> both.student.steps, both.control.steps                # accepted after so many steps; None: not within these 60
(15, None)
>>> print(f"from {both.equal.cosine:.1f} on, over {both.equal.steps:.0f} steps: {both.equal.lead:.1f}")
from -0.5 on, over 15 steps: 0.2

Pivotal tuning brings anybody into a generator, so success says nothing. The comparison is the untouched G_s at the
target w_t: it draws there what G_u was trained to draw at w_u, and never had this person at that latent. The two begin
at different cosines, so the curves are laid beside one another from the first cosine that both have reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from guide_lib.attacks.chance import attack_rng
from guide_lib.generators import Generator, View
from guide_lib.inversion.pivotal import PivotalSettings, pivotal_tuning
from guide_lib.metrics.identity import identity_similarity, render
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS

# By Adam or SGD, all weights or LoRA's. Rates tried on one person at 128 px, 40 steps: SGD diverges from 3e-2
# on and is slower at 3e-3; LoRA is slower at 1e-3 and does not arrive at 1e-2.
TUNERS = {
    "adam": PivotalSettings(threshold=0.0, locality=0.0),
    "sgd": PivotalSettings(optimizer="sgd", learning_rate=1e-2, threshold=0.0, locality=0.0),
    "lora": PivotalSettings(trained="lora", learning_rate=3e-3, threshold=0.0, locality=0.0),
}
LESSONS = 4  # other people to tune on
Curve = Sequence[tuple[int, float]]  # (steps done, judge cosine to the photo)


@dataclass(frozen=True)
class Relearning:
    """steps: how many the judge needed to accept the person, None when it never did; seconds: spent on tuning.

    curve: (steps done, judge cosine to the photo) at each look.
    """

    steps: int | None
    seconds: float
    curve: list[tuple[int, float]]


@dataclass(frozen=True)
class EqualStart:
    """Two curves of relearning from the first cosine that both have reached.

    cosine: at which both are entered. entered, entered_control: after how many steps of their own they reached it.
    steps: for so many both are known from there. gain, gain_control: how much higher the cosine is, mean over these
    steps (the area between curve and start, over the steps).
    """

    cosine: float
    entered: float
    entered_control: float
    steps: float
    gain: float
    gain_control: float

    @property
    def lead(self) -> float:
        """Above 0: from the same cosine the student is the quicker one, so it had kept something."""
        return self.gain - self.gain_control


@dataclass(frozen=True)
class RelearningBeside:
    """student: G_u at w_u. control: G_s at w_t. equal: both from an equal start, None if they share none."""

    student: Relearning
    control: Relearning
    equal: EqualStart | None


def relearn(
    generator: Generator,
    w: Tensor,
    photo: Tensor,
    *,
    perceptual: LPIPS,
    judge: Embedder,
    threshold: float,
    settings: PivotalSettings | None = None,
    look_every: int = 5,
    view: View | None = None,
    lessons: tuple[Tensor, Tensor] | None = None,
    stop: bool = True,
) -> Relearning:
    """Pivotal tuning of `generator` at w [1, rows, w_dim] until the judge accepts what it draws as `photo`'s person.

    settings: `TUNERS` has some. view: the photo's, from the front if left out. lessons: latents [K, rows, w_dim] and
    photos [K, 3, S, S] of other people; the tuning is on these alone, without the person's picture. stop: when the
    judge accepts; a curve that goes on to the last step can be compared for longer.

    >>> known = {"perceptual": perceptual, "judge": judge, "threshold": 0.9}
    >>> relearn(generator, w_u, photo, **known).steps     # never forgotten
    0
    >>> found = relearn(student, w_u, photo, settings=PivotalSettings(100, 1e-2, threshold=0.0, locality=0.0), **known)
    >>> 0 < found.steps < 100, found.curve[-1][1] >= 0.9
    (True, True)
    """
    curve, seconds = [(0, _cosine(judge, generator, w, photo, view))], 0.0
    accepted = 0 if curve[0][1] >= threshold else None
    if accepted == 0 and stop:
        return Relearning(0, seconds, curve)
    ws, photos = lessons or (w, photo)
    views = None if lessons else view and [view]
    for step in pivotal_tuning(generator, ws, photos, settings or TUNERS["adam"], perceptual=perceptual, views=views):
        seconds += step.seconds
        if step.index % look_every == 0 or step.index == step.total:
            curve.append((step.index, _cosine(judge, step.student, w, photo, view)))
            if accepted is None and curve[-1][1] >= threshold:
                accepted = step.index
            if accepted is not None and stop:
                break
    return Relearning(accepted, seconds, curve)


def relearn_beside(
    student: Generator, generator: Generator, w_u: Tensor, w_t: Tensor, photo: Tensor, **options: Any
) -> RelearningBeside:
    """Relearning by G_u at w_u, learning by G_s at w_t, and both from an equal start. options: of `relearn`."""
    both = relearn(student, w_u, photo, **options), relearn(generator, w_t, photo, **options)
    return RelearningBeside(*both, from_equal_start(both[0].curve, both[1].curve))


def from_equal_start(curve: Curve, control: Curve) -> EqualStart | None:
    """Lay two curves beside one another: the one that begins lower is entered where it reaches the other's beginning.

    None if it never does, or nothing follows. Between two looks a curve is a straight line.

    >>> found = from_equal_start([(0, 0.2), (10, 0.8)], [(0, -0.2), (10, 0.0), (20, 0.4), (30, 0.6)])
    >>> found.entered_control, found.steps, found.gain, found.lead                # 0.2 after 15 steps
    (15.0, 10.0, 0.3, 0.125)
    """
    cosine = max(curve[0][1], control[0][1])
    entered = [_first_reached(line, cosine) for line in (curve, control)]
    if None in entered:
        return None
    steps = min(line[-1][0] - at for line, at in zip((curve, control), entered, strict=True))
    if steps <= 0:
        return None
    gains = [_mean_between(line, at, at + steps) - cosine for line, at in zip((curve, control), entered, strict=True)]
    return EqualStart(cosine, *entered, steps, *gains)


def lessons_of(generator: Generator, count: int = LESSONS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Latents and pictures of other people, as `relearn` takes them: what anybody may have who kept the old pictures.

    >>> [list(part.shape) for part in lessons_of(generator)]
    [[4, 3, 6], [4, 3, 16, 16]]
    """
    ws = generator.sample(count, attack_rng(seed), 0.7)
    return ws, render(generator, ws)


def _first_reached(curve: Curve, cosine: float) -> float | None:
    """After how many steps a curve reaches the cosine, None if it never does."""
    steps, cosines = zip(*curve, strict=True)
    for k, value in enumerate(cosines):
        if value >= cosine:
            return float(steps[k]) if k == 0 else float(np.interp(cosine, cosines[k - 1 : k + 1], steps[k - 1 : k + 1]))
    return None


def _mean_between(curve: Curve, first: float, last: float) -> float:
    """The mean of a piecewise straight line between two places."""
    steps, cosines = (np.array(values, dtype=float) for values in zip(*curve, strict=True))
    places = np.array([first, *steps[(steps > first) & (steps < last)], last])
    heights = np.interp(places, steps, cosines)
    return float((np.diff(places) * (heights[1:] + heights[:-1]) / 2).sum() / (last - first))


def _cosine(judge: Embedder, generator: Generator, w: Tensor, photo: Tensor, view: View | None) -> float:
    return identity_similarity(judge, render(generator, w, view), photo.cpu())[0].item()
