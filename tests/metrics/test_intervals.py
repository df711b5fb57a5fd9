"""Intervals against sums and tables that do not come from scipy."""

import math
import statistics

import pytest
import torch

from guide_lib.metrics.intervals import (
    FEW,
    Interval,
    bootstrap_mean,
    mean_interval,
    share_difference,
    share_interval,
)

STUDENT = {3: 4.302653, 6: 2.570582, 9: 2.306004}  # the 97.5 % quantiles for n - 1 degrees, as printed in tables


def at_most(k, n, p):
    """The chance of k or fewer successes in n trials, by summing."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def clopper_pearson(k, n, error):
    """The shares at which k successes or more, or k or fewer, have a chance of half the error: found by halving."""

    def where(rises):
        low, high = 0.0, 1.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (low, middle) if rises(middle) else (middle, high)
        return low

    lower = 0.0 if k == 0 else where(lambda p: 1 - at_most(k - 1, n, p) > error / 2)
    return lower, 1.0 if k == n else where(lambda p: at_most(k, n, p) < error / 2)


@pytest.mark.parametrize("n", [1, 3, 6, 16, 48])
def test_shares_have_the_exact_interval(n):
    for k in {0, 1, n // 2, n - 1, n}:
        found = share_interval([1.0] * k + [0.0] * (n - k))
        assert (found.low, found.high) == pytest.approx(clopper_pearson(k, n, 0.05), abs=1e-9)
        assert found.mean == k / n and found.people == n


def test_nothing_seen_in_six_people_is_at_most_46_percent():
    assert str(share_interval([0] * 6)) == "0.000 [0.000, 0.459]"
    assert round(share_interval([0] * 16).high, 2) == 0.21


def test_who_is_accepted_in_part_is_rounded_outward():
    found = share_interval([0.5, 0.25, 0.0, 0.0, 1.0, 0.0])
    assert found.mean == pytest.approx(1.75 / 6)
    assert found.low == pytest.approx(clopper_pearson(1, 6, 0.05)[0], abs=1e-9)
    assert found.high == pytest.approx(clopper_pearson(2, 6, 0.05)[1], abs=1e-9)
    thirds = share_interval([torch.tensor(1 / 3).item()] * 3)  # in single precision a little more than one
    assert thirds == Interval(thirds.mean, *clopper_interval(1, 3), 3)
    for wrong in ([0.0, 1.5], [-0.5, 0.5]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            share_interval(wrong)


def clopper_interval(k, n):
    return [pytest.approx(end, abs=1e-9) for end in clopper_pearson(k, n, 0.05)]


def test_a_difference_of_shares_is_of_gains_and_losses():
    found = share_difference([1, 1, 0, 0, 0, -1])
    gains, losses = clopper_pearson(2, 6, 0.025), clopper_pearson(1, 6, 0.025)
    assert found.mean == pytest.approx(1 / 6)
    assert (found.low, found.high) == pytest.approx((gains[0] - losses[1], gains[1] - losses[0]), abs=1e-9)
    same = share_difference([0.0] * 16)
    assert same.mean == 0 and same.high == -same.low == pytest.approx(clopper_pearson(0, 16, 0.025)[1], abs=1e-9)


@pytest.mark.parametrize("n", STUDENT)
def test_few_people_have_students_interval(n, rng):
    values = torch.randn(n, generator=rng).double().tolist()
    half = STUDENT[n] * statistics.stdev(values) / math.sqrt(n)
    found = mean_interval(values)
    assert found.high - found.mean == pytest.approx(half, rel=1e-5)
    assert found.mean - found.low == pytest.approx(half, rel=1e-5)
    assert found.mean == pytest.approx(statistics.fmean(values)) and found.people == n


def test_an_interval_stays_within_the_bounds():
    found = mean_interval([0.2, 0.9, 0.8], bounds=(-1.0, 1.0))
    assert found.high == 1.0 and found.low == mean_interval([0.2, 0.9, 0.8]).low


def test_ten_people_have_the_bootstraps(rng):
    values = torch.randn(FEW, generator=rng).tolist()
    assert mean_interval(values) == bootstrap_mean(values)
    assert mean_interval(values[1:]) != bootstrap_mean(values[1:])


@pytest.mark.parametrize("n, resamples", [(40, 400), (6, 0)])
def test_the_interval_covers_the_truth_as_often_as_it_says(rng, n, resamples):
    covered = 0
    for _ in range(200):
        values = torch.randn(n, generator=rng).tolist()
        interval = bootstrap_mean(values, resamples=resamples) if resamples else mean_interval(values)
        covered += interval.low <= 0 <= interval.high
    assert 0.87 <= covered / 200 <= 0.99


def test_intervals_repeat_and_some_values_give_none():
    values = [0.1, 0.4, -0.3, 0.2]
    for interval_of in (bootstrap_mean, mean_interval):
        interval = interval_of(values)
        assert interval == interval_of(values) and interval.mean == pytest.approx(0.1)
        assert interval.low < 0.1 < interval.high and interval.people == 4
        assert interval_of([0.25]) == Interval(0.25, None, None, 1)
        assert interval_of([0.25] * 12) == Interval(0.25, None, None, 12)  # says nothing of how people differ
        with pytest.raises(ValueError, match="no values"):
            interval_of([])
    with pytest.raises(ValueError, match="no values"):
        share_interval([])


def test_an_interval_is_formatted_as_a_number_is():
    interval = Interval(0.5, 0.25, 0.75, 4)
    assert str(interval) == f"{interval}" == "0.500 [0.250, 0.750]"
    assert f"{interval:.1f}" == "0.5 [0.2, 0.8]" and f"{Interval(2.0, None, None, 1):.0f}" == "2"
