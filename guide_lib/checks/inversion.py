"""Checks of notebook 02: the loss of an inversion, and a move along a direction."""

from __future__ import annotations

import torch

from guide_lib.checks.base import Answer, compare, fresh_rng
from guide_lib.generators.directions import move
from guide_lib.inversion.optimise import InversionSettings, inversion_loss


def check_move(answer: Answer) -> str:
    """`answer(ws [N, rows, w_dim], direction [w_dim], amount, rows)` moves the given rows of a copy of ws."""
    rng = fresh_rng()
    ws, direction = torch.randn(2, 5, 4, generator=rng), torch.randn(4, generator=rng)
    amount, rows, given = 2.5, [1, 3], ws.clone()
    got, expected = answer(given, direction, amount, rows), move(ws, direction, amount, rows)
    mistakes = {
        "the codes came back as they were": ws,
        "every row moved; move only those in `rows`": move(ws, direction, amount),
        "the codes moved backwards; add the direction, do not subtract it": move(ws, direction, -amount, rows),
        "`amount` made no difference; multiply the direction by it": move(ws, direction, 1.0, rows),
    }
    verdict = compare(got, expected, mistakes)
    if verdict == "Right." and not torch.equal(given, ws):
        return "Not yet: the answer is right, but `ws` itself was changed; work on ws.clone()."
    return verdict


def check_inversion_loss(answer: Answer) -> str:
    """`answer(perceptual [N], pixel [N], cosine [N], way [N, rows, w_dim])` is the loss of each photo [N]."""
    rng, s = fresh_rng(), InversionSettings()
    perceptual, pixel, cosine = torch.rand(3, 4, generator=rng)
    way = 3 * torch.randn(4, 5, 6, generator=rng)
    got, expected = answer(perceptual, pixel, cosine, way), inversion_loss(perceptual, pixel, cosine, way, s)
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
