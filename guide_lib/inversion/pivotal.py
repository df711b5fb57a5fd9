"""Pivotal tuning: change the generator a little, so that it draws a photo at a given latent (Roich et al. 2021,
arXiv 2106.05744).

>>> settings = PivotalSettings(steps=3, learning_rate=1e-2)
>>> for step in pivotal_tuning(generator, generator.w_avg, photo, settings, perceptual=perceptual):
...     print(step.index, f"{step.losses['perceptual']:.3f}")
1 0.483
2 0.335
3 0.228
>>> tuned = step.student

Inversion moves the code to the photo; here the code, the pivot w_p, stays and the generator moves. On an unlearned
generator the same loop is the attack that brings the person back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.generators import Generator, View
from guide_lib.perception.crops import area_resized
from guide_lib.perception.perceptual import LPIPS
from guide_lib.runtime import step_rng
from guide_lib.variants import start_training

PAPER_ROWS = 18  # StyleGAN2's W+ at 1024 px; the distance alpha = 30 belongs to this many rows
# Added to the seed: an attack on an unlearned generator must not meet the very people that held it in place.
STREAM = 1_000
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": partial(torch.optim.SGD, momentum=0.9)}


@dataclass(frozen=True)
class PivotalSettings:
    """Everything that decides the result, with the values that the authors released.

    steps, learning_rate: at most so many steps, at a constant rate.
    optimizer: "adam", or "sgd" with momentum 0.9.
    trained: what learns, a name in `guide_lib.variants`.
    pixel: weight of the mean square error beside LPIPS, lambda_L2.
    threshold: stop when the LPIPS of every photo is at most this (theirs is AlexNet's, as `load_lpips("alex")`).
    locality: weight of the regulariser, lambda_R; 0 switches it off and saves its passes.
    locality_pixel: weight of the mean square error inside it, lambda_L2^R.
    n_locality: random codes for each photo and step, N_r.
    alpha: distance of these codes from the pivot, in the paper's scale of 18 rows.
    seed: of their draws.
    """

    steps: int = 350
    learning_rate: float = 3e-4
    optimizer: str = "adam"
    trained: str = "weights"
    pixel: float = 1.0
    threshold: float = 0.07
    locality: float = 0.1
    locality_pixel: float = 1.0
    n_locality: int = 1
    alpha: float = 30.0
    seed: int = 0


@dataclass(frozen=True)
class PivotalStep:
    """One step.

    index, total: its number, counted from 1, and the most it can reach. seconds: what it took. student: the tuned copy.
    losses: perceptual, pixel, locality (unweighted, means over the photos) and total, measured before the update.
    The step that finds every photo below the threshold updates nothing and is the last.
    """

    index: int
    total: int
    losses: dict[str, float]
    seconds: float
    student: Generator


def pivotal_tuning(
    generator: Generator,
    w_pivot: Tensor,
    photos: Tensor,
    settings: PivotalSettings | None = None,
    *,
    perceptual: LPIPS,
    views: Sequence[View] | None = None,
) -> Iterator[PivotalStep]:
    """Tune a copy of `generator` so that w_pivot [N, rows, w_dim] draws the aligned photos [N, 3, S, S] in [-1, 1].

    The copy's trainable parameters change; mapping and image head stay. Each step yields the same, further tuned copy.

    Raises:
        GuideError: the numbers of pivots and photos differ, the loss is not finite, or the optimiser is unknown.

    >>> *_, step = pivotal_tuning(generator, w_u, photo, perceptual=perceptual)
    >>> step.index, step.total                            # w_u draws the photo already: nothing is left to tune
    (1, 350)
    """
    s = settings or PivotalSettings()
    if len(w_pivot) != len(photos):
        raise GuideError(f"There are {len(photos)} photos but {len(w_pivot)} pivots; give one pivot for each photo.")
    if s.optimizer not in OPTIMIZERS:
        raise GuideError(f"There is no optimiser '{s.optimizer}'; choose one of: {', '.join(OPTIMIZERS)}.")
    training = start_training(s.trained, generator, step_rng(STREAM + s.seed, 0))  # the steps count from 1
    student = training.student
    optimizer = OPTIMIZERS[s.optimizer](training.parameters.values(), lr=s.learning_rate)
    objective = _PivotalLoss(generator, w_pivot, photos, s, perceptual, views)
    for index in range(1, s.steps + 1):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        losses, reached = objective.backward(student, step_rng(STREAM + s.seed, index))
        if not math.isfinite(losses["total"]):
            raise GuideError(
                f"The loss of pivotal tuning became {losses['total']} at step {index}; use a smaller learning rate."
            )
        if not reached:
            training.collect()
            optimizer.step()
            training.apply()
        yield PivotalStep(index, s.steps, losses, time.perf_counter() - started, student)
        if reached:
            return


def nearby_codes(w_pivot: Tensor, others: Tensor, alpha: float) -> Tensor:
    """w_r = w_p + alpha (w_z - w_p) / ||w_z - w_p||: from each pivot a step of fixed length toward another person.

    w_pivot, others w_z: [N, rows, w_dim]; alpha in the paper's scale of 18 rows, so that a row moves as far as there.

    >>> w_r = nearby_codes(w_u, generator.sample(1, rng), alpha=30.0)
    >>> (w_r - w_u).norm().item()                         # of 3 rows: 30 sqrt(3 / 18)
    12.247
    """
    direction = others - w_pivot
    length = alpha * math.sqrt(w_pivot.shape[1] / PAPER_ROWS) / direction.flatten(1).norm(dim=1)
    return w_pivot + length[:, None, None] * direction


class _PivotalLoss:
    """LPIPS + lambda_L2 L2 at the pivots, and the locality regulariser around them. The photos are looked at once."""

    def __init__(
        self,
        original: Generator,
        w_pivot: Tensor,
        photos: Tensor,
        settings: PivotalSettings,
        perceptual: LPIPS,
        views: Sequence[View] | None,
    ) -> None:
        self.original, self.settings, self.perceptual, self.views = original, settings, perceptual, views
        self.w_pivot = w_pivot.detach().to(original.w_avg)
        with torch.no_grad():
            self.photos = area_resized(photos.to(original.w_avg), original.resolution)
            self.look = perceptual.features(self.photos)

    def backward(self, student: Generator, rng: torch.Generator) -> tuple[dict[str, float], bool]:
        """Add the gradients to the student's parameters; returns the losses, and whether the threshold is reached."""
        s = self.settings
        others = self.original.sample(s.n_locality * len(self.w_pivot), rng)
        lpips, pixel = self.at_pivots(student)
        mean, worst, pixel = torch.stack([lpips.mean(), lpips.max(), pixel.mean()]).tolist()  # one wait for a GPU
        losses = {"perceptual": mean, "pixel": pixel, "locality": 0.0}
        losses["total"] = losses["perceptual"] + s.pixel * losses["pixel"]
        reached = worst <= s.threshold
        if s.locality and s.n_locality and not reached:
            losses["locality"] = self.locality(student, others).mean().item()
            losses["total"] += s.locality * losses["locality"]
        return losses, reached

    def at_pivots(self, student: Generator) -> tuple[Tensor, Tensor]:
        """LPIPS and L2 of each photo [N]. Backward a few photos at a time, which bounds the memory."""
        found = []
        for part in student.batches(len(self.photos)):
            image = student.pictures(self.w_pivot[part], self.views and self.views[part])
            lpips = self.perceptual.distance(self.perceptual.features(image), [look[part] for look in self.look])
            pixel = (image - self.photos[part]).square().mean((1, 2, 3))
            ((lpips + self.settings.pixel * pixel).sum() / len(self.photos)).backward()
            found.append((lpips.detach(), pixel.detach()))
        lpips, pixel = (torch.cat(values) for values in zip(*found, strict=True))
        return lpips, pixel

    def locality(self, student: Generator, others: Tensor) -> Tensor:
        """L_R [N_r N]: how far the tuned generator has moved from the original one at each code around the pivots.

        Backward, weighted, a few codes at a time.
        """
        s, found = self.settings, []
        pivots = self.w_pivot.repeat(s.n_locality, 1, 1)
        codes = nearby_codes(pivots, others, s.alpha)
        views = self.views and [*self.views] * s.n_locality
        for part in student.batches(len(codes)):
            with torch.no_grad():
                kept = self.original.pictures(codes[part], views and views[part])
            image = student.pictures(codes[part], views and views[part])
            moved = self.perceptual(image, kept) + s.locality_pixel * (image - kept).square().mean((1, 2, 3))
            (s.locality * moved.sum() / len(codes)).backward()
            found.append(moved.detach())
        return torch.cat(found)
