"""What moving the population costs: the metric B in which the erasure of a person is the smallest.

>>> list(metric_of(generator).shape)
[6, 6]
"""

from __future__ import annotations

import torch
from torch import Tensor

from guide_lib.generators import Generator

SAMPLES, SAMPLE_SEED = 20_000, 20_000  # of w for the second moment


def weighted_metric(
    population: Tensor, within: Tensor | None = None, *, kappa: float = 0.0, ridge: float = 0.1
) -> Tensor:
    """B = S + kappa N + ridge * mean variance * I, [w_dim, w_dim].

    population: S, the second moment of w - mu. within: N, the covariance of what changes while the person stays (pose,
    expression, light, the inversion's error); it turns s away from such changes, as linear discriminant analysis does.
    """
    flat = ridge * population.diagonal().mean() * torch.eye(len(population), dtype=population.dtype)
    return population + flat + (0 if within is None else kappa * within)


def metric_of(generator: Generator, within: Tensor | None = None, *, kappa: float = 0.0, ridge: float = 0.1) -> Tensor:
    """The metric of a generator, from mapped samples; see `weighted_metric` for the rest."""
    return weighted_metric(population_moment(generator), within, kappa=kappa, ridge=ridge)


@torch.no_grad()
def population_moment(generator: Generator, count: int = SAMPLES, seed: int = SAMPLE_SEED) -> Tensor:
    """S = E (w - mu)(w - mu)^T over z ~ N(0, I), [w_dim, w_dim], from `count` mapped samples; about a second."""
    rng, total = torch.Generator().manual_seed(seed), 0
    for start in range(0, count, 1000):
        x = (generator.sample(min(1000, count - start), rng)[:, 0] - generator.w_avg[:, 0]).cpu().double()
        total = total + x.T @ x
    return total / count
