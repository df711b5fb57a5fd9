"""Checks of notebooks 07 and 08: distances between clouds of features, and what an attack costs."""

from __future__ import annotations

import torch

from guide_lib.attacks import Fingerprint
from guide_lib.checks.base import NOTHING, Answer, compare, compare_numbers, fresh_rng, is_nothing, is_number
from guide_lib.metrics.distribution import kernel_distance

CURVE = [(0, 0.21), (5, 0.55), (10, 0.73), (15, 0.69), (20, 0.81)]
UNEVEN = [(0, 0.1), (2, 0.74), (9, 0.7)]  # somebody who looks at other steps
KNOWN = [(0, 0.9), (5, 0.95)]  # there was nothing to relearn


def check_kernel_distance(answer: Answer) -> str:
    """`answer(a [N, D], b [M, D])` is the unbiased KID of two sets of features, one number."""
    rng = fresh_rng()
    a, b = torch.randn(6, 5, generator=rng).double(), 0.5 + torch.randn(4, 5, generator=rng).double()
    inside_a, inside_b, across = (((x @ y.T) / 5 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    apart_a, apart_b = ((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (inside_a, inside_b))
    raw = [((x @ y.T) + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    undivided = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in raw[:2]]
    mistakes = {
        "the diagonals are in it; no feature may meet itself": inside_a.mean() + inside_b.mean() - 2 * across.mean(),
        "the diagonal is out of the sum, but not out of the count": (inside_a.sum() - inside_a.trace()) / len(a) ** 2
        + (inside_b.sum() - inside_b.trace()) / len(b) ** 2
        - 2 * across.mean(),
        "the pairs across the two sets count twice": apart_a + apart_b - across.mean(),
        "the product is not divided by the number of dimensions": sum(undivided) - 2 * raw[2].mean(),
    }
    return compare(answer(a, b), torch.tensor(kernel_distance(a, b)).double(), mistakes)


def check_cost(answer: Answer) -> str:
    """`answer(curve, threshold)` is the first number of steps at which the judge accepts, None if it never does.

    >>> check_cost(lambda curve, threshold: next((n for n, c in curve if c >= threshold), None) or None)
    'Not yet: whoever is accepted at the first look costs 0 steps, which is not None.'
    """
    got, late, never = (answer(CURVE, threshold) for threshold in (0.7, 0.81, 0.9))
    uneven, known = answer(UNEVEN, 0.7), answer(KNOWN, 0.7)
    if is_nothing(got):
        return NOTHING
    if not is_number(got):
        return f"Not yet: a number of steps is expected, and a {type(got).__name__} came back."
    if never is not None:
        return f"Not yet: nobody was accepted at 0.9, so None is the answer and not {never}."
    if late is None:
        return "Not yet: a cosine that equals the threshold is accepted."
    if known is None:
        return "Not yet: whoever is accepted at the first look costs 0 steps, which is not None."
    mistakes = {
        "that is the place in the list; return the number of steps": [2, 4, 1, 0],
        "the attacker stops at the first look that succeeds, not at the last": [20, 20, 9, 5],
        "the attacker stops at the first look that succeeds, not at the best": [20, 20, 2, 5],
        "that is the last step before it": [5, 15, 0, 0],
        "that is the cosine; return the number of steps": [0.73, 0.81, 0.74, 0.9],
    }
    return compare_numbers([got, late, uneven, known], [10, 20, 2, 0], mistakes)


def check_rank(answer: Answer) -> str:
    """`answer(scores [K], index)` is how many of the others are at least as suspect as candidate `index`."""
    scores = torch.tensor([0.3, 0.7, 0.5, 0.7, 0.9, 0.5])
    right = [Fingerprint(scores, 0.0).rank(index) for index in range(len(scores))]
    mistakes = {
        "the candidate itself is counted; the best has rank 0": [rank + 1 for rank in right],
        "a tie counts as a find; whoever cannot tell two apart has not found one": [
            int((scores > value).sum()) for value in scores
        ],
        "these are the less suspect ones; a higher score is more suspect": [int((scores < v).sum()) for v in scores],
        "these are the less suspect ones and the ties": [int((scores <= v).sum()) - 1 for v in scores],
    }
    return compare_numbers([answer(scores.clone(), index) for index in range(len(scores))], right, mistakes)
