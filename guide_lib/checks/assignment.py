"""Checks of notebook 10: the graded tasks."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from guide_lib.checks.base import Answer, compare, compare_numbers, compare_pairs, first_fault, fresh_rng
from guide_lib.generators.directions import mix
from guide_lib.targets import partial_target, ufo_target


def check_partial_target(answer: Answer) -> str:
    """`answer(w_u, w_avg [1, rows, w_dim], rows, d)` is UFO's target in these rows and the person in the others."""
    w_avg = torch.linspace(-1, 1, 4).expand(1, 5, 4)
    w_u = w_avg + torch.randn(1, 5, 4, generator=fresh_rng())

    def verdicts() -> Iterator[str]:
        for rows, d in (([0, 2], 30.0), ([1, 3, 4], 12.0)):
            given, opposite = w_u.clone(), ufo_target(w_u, w_avg, d)
            part = mix(w_avg.expand_as(w_u), w_u, rows)  # a latent of which only these rows differ from the mean
            mistakes = {
                "all rows moved": opposite,
                "no row moved": w_u,
                "the wrong rows moved": mix(opposite, w_u, rows),
                "the other rows belong to the person, not to the mean face": mix(w_avg, opposite, rows),
                "the norm is that of the whole latent, not of these rows": mix(w_u, ufo_target(part, w_avg, d), rows),
                "`d` made no difference; it is the length of the complete step": partial_target(w_u, w_avg, rows),
            }
            got, expected = answer(given, w_avg, rows, d), partial_target(w_u, w_avg, rows, d)
            yield compare(got, expected, mistakes, {"w_u": (given, w_u)})

    return first_fault(verdicts())


def check_forgetting(answer: Answer) -> str:
    """`answer(person, others [N])` is the lowest of the others minus the person's cosine."""
    cases = [(0.1, [0.9, 0.7, 0.95]), (-0.2, [0.6, 0.8])]
    tensors = [(torch.tensor(person), torch.tensor(others)) for person, others in cases]
    mistakes = {
        "it takes the mean of the others; take the worst case": [sum(o) / len(o) - p for p, o in cases],
        "it takes the best of the others; take the worst case": [max(o) - p for p, o in cases],
        "the sign is turned; forgetting more makes it larger": [p - min(o) for p, o in cases],
        "a negative cosine counts as it is; do not take its size": [min(o) - abs(p) for p, o in cases],
        "a negative cosine counts as it is; do not cut it off at 0": [min(o) - max(p, 0) for p, o in cases],
    }
    return compare_numbers([answer(*case) for case in tensors], [min(o) - p for p, o in cases], mistakes)


def check_summary(answer: Answer) -> str:
    """`answer(values [N])` is the mean and the half width of its 95 % interval."""
    samples = [torch.tensor([0.2, 0.5, 0.95, 0.4, 0.1, 0.15, 0.3, 0.9, 0.1]), torch.tensor([0.1, 0.2, 0.9, 0.3])]
    means, roots = [v.mean().item() for v in samples], [len(v) ** 0.5 for v in samples]
    halves = [1.96 * v.std().item() / root for v, root in zip(samples, roots, strict=True)]
    medians = [v.sort().values[[(len(v) - 1) // 2, len(v) // 2]].mean().item() for v in samples]

    def both(centres: list[float], widths: list[float]) -> list[float]:
        return [number for pair in zip(centres, widths, strict=True) for number in pair]

    scaled = {
        "this is the whole width; half of it goes to each side": [2.0, 2.0],
        "the mean varies less than one value; divide by the root of n": roots,
        "divide by the root of n, not by n": [1 / root for root in roots],
        "the standard deviation divides by n; of a sample, by n - 1": [(1 - root**-2) ** 0.5 for root in roots],
        "1.96 is missing": [1 / 1.96] * 2,
        "n is that of the values, not always 9": [1.0, roots[1] / 3],
    }
    mistakes = {name: both(means, [h * x for h, x in zip(halves, by, strict=True)]) for name, by in scaled.items()}
    mistakes["this is the median; take the mean"] = both(medians, halves)
    got = [answer(values.clone()) for values in samples]
    return compare_pairs(got, "the mean and the half width", both(means, halves), mistakes)
