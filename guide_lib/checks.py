"""What exercises are checked with: one sentence that says "Right", or what is wrong.

    print(check_move(my_move))

A check calls the reader's function on random inputs and compares the answer with the library's, and then with what
the usual mistakes would give. Errors inside the reader's function are left to Python, which points at the line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from guide_lib.directions import move
from guide_lib.inversion import InversionSettings, inversion_loss

NOTHING = "Nothing to check yet: the function returns nothing."


def check_move(answer: Callable[..., Any]) -> str:
    """`answer(ws [N, rows, w_dim], direction [w_dim], amount, rows)` moves the given rows of a copy of ws."""
    rng = torch.Generator().manual_seed(0)
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


def check_inversion_loss(answer: Callable[..., Any]) -> str:
    """`answer(perceptual [N], pixel [N], cosine [N], way [N, rows, w_dim])` is the loss of each photo [N]."""
    rng, s = torch.Generator().manual_seed(0), InversionSettings()
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


def compare(got: Any, expected: Tensor, mistakes: Mapping[str, Tensor]) -> str:
    """The verdict on `got`; `mistakes`: what is wrong -> the answer that it leads to."""
    if got is None or got is ...:
        return NOTHING
    if not isinstance(got, Tensor):
        return f"Not yet: a tensor is expected, and a {type(got).__name__} came back."
    if got.shape != expected.shape:
        return f"Not yet: the shape is {list(got.shape)}, and {list(expected.shape)} is expected."
    for sentence, value in {"Right.": expected, **{f"Not yet: {m}.": v for m, v in mistakes.items()}}.items():
        if torch.allclose(got.to(expected), value, rtol=1e-4, atol=1e-5):
            return sentence
    return f"Not yet: it differs from the library's answer by up to {(got - expected).abs().max():.2g}."
