"""Name -> generator."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import torch

from guide_lib.errors import GuideError
from guide_lib.generators.base import Generator
from guide_lib.generators.mobile import load_mobilestylegan

LOADERS: dict[str, Callable[[int], Generator]] = {"mobilestylegan-ffhq": load_mobilestylegan}


def load_generator(
    name: str = "mobilestylegan-ffhq", resolution: int = 256, device: str | torch.device | None = None
) -> Generator:
    """Return a pretrained generator, frozen and in evaluation mode, on `device` (the CPU by default).

    Raises:
        GuideError: unknown name, or a resolution in pixels that this generator does not offer.
    """
    if name not in LOADERS:
        near = difflib.get_close_matches(name, LOADERS, n=1, cutoff=0.0)[0]
        raise GuideError(f"There is no generator '{name}'; did you mean '{near}'? Known: {', '.join(LOADERS)}.")
    return LOADERS[name](resolution).to(device or "cpu").eval().requires_grad_(False)
