"""Checks of notebook 03: cosines and thresholds."""

from __future__ import annotations

import torch

from guide_lib.checks.base import NOTHING, Answer, as_tensors, compare, fresh_rng
from guide_lib.metrics.identity import accept_rates
from guide_lib.perception.identity import identity_cosine


def check_cosines(answer: Answer) -> str:
    """`answer(a [N, D], b [M, D])` is the cosine of every a with every b, [N, M]."""
    a, b = 3 * torch.randn(3, 6, generator=fresh_rng()), torch.randn(4, 6, generator=fresh_rng())
    expected = torch.stack([identity_cosine(a, row.expand_as(a)) for row in b], dim=1)
    mistakes = {
        "the vectors have their lengths still; divide each by its norm": a @ b.T,
        "only one of the two is divided by its norm": a @ torch.nn.functional.normalize(b, dim=1).T,
        "only one of the two is divided by its norm, the first": torch.nn.functional.normalize(a, dim=1) @ b.T,
        "the whole table is divided by one norm; each vector has its own": a @ b.T / (a.norm() * b.norm()),
    }
    return compare(answer(a, b), expected, mistakes)


def check_rates(answer: Answer) -> str:
    """`answer(same, different, threshold)` is the two shares that are accepted, (true, false)."""
    same, different = torch.arange(1, 9) / 8, torch.arange(-8, 13) / 16
    threshold = 0.375  # one of each group lies exactly there
    got = answer(same, different, threshold)
    if got is None or got is ...:
        return NOTHING
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "Not yet: two numbers are expected, the true and the false accepts."
    true, false = accept_rates(same, different, threshold)
    above = [(group > threshold).float().mean().item() for group in (same, different)]
    mistakes = {
        "a pair exactly at the threshold is accepted, too": above,
        "the two are swapped; the same pairs come first": (false, true),
        "these are the rejected shares; count what is at or above the threshold": (1 - true, 1 - false),
        "these are counts; divide by the number of pairs": (true * len(same), false * len(different)),
        "each share is of its own group, not of all pairs": (true * 8 / 29, false * 21 / 29),
    }
    return compare(torch.tensor([float(x) for x in got]), torch.tensor([true, false]), as_tensors(mistakes))
