"""Means over people with 95 % intervals: people differ far more than seeds do, so people are the sample.

>>> print(mean_interval([0.1, -0.2, 0.05]))
-0.017 [-0.416, 0.383]
>>> print(share_interval([0, 0, 0, 0, 0, 0]))                # nobody of six
0.000 [0.000, 0.459]

A share has an exact interval, which says something even where nothing was seen; a mean of few people has Student's,
one of many the bootstrap's, which would be far too narrow for few (of three people it is about least to largest).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

FEW = 10  # people below which a mean has Student's interval
ANY = (-math.inf, math.inf)


@dataclass(frozen=True)
class Interval:
    """The mean of a metric over people and its interval.

    mean: over the people. low, high: the interval's ends, None where the values cannot give any. people: how many.
    A format is that of all three numbers; `str` takes three decimals.

    >>> interval = Interval(0.21, 0.15, 0.28, people=16)
    >>> str(interval), f"{interval:.1f}", str(Interval(0.21, None, None, people=1))
    ('0.210 [0.150, 0.280]', '0.2 [0.1, 0.3]', '0.210')
    """

    mean: float
    low: float | None
    high: float | None
    people: int

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        bounds = "" if self.low is None else f" [{self.low:{spec}}, {self.high:{spec}}]"
        return f"{self.mean:{spec}}{bounds}"

    def __str__(self) -> str:
        return format(self, "")


def mean_interval(values: Sequence[float], bounds: tuple[float, float] = ANY, level: float = 0.95) -> Interval:
    """Student's t interval of the mean, cut at the metric's `bounds`; from `FEW` people on the bootstrap's.

    Values that are all the same give none: they say nothing of how much people differ.

    Raises:
        ValueError: there is no value.
    """
    sample = _sample(values)
    if len(sample) >= FEW:
        return bootstrap_mean(values, level)
    mean = float(sample.mean())
    if len(sample) == 1 or np.ptp(sample) == 0:
        return Interval(mean, None, None, len(sample))
    low, high = stats.t.interval(level, len(sample) - 1, loc=mean, scale=stats.sem(sample))
    return Interval(mean, max(float(low), bounds[0]), min(float(high), bounds[1]), len(sample))


def share_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The exact interval of a share (Clopper and Pearson 1934): 0 of 6 is at most 0.46.

    People are the trials, not their pictures, which resemble one another. values: for each person 0, 1, or the share
    of the pictures; whoever counts in part is rounded outward, so that such an interval is rather too wide.

    Raises:
        ValueError: there is no value, or one lies outside of [0, 1].
    """
    sample = _sample(values)
    if sample.min() < 0 or sample.max() > 1:
        raise ValueError("a share lies between 0 and 1")
    count = round(float(sample.sum()), 6)  # a third of a person thrice is one person
    ends = (stats.binomtest(k, len(sample)).proportion_ci(level) for k in (math.floor(count), math.ceil(count)))
    return Interval(float(sample.mean()), float(next(ends).low), float(next(ends).high), len(sample))


def share_difference(differences: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of differences of two shares, person by person, each in [-1, 1].

    It is a share of gains less a share of losses; both have exact intervals, of half the error each (Bonferroni).

    Raises:
        ValueError: there is no difference, or one lies outside of [-1, 1].
    """
    sample, each = _sample(differences), (1 + level) / 2
    gains, losses = (share_interval(np.maximum(side, 0), each) for side in (sample, -sample))
    return Interval(float(sample.mean()), gains.low - losses.high, gains.high - losses.low, len(sample))


def bootstrap_mean(values: Sequence[float], level: float = 0.95, resamples: int = 9999, seed: int = 0) -> Interval:
    """The percentile bootstrap of the mean (Efron and Tibshirani 1993), with a fixed seed.

    One value, or values that are all the same, give no interval.

    Raises:
        ValueError: there is no value.

    >>> interval = bootstrap_mean([0.1, 0.2, 0.3], level=0.9)
    >>> interval.people, 0.1 <= interval.low < interval.mean < interval.high <= 0.3
    (3, True)
    """
    sample = _sample(values)
    if np.ptp(sample) == 0:
        return Interval(float(sample.mean()), None, None, len(sample))
    rng = np.random.default_rng(seed)
    found = stats.bootstrap(
        (sample,), np.mean, confidence_level=level, n_resamples=resamples, method="percentile", rng=rng
    ).confidence_interval
    return Interval(float(sample.mean()), float(found.low), float(found.high), len(sample))


def _sample(values: Sequence[float]) -> np.ndarray:
    if not len(values):
        raise ValueError("no values, no mean")
    return np.asarray(values, dtype=np.float64)
