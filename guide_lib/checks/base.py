"""What the checks of the exercises share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

Answer = Callable[..., Any]
NOTHING = "Nothing to check yet: the function returns nothing."
RIGHT = "Right."


def fresh_rng() -> torch.Generator:
    """The same random inputs in every check."""
    return torch.Generator().manual_seed(0)


def is_nothing(got: Any) -> bool:
    """Whether the function has not been written yet: it returns None or `...`."""
    return got is None or got is ...


def as_tensors(mistakes: Mapping[str, Any]) -> dict[str, Tensor]:
    """The numbers that each mistake leads to, as tensors.

    >>> as_tensors({"it is doubled": [2.0, 4.0]})
    {'it is doubled': tensor([2., 4.])}
    """
    return {name: torch.tensor(values) for name, values in mistakes.items()}


def is_number(got: Any) -> bool:
    """Whether an answer is one number, be it Python's, NumPy's or a tensor of one element.

    >>> is_number(0.5), is_number(torch.tensor([0.5])), is_number([0.5]), is_number("0.5")
    (True, True, False, False)
    """
    return isinstance(got, Real) or (isinstance(got, Tensor) and got.numel() == 1)


def compare(
    got: Any, expected: Tensor, mistakes: Mapping[str, Tensor], kept: Mapping[str, tuple[Tensor, Tensor]] | None = None
) -> str:
    """The verdict on `got`; where one number is expected, any kind of number will do.

    mistakes: what is wrong -> the answer that it leads to.
    kept: an input's name -> what the function was given, as it is now, and as it was: they must be equal.

    >>> compare(torch.ones(3), torch.zeros(3), {"it is one too large": torch.ones(3)})
    'Not yet: it is one too large.'
    >>> compare(torch.ones(3), torch.zeros(2, 3), {})
    'Not yet: the shape is [3], and [2, 3] is expected.'
    >>> compare(2.0, torch.tensor(2.0), {}, {"x": (torch.ones(1), torch.zeros(1))})
    'Not yet: the answer is right, but `x` itself was changed; work on a clone.'
    """
    if is_nothing(got):
        return NOTHING
    if expected.ndim == 0 and is_number(got):
        got = torch.as_tensor(got).reshape(())
    if not isinstance(got, Tensor):
        return f"Not yet: a tensor is expected, and a {type(got).__name__} came back."
    if got.shape != expected.shape:
        return f"Not yet: the shape is {list(got.shape)}, and {list(expected.shape)} is expected."
    sentences = {RIGHT: expected, **{f"Not yet: {m}.": value for m, value in mistakes.items()}}
    found = (s for s, value in sentences.items() if torch.allclose(got.to(expected), value, rtol=1e-4, atol=1e-5))
    sentence = next(
        found, f"Not yet: it differs from the library's answer by up to {(got - expected).abs().max():.2g}."
    )
    changed = [name for name, (now, before) in (kept or {}).items() if not torch.equal(now, before)]
    if sentence == RIGHT and changed:
        return f"Not yet: the answer is right, but `{changed[0]}` itself was changed; work on a clone."
    return sentence


def compare_numbers(got: Sequence[Any], expected: Sequence[float], mistakes: Mapping[str, Sequence[float]]) -> str:
    """The verdict on several answers of one number each.

    >>> compare_numbers([1, torch.tensor(4.0)], [1, 2], {"it is squared": [1, 4]})
    'Not yet: it is squared.'
    >>> compare_numbers([1, "two"], [1, 2], {})
    'Not yet: a number is expected, and a str came back.'
    """
    if any(is_nothing(value) for value in got):
        return NOTHING
    for value in got:
        if not is_number(value):
            return f"Not yet: a number is expected, and a {type(value).__name__} came back."
    numbers = {name: [float(value) for value in values] for name, values in mistakes.items()}
    return compare(torch.tensor([float(value) for value in got]), torch.tensor(expected).float(), as_tensors(numbers))


def compare_pairs(got: Sequence[Any], what: str, expected: Sequence[float], mistakes: Mapping[str, Any]) -> str:
    """The verdict on several answers of two numbers each; `expected` and `mistakes` have one after another.

    what: the two numbers in words.

    >>> compare_pairs([(1.0, 2.0), (3.0, 5.0)], "x and y", [1.0, 2.0, 3.0, 4.0], {"y is doubled": [1.0, 4.0, 3.0, 8.0]})
    "Not yet: it differs from the library's answer by up to 1."
    >>> compare_pairs([0.5], "x and y", [1.0, 2.0], {})
    'Not yet: two numbers are expected, x and y.'
    """
    if any(is_nothing(pair) for pair in got):
        return NOTHING
    pairs = [pair.tolist() if isinstance(pair, Tensor) else pair for pair in got]
    if any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in pairs):
        return f"Not yet: two numbers are expected, {what}."
    return compare_numbers([number for pair in pairs for number in pair], expected, mistakes)


def first_fault(verdicts: Iterable[str]) -> str:
    """The first verdict that is not "Right.", or that; of a generator, those behind it are not worked out.

    >>> first_fault(["Right.", "Not yet: no.", "Not yet: nor this."])
    'Not yet: no.'
    """
    return next((verdict for verdict in verdicts if verdict != RIGHT), RIGHT)
