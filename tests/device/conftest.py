"""The devices on which the library is tried: two that are not there, and a card where there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from pretend import Pretend

PRETENDED = ["cuda", "mps"]
# Chosen by `pytest -m gpu`; without a card there is nothing to choose.
REAL = [pytest.param("card", marks=pytest.mark.gpu)] if torch.cuda.is_available() else []


@pytest.fixture(params=[*PRETENDED, *REAL])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Each device in turn, with real numbers."""
    world = contextlib.nullcontext() if request.param == "card" else Pretend(request.param)
    with world:
        yield torch.device("cuda" if request.param == "card" else request.param)


@pytest.fixture(params=PRETENDED)
def seen(request: pytest.FixtureRequest) -> Iterator[Pretend]:
    """Each pretended device in turn, with shapes alone: fast, and it counts."""
    with Pretend(request.param, empty=True) as world:
        yield world
