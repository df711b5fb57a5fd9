"""What the checks of the exercises share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Answer = Callable[..., Any]
NOTHING = "Nothing to check yet: the function returns nothing."


def fresh_rng() -> torch.Generator:
    """The same random inputs in every check."""
    return torch.Generator().manual_seed(0)


def as_tensors(mistakes: Mapping[str, Any]) -> dict[str, Tensor]:
    """The numbers that each mistake leads to, as tensors.

    >>> as_tensors({"it is doubled": [2.0, 4.0]})
    {'it is doubled': tensor([2., 4.])}
    """
    return {name: torch.tensor(values) for name, values in mistakes.items()}


def compare(got: Any, expected: Tensor, mistakes: Mapping[str, Tensor]) -> str:
    """The verdict on `got`; `mistakes`: what is wrong -> the answer that it leads to.

    >>> compare(torch.ones(3), torch.zeros(3), {"it is one too large": torch.ones(3)})
    'Not yet: it is one too large.'
    >>> compare(torch.ones(3), torch.zeros(2, 3), {})
    'Not yet: the shape is [3], and [2, 3] is expected.'
    """
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
