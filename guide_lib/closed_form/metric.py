"""What moving the population costs: the metric B in which the erasure of a person is the smallest.

>>> list(metric_of(generator).shape)
[6, 6]
"""

from __future__ import annotations

import torch
from torch import Tensor

from guide_lib.generators import Generator

RIDGE = 0.1
SAMPLES, SAMPLE_SEED = 20_000, 20_000  # of w for the second moment


def weighted_metric(population: Tensor, ridge: float = RIDGE) -> Tensor:
    """B = S + ridge * mean variance * I, [w_dim, w_dim]: directions in which people hardly differ are not free.

    population: S, the second moment of w - mu. The covariance within a person (pose, expression, light, re-encoding)
    was added to it, too, as linear discriminant analysis would: other photos were read hardly better for it.
    """
    return population + ridge * population.diagonal().mean() * torch.eye(len(population), dtype=population.dtype)


def metric_of(generator: Generator, ridge: float = RIDGE) -> Tensor:
    """The metric of a generator, from mapped samples; see `weighted_metric`."""
    return weighted_metric(population_moment(generator), ridge)


@torch.no_grad()
def population_moment(generator: Generator, count: int = SAMPLES, seed: int = SAMPLE_SEED) -> Tensor:
    """S = E (w - mu)(w - mu)^T over z ~ N(0, I), [w_dim, w_dim], from `count` mapped samples; about a second."""
    rng, total = torch.Generator().manual_seed(seed), 0
    for start in range(0, count, 1000):
        x = (generator.sample(min(1000, count - start), rng)[:, 0] - generator.w_avg[:, 0]).cpu().double()
        total = total + x.T @ x
    return total / count
