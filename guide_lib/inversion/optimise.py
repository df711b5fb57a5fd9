"""Find the latents that draw photographs (step 1 of GUIDE): optimisation in W, then in W+.

>>> w_u = invert(generator, photo, perceptual=perceptual, embedder=embedder)
>>> mean, found = (perceptual(generator.picture(ws), photo).item() for ws in (generator.w_avg, w_u))
>>> found < 0.1 * mean
True

W holds one vector for all layers and stays close to what the generator knows; W+ holds one for each layer and
comes closer to the photo (Abdal et al. 2019, arXiv 1904.03189). Many photos are one batch: each has its own loss, and
Adam treats every number by itself, so each gets the code it would get alone (up to rounding: in float32 the kinks of
the networks make two codes out of the last digit of a picture, both equally good).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.generators import Generator, View
from guide_lib.perception.crops import area_resized
from guide_lib.perception.grid import grid_difference
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS
from guide_lib.runtime import mixed_precision


@dataclass(frozen=True)
class InversionSettings:
    """Steps in each space, Adam's learning rate, the weights of the loss, early stop.

    steps_w, steps_w_plus: 0 skips a space.
    learning_rate: at the start of W; W+ starts with half of it, and both fall to 0 along a cosine.
    perceptual, pixel, identity: weights of LPIPS, of the pixels' mean square error, and of 1 - cosine.
    anchor: weight of the mean square of the way from the anchor, which keeps the code where the generator draws
        faces: in W the anchor is w_avg, in W+ the code at which W+ starts.
    grid: weight of the grid of two pixels that the photo does not have (see `guide_lib.perception.grid`).
    patience, tolerance: a photo stops in a space once its best loss has not fallen by the share `tolerance` for
        `patience` steps; None never stops early.
    mixed_precision: compute pictures and LPIPS in bfloat16, as in unlearning: on a CPU that knows it, in two thirds of
        the time; rounded otherwise, a search of many starts ends at other codes, equally good.
    """

    steps_w: int = 80
    steps_w_plus: int = 60
    learning_rate: float = 0.05
    perceptual: float = 1.0
    pixel: float = 0.3
    identity: float = 0.3
    anchor: float = 0.01
    grid: float = 0.0
    patience: int | None = None
    tolerance: float = 0.01
    mixed_precision: bool = False


@dataclass(frozen=True)
class InversionStep:
    """One finished step of all photos.

    index, total: its number, counted from 1, and the most it can reach. space: "W" or "W+". loss: [N] on the CPU, each
    photo's before the step. ws: [N, rows, w_dim], the codes after it, without a graph. seconds: what it took.
    """

    index: int
    total: int
    space: str
    loss: Tensor
    ws: Tensor
    seconds: float


def invert(
    generator: Generator,
    photos: Tensor,
    settings: InversionSettings | None = None,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
    start: Tensor | None = None,
    views: Sequence[View] | None = None,
) -> Tensor:
    """The latents ws [N, rows, w_dim] of aligned photos [N, 3, S, S] in [-1, 1], any S. See `inversion_steps`."""
    ws, known = starting_codes(generator, photos, start), {"perceptual": perceptual, "embedder": embedder}
    for step in inversion_steps(generator, photos, settings, start=ws, views=views, **known):
        ws = step.ws
    return ws


def inversion_steps(
    generator: Generator,
    photos: Tensor,
    settings: InversionSettings | None = None,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
    start: Tensor | None = None,
    views: Sequence[View] | None = None,
    seen: Callable[[Tensor], Tensor] | None = None,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[InversionStep]:
    """Minimise LPIPS + pixel MSE + identity + anchor for each photo [N, 3, S, S], first over W, then over W+.

    `start` [N, rows, w_dim], for example an encoder's answer, replaces w_avg. W begins at the mean of its rows; with
    `steps_w=0` W+ begins at `start` itself. views: the camera of each photo (see `perception.pose.views_of`), from the
    front if left out; a flat generator has no other. seen: what of pictures [N, 3, S, S] the loss looks at, in the same
    shape; all of them if None. penalty: of codes [N, 1 or rows, w_dim], [N], added to their losses.

    Raises:
        GuideError: `start` has another shape, or a loss is not finite.

    >>> settings = InversionSettings(steps_w=2, steps_w_plus=2)
    >>> for step in inversion_steps(generator, photo, settings, perceptual=perceptual, embedder=embedder):
    ...     print(step.index, step.space, "one row" if torch.equal(step.ws[:, 0], step.ws[:, 1]) else "rows differ")
    1 W one row
    2 W one row
    3 W+ rows differ
    4 W+ rows differ
    """
    s = settings or InversionSettings()
    objective = _PhotoLoss(generator, photos, s, perceptual, embedder, views, seen, penalty)
    ws = starting_codes(generator, photos, start)
    index, total = 0, s.steps_w + s.steps_w_plus
    for space in ("W", "W+"):
        if space == "W":  # one row stands for all
            code, anchor, steps, rate = ws.mean(1, keepdim=True), generator.w_avg[:, :1], s.steps_w, s.learning_rate
        else:  # starts from a good place and needs half the step
            # Rows that the picture does not depend on feel the anchor alone, so they stay where W left them.
            code, anchor, steps, rate = ws, ws, s.steps_w_plus, s.learning_rate / 2
        begun = time.perf_counter()
        for loss, moved in _descend(objective, code, anchor, steps, rate):
            index, ws = index + 1, moved.expand(-1, generator.rows, -1).clone()
            _check_finite(loss, index)
            yield InversionStep(index, total, space, loss, ws, time.perf_counter() - begun)
            begun = time.perf_counter()


def inversion_loss(
    perceptual: Tensor, pixel: Tensor, cosine: Tensor, way: Tensor, settings: InversionSettings
) -> Tensor:
    """The loss of each photo [N]: how far its picture is off, and how far its code has gone from the anchor.

    perceptual, pixel: LPIPS and mean square error, [N]; cosine: of the two identities, [N]; way: code - anchor,
    [N, 1 or rows, w_dim].

    >>> lpips, pixel, cosine, way = torch.tensor([0.4]), torch.tensor([0.1]), torch.tensor([0.8]), torch.ones(1, 3, 6)
    >>> inversion_loss(lpips, pixel, cosine, way, InversionSettings())       # 0.4 + 0.3 * 0.1 + 0.3 * 0.2 + 0.01 * 1
    tensor([0.5])
    """
    s = settings
    loss = s.perceptual * perceptual + s.pixel * pixel + s.identity * (1 - cosine)
    return loss + s.anchor * way.square().mean((1, 2))


def starting_codes(generator: Generator, photos: Tensor, start: Tensor | None = None) -> Tensor:
    """`start`, or w_avg for each of the N photos: [N, rows, w_dim]. Raises GuideError if `start` has another shape.

    >>> list(starting_codes(generator, photo.expand(4, -1, -1, -1)).shape)
    [4, 3, 6]
    >>> starting_codes(generator, photo, start=w_u[:, :1])
    Traceback (most recent call last):
    guide_lib.errors.GuideError: The codes to start from have the shape [1, 1, 6]; give one of [1, 3, 6].
    """
    if start is None:
        return generator.w_avg.expand(len(photos), -1, -1).clone()
    expected = [len(photos), generator.rows, generator.w_dim]
    if list(start.shape) != expected:
        raise GuideError(f"The codes to start from have the shape {list(start.shape)}; give one of {expected}.")
    return start.detach().to(generator.w_avg)


def _descend(
    objective: _PhotoLoss, code: Tensor, anchor: Tensor, steps: int, learning_rate: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Adam with a cosine to zero; yields each photo's loss [N] before, and code [N, 1 or rows, w_dim] after, a step."""
    code = code.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([code], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    progress = _Progress(objective.settings)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = objective.backward(code, anchor).cpu()  # all that a GPU is waited for
        moving = progress.goes_on(loss)
        if not moving.any():
            return
        before = None if moving.all() else code.detach().clone()
        optimizer.step()
        schedule.step()
        if before is not None:
            with torch.no_grad():
                code.copy_(torch.where(moving[:, None, None].to(code.device), code, before))
        yield loss, code.detach().clone()


class _Progress:
    """Which photos still get better. One that stopped keeps its code, so its loss can never improve again."""

    def __init__(self, settings: InversionSettings) -> None:
        self.patience, self.tolerance = settings.patience, settings.tolerance
        self.best: Tensor | None = None
        self.stalled: Tensor | None = None  # steps since the best loss, for each photo

    def goes_on(self, loss: Tensor) -> Tensor:
        """loss: [N], on the CPU -> [N] bool, False for the photos that are done."""
        if self.patience is None:
            return torch.ones_like(loss, dtype=torch.bool)
        if self.best is None:
            self.best, self.stalled = torch.full_like(loss, float("inf")), torch.zeros_like(loss)
        # A loss that is not a number is no stall: the caller shall see it.
        better = ~(loss >= self.best * (1 - self.tolerance))
        self.best = torch.where(better, loss, self.best)
        self.stalled = torch.where(better, 0, self.stalled + 1)
        return self.stalled < self.patience


def _check_finite(loss: Tensor, index: int) -> None:
    wrong = loss[~loss.isfinite()]
    if len(wrong):
        raise GuideError(f"The inversion's loss became {wrong[0]} at step {index}; use a smaller learning rate.")


class _PhotoLoss:
    """The distance of each G(w) to its own photo; the photos are looked at once."""

    def __init__(
        self,
        generator: Generator,
        photos: Tensor,
        settings: InversionSettings,
        perceptual: LPIPS,
        embedder: Embedder,
        views: Sequence[View] | None,
        seen: Callable[[Tensor], Tensor] | None,
        penalty: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.generator, self.settings, self.views = generator, settings, views
        self.perceptual, self.embedder = perceptual, embedder
        self.seen, self.penalty = seen or (lambda pictures: pictures), penalty
        with torch.no_grad():
            photos = self.seen(photos.to(generator.w_avg))
            self.photos = area_resized(photos, generator.resolution)
            with mixed_precision(generator.w_avg.device, settings.mixed_precision):
                self.look = perceptual.features(self.photos)
            self.identity = embedder.embed(photos)

    def backward(self, code: Tensor, anchor: Tensor) -> Tensor:
        """code: [N, 1 or rows, w_dim] -> losses [N]; adds the gradients, a few photos at a time to bound the memory."""
        losses = []
        for part in self.generator.batches(len(code)):
            ws = code[part].expand(-1, self.generator.rows, -1)
            with mixed_precision(code.device, self.settings.mixed_precision):
                image = self.seen(self.generator.pictures(ws, self.views and self.views[part]))
                look = [features[part] for features in self.look]
                perceptual = self.perceptual.distance(self.perceptual.features(image), look)
                cosine = (self.embedder.embed(image) * self.identity[part]).sum(1)
            pixel = (image - self.photos[part]).square().mean((1, 2, 3))
            way = (code - anchor)[part]
            woven = self.settings.grid * grid_difference(image, self.photos[part]) if self.settings.grid else 0
            unlikely = self.penalty(code[part]) if self.penalty else 0
            losses.append(inversion_loss(perceptual, pixel, cosine, way, self.settings) + woven + unlikely)
            losses[-1].sum().backward()
        return torch.cat(losses).detach()
