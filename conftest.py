"""What the examples in the docstrings of guide_lib find ready: tiny random networks, named as in the text.

They obey the real interfaces (tests/tiny.py), so an example that runs with them reads as it would with a pretrained
generator, and takes milliseconds: pytest --doctest-modules guide_lib
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("MPLBACKEND", "agg")


@cache
def unlearned() -> Any:
    """`generator` after thirty steps of unlearning `w_u`; nobody changes it."""
    from guide_lib.unlearning import UnlearningSettings, unlearn

    names = networks_and_latents()
    settings = UnlearningSettings(steps=30, learning_rate=1e-2)
    known = {"perceptual": names["perceptual"], "embedder": names["embedder"]}
    *_, last = unlearn(names["generator"], names["w_u"], names["w_t"], settings, **known)
    return last.student


def networks_and_latents() -> dict[str, Any]:
    """Fresh ones for every example, since some train: nothing depends on the order in which they run."""
    import torch
    from tiny import DeepGenerator, TinyEmbedder, TinyGenerator, TinyPerceptual

    from guide_lib.experiment import Networks
    from guide_lib.targets import ufo_target

    generator, deep = TinyGenerator(), DeepGenerator()
    perceptual, embedder, judge = TinyPerceptual(), TinyEmbedder(), TinyEmbedder(seed=2)
    w_u = generator.sample(1, torch.Generator().manual_seed(7))
    return {
        "generator": generator,
        "deep_generator": deep,
        "networks": Networks(generator, perceptual, embedder, judge),
        "perceptual": perceptual,
        "embedder": embedder,
        "judge": judge,
        "w_u": w_u,
        "w_t": ufo_target(w_u, generator.w_avg),
        "photo": generator.picture(w_u),
        "rng": torch.Generator().manual_seed(0),
        "torch": torch,
    }


MOST = 4  # processes: each loads the networks anew, and holds up to 3 GB


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: a process for each core, up to `MOST`; none besides this one where there is one core.

    Each computes with its share of the cores: more threads than cores are slower than one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = min(cores, MOST)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores // processes))
    return processes if processes > 1 else 0


@pytest.fixture(autouse=True)
def names_of_the_examples(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    """generator, w_u, w_t, student, perceptual, embedder, judge, networks, photo [1, 3, 16, 16], rng, tmp_path."""
    if isinstance(request.node, pytest.DoctestItem):
        folder: Path = request.getfixturevalue("tmp_path")
        doctest_namespace.update(networks_and_latents(), student=unlearned(), tmp_path=folder)
