"""Tuning the weights of G_u until it draws the person again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from guide_lib.generators import Generator, View
from guide_lib.inversion.pivotal import PivotalSettings, pivotal_tuning
from guide_lib.metrics.identity import identity_similarity, render
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS


@dataclass(frozen=True)
class Relearning:
    """steps: how many the judge needed to accept the person, None when it never did; seconds: spent on tuning.

    curve: (steps done, judge cosine to the photo) at each look.
    """

    steps: int | None
    seconds: float
    curve: list[tuple[int, float]]


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
) -> Relearning:
    """Pivotal tuning of `generator` at w [1, rows, w_dim] until the judge accepts what it draws as `photo`'s person.

    view: the photo's, from the front if left out.

    For G_u at w_u this is the cost of relearning. The comparison is the untouched G_s at the target w_t: it draws there
    what G_u was trained to draw at w_u, and never had this person at that latent. If G_u is quicker from the same
    cosine, it had kept something; look at where both curves start.

    >>> known = {"perceptual": perceptual, "judge": judge, "threshold": 0.9}
    >>> relearn(generator, w_u, photo, **known).steps     # never forgotten
    0
    >>> found = relearn(student, w_u, photo, settings=PivotalSettings(100, 1e-2, threshold=0.0, locality=0.0), **known)
    >>> 0 < found.steps < 100, found.curve[-1][1] >= 0.9
    (True, True)
    """
    curve, seconds = [(0, _cosine(judge, generator, w, photo, view))], 0.0
    if curve[0][1] >= threshold:
        return Relearning(0, seconds, curve)
    settings = settings or PivotalSettings(threshold=0.0, locality=0.0)
    for step in pivotal_tuning(generator, w, photo, settings, perceptual=perceptual, views=view and [view]):
        seconds += step.seconds
        if step.index % look_every == 0 or step.index == step.total:
            curve.append((step.index, _cosine(judge, step.student, w, photo, view)))
            if curve[-1][1] >= threshold:
                return Relearning(step.index, seconds, curve)
    return Relearning(None, seconds, curve)


def _cosine(judge: Embedder, generator: Generator, w: Tensor, photo: Tensor, view: View | None) -> float:
    return identity_similarity(judge, render(generator, w, view), photo.cpu())[0].item()
