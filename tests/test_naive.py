"""The method as it is stated, one latent and one pass at a time, against the library: losses, gradients, weights."""

from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch
from naive import unlearn_naively
from test_released import small
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual, TurningGenerator

from guide_lib.generators import Generator
from guide_lib.losses import DistanceWeights
from guide_lib.targets import ufo_target
from guide_lib.unlearning import Step, UnlearningSettings, unlearn

NETWORKS = dict(perceptual=TinyPerceptual(), embedder=TinyEmbedder())
LOSSES = ("local", "adjacency", "global")
BASE = UnlearningSettings(steps=30, learning_rate=3e-3, mixed_precision=False)
SETTINGS = {
    "the paper's": BASE,
    "the target walks": replace(BASE, walk=0.1),
    "the grid counts": replace(BASE, grid=30.0),
    "no local loss": replace(BASE, weight_local=0.0),
    "no adjacency loss": replace(BASE, weight_adjacency=0.0),
    "no global loss": replace(BASE, weight_global=0.0),
    "one neighbour": replace(BASE, n_adjacent=1),
    "four neighbours": replace(BASE, n_adjacent=4),
    "nobody but the person": replace(BASE, n_adjacent=0, n_global=0),
    "every number another": replace(
        BASE,
        n_adjacent=3,
        n_global=1,
        alpha_max=4.0,
        weight_local=0.7,
        weight_adjacency=1.9,
        weight_global=8.0,
        distance=DistanceWeights(0.3, 0.6, 0.9),
        seed=5,
    ),
}


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def assert_same_step(found: Step, expected: Step, settings: UnlearningSettings) -> None:
    """The losses to 1e-5; of each trainable tensor the gradient and the weights to 1e-4."""
    assert found.index == expected.index
    assert found.losses["total"] == pytest.approx(expected.losses["total"], rel=1e-5)
    for name in LOSSES:
        counts = getattr(settings, f"weight_{name}") != 0
        assert found.losses[name] == pytest.approx(expected.losses[name] if counts else 0.0, rel=1e-5, abs=1e-9)
    ours, theirs = found.student.trainable_parameters(), expected.student.trainable_parameters()
    assert ours.keys() == theirs.keys()
    for name, parameter in ours.items():
        assert theirs[name].grad.norm() > 0, name
        assert relative_error(parameter.grad, theirs[name].grad) <= 1e-4, name
        assert relative_error(parameter, theirs[name]) <= 1e-4, name


def three_steps(generator: Generator, settings: UnlearningSettings, one_pass: bool) -> None:
    """The first step shows no global loss, the student being the teacher; the second and the third show all."""
    w_u = generator.sample(1, torch.Generator().manual_seed(11))
    w_t = ufo_target(w_u, generator.w_avg, d=6.0)
    methods = partial(unlearn, one_pass=one_pass), unlearn_naively
    runs = (method(generator, w_u, w_t, settings, **NETWORKS) for method in methods)
    for found, expected in zip(*(islice(run, 3) for run in runs), strict=True):
        assert_same_step(found, expected, settings)
    assert found.index == 3
    drawn = {"local": 1, "adjacency": settings.n_adjacent, "global": settings.n_global}
    assert all(expected.losses[name] > 1e-4 for name in LOSSES if drawn[name])


passes = pytest.mark.parametrize("one_pass", [False, True], ids=["term by term", "one pass"])


@passes
@pytest.mark.parametrize("kind", [TinyGenerator, TurningGenerator])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_step_of_the_library_is_the_step_of_the_method(kind, settings, one_pass):
    three_steps(kind(), settings, one_pass)


@passes
@pytest.mark.parametrize("settings", [BASE, SETTINGS["the target walks"]], ids=["the paper's", "the target walks"])
def test_so_it_is_in_three_dimensions(settings, one_pass):
    three_steps(small(), settings, one_pass)
