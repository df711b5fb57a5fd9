"""Checks of notebooks 07 and 08: distances between clouds of features, and what an attack costs."""

from __future__ import annotations

import torch

from guide_lib.attacks import Fingerprint
from guide_lib.checks.base import NOTHING, Answer, as_tensors, compare, fresh_rng
from guide_lib.metrics.distribution import kernel_distance

CURVE = [(0, 0.21), (5, 0.55), (10, 0.73), (15, 0.69), (20, 0.81)]


def check_kernel_distance(answer: Answer) -> str:
    """`answer(a [N, D], b [M, D])` is the unbiased KID of two sets of features, a tensor []."""
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
    """`answer(curve, threshold)` is the first number of steps at which the judge accepts, None if it never does."""
    got, late, never = answer(CURVE, 0.7), answer(CURVE, 0.81), answer(CURVE, 0.9)
    if got is None or got is ...:
        return NOTHING
    if not isinstance(got, int):
        return f"Not yet: a number of steps is expected, and a {type(got).__name__} came back."
    if never is not None:
        return f"Not yet: nobody was accepted at 0.9, so None is the answer and not {never}."
    if late is None:
        return "Not yet: a cosine that equals the threshold is accepted."
    mistakes = as_tensors(
        {
            "that is the place in the list; return the number of steps": 2,
            "the attacker stops at the first look that succeeds, not at the last or the best": 20,
            "that is the last step before it": 5,
        }
    )
    return compare(torch.tensor(got), torch.tensor(10), mistakes)


def check_rank(answer: Answer) -> str:
    """`answer(scores [K], index)` is how many of the others are at least as suspect as candidate `index`."""
    scores = torch.tensor([0.3, 0.7, 0.5, 0.7, 0.9, 0.5])
    got = [answer(scores.clone(), index) for index in range(len(scores))]
    if any(rank is None or rank is ... for rank in got):
        return NOTHING
    right = [Fingerprint(scores, 0.0).rank(index) for index in range(len(scores))]
    above = [int((scores > value).sum()) for value in scores]
    mistakes = {
        "the candidate itself is counted; the best has rank 0": [rank + 1 for rank in right],
        "a tie counts as a find; whoever cannot tell two apart has not found one": above,
        "these are the less suspect ones; a higher score is more suspect": [int((scores < v).sum()) for v in scores],
    }
    return compare(torch.tensor([int(rank) for rank in got]), torch.tensor(right), as_tensors(mistakes))
