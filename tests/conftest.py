"""Set-up shared by all tests: reproducible numbers, an allocator fit for training, no display.

The number of threads is left to the machine: forcing it makes small machines slower, not more exact.
"""

import os
import random

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from guide_lib.assets import shipped
from guide_lib.perception.photos import load_photo
from guide_lib.runtime import keep_freed_memory

# Same examples in every run, and no time limit for each: a shared machine is slow now and then.
settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """Called once before collection."""
    os.environ.setdefault("MPLBACKEND", "agg")
    keep_freed_memory()


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Library code draws from generators passed to it; this pins other packages and the tests themselves."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def rng() -> torch.Generator:
    """A fresh CPU generator with a fixed seed, as the library's functions expect."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def portrait() -> Image.Image:
    """The bundled portrait, RGB. Not to be changed in place."""
    return load_photo(shipped("portrait.png"))


@pytest.fixture(scope="session")
def pair(portrait: Image.Image) -> Image.Image:
    """Two faces side by side, the right one a mirror image of the left."""
    face = portrait.crop((100, 0, 350, 300))
    both = Image.new("RGB", (500, 300), "grey")
    both.paste(face, (0, 0))
    both.paste(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (250, 0))
    return both
