"""Checks of notebook 03: cosines and thresholds."""

from __future__ import annotations

import torch

from guide_lib.checks.base import Answer, compare, compare_pairs, fresh_rng
from guide_lib.metrics.identity import accept_rates
from guide_lib.perception.identity import identity_cosine


def check_cosines(answer: Answer) -> str:
    """`answer(a [N, D], b [M, D])` is the cosine of every a with every b, [N, M]; a and b are left as they are."""
    a, b = 3 * torch.randn(3, 6, generator=fresh_rng()), torch.randn(4, 6, generator=fresh_rng())
    expected = torch.stack([identity_cosine(a, row.expand_as(a)) for row in b], dim=1)
    mistakes = {
        "the vectors have their lengths still; divide each by its norm": a @ b.T,
        "only one of the two is divided by its norm": a @ torch.nn.functional.normalize(b, dim=1).T,
        "only one of the two is divided by its norm, the first": torch.nn.functional.normalize(a, dim=1) @ b.T,
        "the whole table is divided by one norm; each vector has its own": a @ b.T / (a.norm() * b.norm()),
    }
    given = a.clone(), b.clone()
    return compare(answer(*given), expected, mistakes, {"a": (given[0], a), "b": (given[1], b)})


def check_rates(answer: Answer) -> str:
    """`answer(same, different, threshold)` is the two shares that are accepted, (true, false)."""
    same, different = torch.arange(1, 9) / 8, torch.arange(-8, 13) / 16
    thresholds = (0.375, 0.625)  # one of each group lies exactly at either

    def of_both(true: float, false: float) -> list[float]:
        """The two shares, each times this, at the first and then at the second threshold."""
        rates = [accept_rates(same, different, threshold) for threshold in thresholds]
        return [share * by for pair in rates for share, by in zip(pair, (true, false), strict=True)]

    right = of_both(1, 1)
    mistakes = {
        "a pair exactly at the threshold is accepted, too": [
            (group > threshold).float().mean().item() for threshold in thresholds for group in (same, different)
        ],
        "the two are swapped; the same pairs come first": [right[i] for i in (1, 0, 3, 2)],
        "these are the rejected shares; count what is at or above the threshold": [1 - share for share in right],
        "these are counts; divide by the number of pairs": of_both(len(same), len(different)),
        "each share is of its own group, not of all pairs": of_both(8 / 29, 21 / 29),
        "`threshold` made no difference": right[:2] * 2,
    }
    got = [answer(same, different, threshold) for threshold in thresholds]
    return compare_pairs(got, "the true and the false accepts", right, mistakes)
