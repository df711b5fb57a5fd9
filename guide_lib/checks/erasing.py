"""Checks of notebook 11: what erases a person without training."""

from __future__ import annotations

import torch

from guide_lib.checks.base import NOTHING, RIGHT, Answer, compare, fresh_rng, is_nothing
from guide_lib.closed_form import erase


def check_reader(answer: Answer) -> str:
    """`answer(v [w_dim], moment [w_dim, w_dim])` is s with s^T v = 1 and the least E (s^T x)^2, x of this moment.

    >>> check_reader(lambda v, moment: torch.linalg.solve(moment, v))
    'Not yet: it reads no 1 in v; divide by v^T S^-1 v.'
    """
    draws = torch.randn(20, 5, generator=fresh_rng(), dtype=torch.float64)
    moment, v = draws.T @ draws / 20, torch.linspace(-1, 2, 5, dtype=torch.float64)
    toward, person = torch.linalg.solve(moment, v), v.expand(1, 1, -1)
    expected = erase(person, 0 * person, 0 * person, moment).s[0, 0]
    mistakes = {
        "the sign is turned": -expected,
        "it reads no 1 in v; divide by v^T S^-1 v": toward,
        "divide by v^T S^-1 v, not by its root": toward / (v @ toward).sqrt(),
        "divide by v^T S^-1 v, not by the length": toward / toward.norm(),
        "divide by v^T S^-1 v; here it is v^T v": toward / (v @ v),
        "S took part as it is; its inverse does": moment @ v / (v @ moment @ v),
        "the population took no part; this is v / v^T v": v / (v @ v),
        "this is v itself": v,
    }
    return compare(answer(v.clone(), moment.clone()), expected, mistakes)


def check_layer(answer: Answer) -> str:
    """`answer(weight [C, w_dim], bias [C], P [w_dim, w_dim], mean [w_dim])`: the layer of M(w) as weight and bias.

    >>> check_layer(lambda weight, bias, P, mean: (weight @ P, bias))
    'bias: Not yet: it stayed as it was; P turns around the mean, not around 0.'
    """
    weight, bias = torch.randn(3, 4, generator=fresh_rng()), torch.linspace(1, 2, 3)
    rng = torch.Generator().manual_seed(1)
    P, mean = torch.randn(4, 4, generator=rng), torch.randn(4, generator=rng)
    rest = torch.eye(4) - P
    layer = {"weight": weight, "bias": bias, "P": P, "mean": mean}
    given = {name: value.clone() for name, value in layer.items()}
    kept = {name: (given[name], value) for name, value in layer.items()}
    got = answer(*given.values())
    if is_nothing(got):
        return NOTHING
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "Not yet: two tensors are expected, the weight and the bias."
    tasks = {
        "weight": (weight @ P, {"it stayed as it was": weight, "P is transposed": weight @ P.T}),
        "bias": (
            bias + weight @ rest @ mean,
            {
                "it stayed as it was; P turns around the mean, not around 0": bias,
                "the sign is turned": bias - weight @ rest @ mean,
                "it is what P leaves of the mean, not P times the mean": bias + weight @ P @ mean,
                "A is the old weight there": bias + weight @ P @ rest @ mean,
                "what P makes of the mean has to go": bias + weight @ mean,
                "the mean has to come back": bias - weight @ P @ mean,
                "the old bias is missing": weight @ rest @ mean,
            },
        ),
    }
    for (name, (expected, mistakes)), value in zip(tasks.items(), got, strict=True):
        if (verdict := compare(value, expected, mistakes, kept)) != RIGHT:
            return f"{name}: {verdict}"
    return RIGHT
