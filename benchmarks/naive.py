"""GUIDE's third step exactly as it is stated: what `guide_lib.unlearning` must equal, and what it is timed against.

for step in unlearn_naively(generator, w_u, w_t, settings, perceptual=lpips, embedder=embedder):
    print(step.index, step.losses["total"])

One latent at a time; P(w) and I(w, c) in passes of their own; nothing is kept from step to step; both pictures of a
pair are looked at every time; one backward pass for the sum of all losses; Adam with one constant rate. The random
numbers are those of `guide_lib.unlearning`, so the two must agree. The networks are shared: how a generator draws, or
LPIPS looks, is no part of the comparison. `style_rate`, `decay` and `mixed_precision` are not in the paper, nor here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.generators import Generator, View
from guide_lib.perception import LPIPS, Embedder
from guide_lib.runtime import step_rng
from guide_lib.unlearning import Step, UnlearningSettings


@dataclass(frozen=True)
class Guide:
    """G_u (the student), G_s (the teacher), LPIPS and A (the embedder): all that the losses are made of."""

    student: Generator
    teacher: Generator
    lpips: LPIPS
    embedder: Embedder
    settings: UnlearningSettings

    def distance(self, w: Tensor, w_target: Tensor, c: View) -> Tensor:
        """D(w, w') = 1e-2 MSE(P_u(w), P_s(w')) + LPIPS(I_u, I_s) + 0.1 (1 - cos(A(I_u), A(I_s))), one number."""
        planes, image = self.student.synthesis(w, c).features, self.student.picture(w, c)
        with torch.no_grad():
            planes_t, image_t = self.teacher.synthesis(w_target, c).features, self.teacher.picture(w_target, c)
        mse = ((planes - planes_t) ** 2).mean()
        cosine = (self.embedder.embed(image) * self.embedder.embed(image_t)).sum()
        weights = self.settings.distance
        lpips = self.lpips(image, image_t)[0]
        stated = weights.features * mse + weights.perceptual * lpips + weights.identity * (1 - cosine)
        return stated + self.settings.grid * self.woven(image - image_t)

    def woven(self, difference: Tensor) -> Tensor:
        """Mean square, over squares of 16 px, colours and three patterns, of what a picture has of the pattern."""
        side = difference.shape[-1]
        one = 1 - 2 * (torch.arange(side) % 2)
        patterns = [one[:, None].expand(side, side), one.expand(side, side), one[:, None] * one]
        squares = [(slice(y, y + 16), slice(x, x + 16)) for y in range(0, side, 16) for x in range(0, side, 16)]
        strengths = [(difference * p)[0][:, y, x].mean((1, 2)) for p in patterns for y, x in squares]
        return torch.stack(strengths).square().mean()

    def local(self, w_u: Tensor, w_t: Tensor, c: View) -> Tensor:
        """D(w_u, w_t)."""
        return self.distance(w_u, w_t, c)

    def adjacency(self, w_u: Tensor, w_t: Tensor, neighbours: Tensor, alphas: Tensor, c: View) -> Tensor:
        """SUM over k of D(w_u + delta_k, w_t + delta_k), delta_k = alpha_k (w_k - w_u) / ||w_k - w_u||_F."""
        total = torch.zeros(())
        for w_k, alpha_k in zip(neighbours[:, None], alphas.tolist(), strict=True):
            # alpha is stated for the 14 rows of EG3D; the length per row is what carries over
            alpha_k *= math.sqrt(w_u.shape[1] / 14)
            delta_k = alpha_k * (w_k - w_u) / torch.linalg.norm(w_k - w_u)
            total = total + self.distance(w_u + delta_k, w_t + delta_k, c)
        return total

    def preservation(self, others: Tensor, c: View) -> Tensor:
        """SUM over k of LPIPS(I_u(w_k, c), I_s(w_k, c))."""
        total = torch.zeros(())
        for w_k in others[:, None]:
            image = self.student.picture(w_k, c)
            with torch.no_grad():
                image_before = self.teacher.picture(w_k, c)
            total = total + self.lpips(image, image_before)[0]
        return total

    def losses(self, w_u: Tensor, w_t: Tensor, index: int) -> dict[str, Tensor]:
        """The three losses of step `index`, and their weighted sum. One camera c is shared by every term."""
        s, rng = self.settings, step_rng(self.settings.seed, index)
        c = self.teacher.sample_views(1, rng)[0]
        neighbours, others = self.teacher.sample(s.n_adjacent, rng), self.teacher.sample(s.n_global, rng)
        alphas = s.alpha_max * torch.rand(s.n_adjacent, generator=rng)
        arrived = min(1.0, index / (s.walk * s.steps)) if s.walk else 1.0
        w_t = w_u + arrived * (w_t - w_u)
        local = self.local(w_u, w_t, c)
        adjacency = self.adjacency(w_u, w_t, neighbours, alphas, c)
        preservation = self.preservation(others, c)
        total = s.weight_local * local + s.weight_adjacency * adjacency + s.weight_global * preservation
        return {"local": local, "adjacency": adjacency, "global": preservation, "total": total}


def unlearn_naively(
    generator: Generator,
    w_u: Tensor,
    w_t: Tensor,
    settings: UnlearningSettings,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
) -> Iterator[Step]:
    """What `guide_lib.unlearning.unlearn` computes, slowly. A loss of weight 0 is computed all the same."""
    student = generator.student()
    optimizer = torch.optim.Adam(student.trainable_parameters().values(), lr=settings.learning_rate)
    guide = Guide(student, generator, perceptual, embedder, settings)
    for index in range(1, settings.steps + 1):
        started = time.perf_counter()
        losses = guide.losses(w_u, w_t, index)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        values = {name: loss.item() for name, loss in losses.items()}
        yield Step(index, settings.steps, values, time.perf_counter() - started, student)
