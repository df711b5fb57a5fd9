"""How likely a code is to be drawn by itself: W+ holds codes for almost any picture, nearly all of them far out.

>>> likelihood = likelihood_of(generator)
>>> far = generator.w_avg + 10 * torch.randn(1, 3, 6, generator=rng)
>>> likelihood.distance(generator.w_avg).item() < likelihood.usual < likelihood.distance(far).item()
True
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.closed_form.metric import population_moment
from guide_lib.generators import Generator
from guide_lib.targets import mahalanobis, usual_distance

OWN, OWN_SEED = 1000, 30_303  # the generator's own samples, and the seed that draws them


@dataclass(frozen=True)
class Likelihood:
    """Mahalanobis distances under the mapped samples of a generator, over the rows that it draws.

    mean: w_avg, [1, rows, w_dim]. precision: S^-1, [w_dim, w_dim], in double precision on the CPU. rows: those that are
    drawn. usual: what 95 % of the generator's own samples stay below.
    """

    mean: Tensor
    precision: Tensor
    rows: list[int]
    usual: float

    def distance(self, ws: Tensor) -> Tensor:
        """Of ws [N, rows, w_dim], on the CPU: [N]; a sample's is about the root of w_dim."""
        return mahalanobis(ws[:, self.rows], self.mean[:, self.rows], self.precision).float()

    def penalty(self, code: Tensor) -> Tensor:
        """The square of it over w_dim, 1 for a sample, with a gradient: code [N, 1 or rows, w_dim] -> [N].

        >>> samples = generator.sample(500, rng)
        >>> likelihood_of(generator).penalty(samples).mean().item()
        1.0
        """
        rows = self.rows if code.shape[1] > 1 else [0]
        x = code[:, rows] - self.mean[:, rows]
        return ((x @ self.precision.to(x)) * x).sum(2).mean(1) / x.shape[2]


def likelihood_of(generator: Generator) -> Likelihood:
    """From 20,000 mapped samples, in a second or two; that of a student is its generator's, whose mapping it has."""
    precision, rows = torch.linalg.inv(population_moment(generator)), generator.drawn_rows()
    own = generator.sample(OWN, torch.Generator().manual_seed(OWN_SEED))
    return Likelihood(generator.w_avg, precision, rows, usual_distance(own, generator.w_avg, precision))
