"""Means over people with bootstrap intervals: people differ far more than seeds do, so people are resampled.

>>> print(bootstrap_mean([0.1, -0.2, 0.05, 0.3, 0.15]))
0.080 [-0.080, 0.210]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """The mean of a metric over people and its interval.

    mean: over the people. low, high: the interval's ends, None where one person cannot give any. people: how many.

    >>> str(Interval(0.21, 0.15, 0.28, people=16)), str(Interval(0.21, None, None, people=1))
    ('0.210 [0.150, 0.280]', '0.210')
    """

    mean: float
    low: float | None
    high: float | None
    people: int

    def __str__(self) -> str:
        bounds = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.mean:.3f}{bounds}"


def bootstrap_mean(values: Sequence[float], level: float = 0.95, resamples: int = 9999, seed: int = 0) -> Interval:
    """The percentile bootstrap of the mean (Efron and Tibshirani 1993), with a fixed seed.

    Raises:
        ValueError: there is no value.

    >>> interval = bootstrap_mean([0.1, 0.2, 0.3], level=0.9)
    >>> interval.people, 0.1 <= interval.low < interval.mean < interval.high <= 0.3
    (3, True)
    """
    sample = np.asarray(values, dtype=np.float64)
    if not len(sample):
        raise ValueError("no values, no mean")
    if len(sample) == 1:
        return Interval(float(sample[0]), None, None, 1)
    rng = np.random.default_rng(seed)
    found = stats.bootstrap(
        (sample,), np.mean, confidence_level=level, n_resamples=resamples, method="percentile", rng=rng
    ).confidence_interval
    return Interval(float(sample.mean()), float(found.low), float(found.high), len(sample))
