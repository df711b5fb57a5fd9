"""Checks of notebook 10: the graded tasks."""

from __future__ import annotations

import torch

from guide_lib.checks.base import NOTHING, Answer, as_tensors, compare, fresh_rng
from guide_lib.generators.directions import mix
from guide_lib.targets import partial_target, ufo_target


def check_partial_target(answer: Answer) -> str:
    """`answer(w_u, w_avg [1, rows, w_dim], rows)` is UFO's target in these rows and the person in the others."""
    w_avg = torch.linspace(-1, 1, 4).expand(1, 5, 4)
    w_u, rows = w_avg + torch.randn(1, 5, 4, generator=fresh_rng()), [0, 2]
    given, opposite = w_u.clone(), ufo_target(w_u, w_avg)
    got = answer(given, w_avg, rows)
    part = mix(w_avg.expand_as(w_u), w_u, rows)  # a latent of which only these rows differ from the mean
    mistakes = {
        "all rows moved": opposite,
        "no row moved": w_u,
        "the wrong rows moved": mix(opposite, w_u, rows),
        "the other rows belong to the person, not to the mean face": mix(w_avg, opposite, rows),
        "the norm is that of the whole latent, not of these rows": mix(w_u, ufo_target(part, w_avg), rows),
    }
    verdict = compare(got, partial_target(w_u, w_avg, rows), mistakes)
    if verdict == "Right." and not torch.equal(given, w_u):
        return "Not yet: the answer is right, but `w_u` itself was changed; work on a clone."
    return verdict


def check_forgetting(answer: Answer) -> str:
    """`answer(person, others [N])` is the lowest of the others minus the person's cosine."""
    person, others = torch.tensor(0.1), torch.tensor([0.9, 0.7, 0.95])
    mistakes = {
        "it takes the mean of the others; take the worst case": others.mean() - person,
        "it takes the best of the others; take the worst case": others.max() - person,
        "the sign is turned; forgetting more makes it larger": person - others.min(),
    }
    got = answer(person, others)
    return compare(torch.as_tensor(got) if isinstance(got, float) else got, others.min() - person, mistakes)


def check_summary(answer: Answer) -> str:
    """`answer(values [N])` is the mean and the half width of its 95 % interval."""
    values = torch.tensor([0.2, 0.5, 0.9, 0.4, 0.7, 0.1, 0.3, 0.8, 0.6])
    got = answer(values)
    if got is None or got is ...:
        return NOTHING
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "Not yet: two numbers are expected, the mean and the half width."
    mean, half = values.mean().item(), 1.96 * values.std().item() / 3
    mistakes = {
        "this is the whole width; half of it goes to each side": (mean, 2 * half),
        "the mean varies less than one value; divide by the root of n": (mean, 3 * half),
        "the standard deviation divides by n; of a sample, by n - 1": (mean, half * (8 / 9) ** 0.5),
        "1.96 is missing": (mean, half / 1.96),
    }
    return compare(torch.tensor([float(x) for x in got]), torch.tensor([mean, half]), as_tensors(mistakes))
