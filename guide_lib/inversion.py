"""Find the latent that draws a photograph (step 1 of GUIDE): optimisation in W, then in W+.

    w_u = invert(generator, photo, perceptual=lpips, embedder=embedder)     # [1, rows, w_dim]

W holds one vector for all layers and stays close to what the generator knows; W+ holds one for each layer and
comes closer to the photo (Abdal et al. 2019, arXiv 1904.03189).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.generators import Generator
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS


@dataclass(frozen=True)
class InversionSettings:
    """Steps in each space, Adam's learning rate at their start, and the weights of the loss.

    anchor: weight of the mean square of w - w_avg, which keeps the code where the generator draws faces.
    """

    steps_w: int = 80
    steps_w_plus: int = 60
    learning_rate: float = 0.05
    perceptual: float = 1.0
    pixel: float = 0.3
    identity: float = 0.3
    anchor: float = 0.01


@dataclass(frozen=True)
class InversionStep:
    """One finished step: index counts from 1, space is "W" or "W+", ws is [1, rows, w_dim], without a graph."""

    index: int
    total: int
    space: str
    loss: float
    ws: Tensor


def invert(
    generator: Generator,
    photo: Tensor,
    settings: InversionSettings | None = None,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
) -> Tensor:
    """The latent ws [1, rows, w_dim] of an FFHQ-aligned photo [1, 3, S, S] in [-1, 1], any S. See `inversion_steps`."""
    ws = generator.w_avg
    for step in inversion_steps(generator, photo, settings, perceptual=perceptual, embedder=embedder):
        ws = step.ws
    return ws


def inversion_steps(
    generator: Generator,
    photo: Tensor,
    settings: InversionSettings | None = None,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
) -> Iterator[InversionStep]:
    """Minimise LPIPS + pixel MSE + identity, first over one w from w_avg, then over one w for each row.

    Raises:
        GuideError: the loss is not finite.
    """
    s = settings or InversionSettings()
    objective = _PhotoLoss(generator, photo, s, perceptual, embedder)
    index, total = 0, s.steps_w + s.steps_w_plus
    code = generator.w_avg[:, :1]  # W: one row stands for all
    # W+ starts from a good place and needs half the step.
    for space, steps, rate in (
        ("W", s.steps_w, s.learning_rate),
        ("W+", s.steps_w_plus, s.learning_rate / 2),
    ):
        if space == "W+":
            code = code.expand(-1, generator.rows, -1)
        for loss, moved in _descend(objective, code, steps, rate):
            index, code = index + 1, moved
            if not math.isfinite(loss):
                raise GuideError(f"The inversion's loss became {loss} at step {index}; use a smaller learning rate.")
            yield InversionStep(index, total, space, loss, code.expand(-1, generator.rows, -1).clone())


def _descend(objective: _PhotoLoss, code: Tensor, steps: int, learning_rate: float) -> Iterator[tuple[float, Tensor]]:
    """Adam with a cosine to zero; yields the loss before, and the code [1, 1 or rows, w_dim] after, each step."""
    code = code.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([code], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        loss = objective(code)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield loss.item(), code.detach().clone()


class _PhotoLoss:
    """The distance of G(ws) to one photo, which is looked at once."""

    def __init__(
        self,
        generator: Generator,
        photo: Tensor,
        settings: InversionSettings,
        perceptual: LPIPS,
        embedder: Embedder,
    ) -> None:
        self.generator, self.settings = generator, settings
        self.perceptual, self.embedder = perceptual, embedder
        with torch.no_grad():
            self.photo = F.interpolate(photo.to(generator.w_avg), size=generator.resolution, mode="area")
            self.look = perceptual.features(self.photo)
            self.identity = embedder.embed(photo.to(generator.w_avg))

    def __call__(self, code: Tensor) -> Tensor:
        s, ws = self.settings, code.expand(-1, self.generator.rows, -1)
        image = self.generator.synthesis(ws).image
        loss = s.perceptual * self.perceptual.distance(self.perceptual.features(image), self.look).sum()
        loss = loss + s.pixel * F.mse_loss(image, self.photo)
        loss = loss + s.identity * (1 - (self.embedder.embed(image) * self.identity).sum(1)).sum()
        return loss + s.anchor * (ws - self.generator.w_avg).square().mean()
