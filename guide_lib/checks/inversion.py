"""Checks of notebook 02: the loss of an inversion, how far a latent is from W, how far a head turns."""

from __future__ import annotations

import torch

from guide_lib.checks.base import Answer, compare, first_fault, fresh_rng
from guide_lib.generators.directions import distance_from_w
from guide_lib.inversion.optimise import InversionSettings, inversion_loss


def check_distance_from_w(answer: Answer) -> str:
    """`answer(ws [N, rows, w_dim])` is how far each latent's rows lie from their mean, the mean over the rows, [N].

    >>> check_distance_from_w(lambda ws: ws.norm(dim=2).mean(1))
    'Not yet: this is how far the rows lie from 0; subtract their mean first.'
    """
    ws = 2 + torch.randn(3, 5, 4, generator=fresh_rng())
    given, apart = ws.clone(), ws - ws.mean(1, keepdim=True)
    rows, expected = apart.norm(dim=2), distance_from_w(ws)
    mistakes = {
        "this is how far the rows lie from 0; subtract their mean first": ws.norm(dim=2).mean(1),
        "each latent has a mean of its own; this is one over all": (ws - ws.mean((0, 1))).norm(dim=2).mean(1),
        "the mean runs over the rows, not over the numbers of a row": (ws - ws.mean(2, keepdim=True))
        .norm(dim=2)
        .mean(1),
        "each row has a norm; this is one over all rows": apart.flatten(1).norm(dim=1),
        "it is a sum over the rows; take the mean": rows.sum(1),
        "these are squares; take the root in each row": apart.square().sum(2).mean(1),
        "the lengths of the rows are averaged, not the rows": apart.mean(1).norm(dim=1),
        "this is the farthest row; take the mean of all": rows.max(1).values,
    }
    return compare(answer(given), expected, mistakes, {"ws": (given, ws)})


def check_gain(answer: Answer) -> str:
    """`answer(asked [n], measured [n])` is the slope of the line with the least squares, one number."""
    cases = {
        (-16.0, -8.0, 0.0, 8.0, 16.0): (-11.0, -8.0, 2.0, 7.0, 17.0),
        (-4.0, 0.0, 2.0, 10.0): (1.0, 4.0, 9.0, 13.0),  # not around 0
    }

    def verdict(asked: torch.Tensor, measured: torch.Tensor) -> str:
        x, y = asked - asked.mean(), measured - measured.mean()
        slope, given = (x * y).sum() / x.square().sum(), (asked.clone(), measured.clone())
        mistakes = {
            "asked and measured are exchanged": (x * y).sum() / y.square().sum(),
            "subtract the mean of `asked` and of `measured` first": (asked * measured).sum() / asked.square().sum(),
            "this is the correlation; divide by the squares of what was asked": (x * y).sum() / (x.norm() * y.norm()),
            "take all points, not the first and the last": (measured[-1] - measured[0]) / (asked[-1] - asked[0]),
            "this is a mean of quotients; one of them may be 0 / 0": (measured / asked).mean(),
            "this is the covariance; divide by the squares of what was asked": (x * y).mean(),
            "it is divided by a mean, and the sum above it is a sum": (x * y).sum() / x.square().mean(),
        }
        kept = {"asked": (given[0], asked), "measured": (given[1], measured)}
        return compare(answer(*given), slope, mistakes, kept)

    return first_fault(verdict(torch.tensor(asked), torch.tensor(measured)) for asked, measured in cases.items())


def check_inversion_loss(answer: Answer) -> str:
    """`answer(perceptual [N], pixel [N], cosine [N], way [N, rows, w_dim])` is the loss of each photo [N]."""
    rng, s = fresh_rng(), InversionSettings()
    perceptual, pixel, cosine = torch.rand(3, 4, generator=rng)
    way = 3 * torch.randn(4, 5, 6, generator=rng)
    got, expected = answer(perceptual, pixel, cosine, way.clone()), inversion_loss(perceptual, pixel, cosine, way, s)
    free, squares = expected - s.anchor * way.square().mean((1, 2)), way.square().mean((1, 2))
    mistakes = {
        "the anchor is missing": free,
        "the anchor is a sum; take the mean of the squares": free + s.anchor * way.square().sum((1, 2)),
        "the anchor is averaged over all photos; each has its own way": free + s.anchor * way.square().mean(),
        "the anchor is the way itself; square it": free + s.anchor * way.mean((1, 2)),
        "the identity term rewards strangers; it is 1 - cosine": expected + s.identity * (2 * cosine - 1),
        "the weights are missing": perceptual + pixel + (1 - cosine) + squares,
    }
    return compare(got, expected, mistakes)
