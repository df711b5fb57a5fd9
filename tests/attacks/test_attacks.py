"""Every attack on a case where it must succeed and on one where it must fail."""

import pytest
import torch
import torch.nn.functional as F
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.attacks import (
    PROBE,
    Fingerprint,
    fingerprint_alone,
    fingerprint_beside,
    neighbour_curve,
    reinvert,
    relearn,
)
from guide_lib.generators import Rendering
from guide_lib.inversion.optimise import InversionSettings
from guide_lib.inversion.pivotal import PivotalSettings
from guide_lib.targets import scale_to_rows, ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn

LPIPS, EMBEDDER, JUDGE = TinyPerceptual(), TinyEmbedder(), TinyEmbedder(seed=8)
NETWORKS = {"perceptual": LPIPS, "embedder": EMBEDDER, "judge": JUDGE}
SEARCH = InversionSettings(steps_w=60, steps_w_plus=60, learning_rate=0.1)


class Blind(TinyGenerator):
    """Draws the same grey face whatever the latent: nobody can be found in it."""

    def synthesis(self, ws, view=None):
        rendering = super().synthesis(self.w_avg.expand_as(ws), view)
        return Rendering(rendering.image + 0 * ws.sum(), rendering.features)


class Bent(TinyGenerator):
    """The tiny generator in which one latent, and a small ball around it, shows somebody else."""

    def __init__(self, w_u: torch.Tensor, radius: float) -> None:
        super().__init__()
        self.w_u, self.radius = w_u, radius

    def synthesis(self, ws, view=None):
        near = (ws - self.w_u).flatten(1).norm(dim=1) < self.radius
        image = super().synthesis(ws, view).image
        return Rendering(torch.where(near[:, None, None, None], -image.flip(-1), image), image)


@pytest.fixture
def generator() -> TinyGenerator:
    return TinyGenerator()


@pytest.fixture
def w_u(generator) -> torch.Tensor:
    return generator.sample(1, torch.Generator().manual_seed(11))


def test_reinversion_finds_the_person_in_an_untouched_generator_and_counts_its_steps(generator, w_u):
    photo = generator.synthesis(w_u).image
    found = reinvert(generator, photo, settings=SEARCH, starts=3, **NETWORKS)
    assert [attempt.space for attempt in found] == ["W", "W+"]
    assert found[0].best > 0.9 and found[1].best > 0.95
    assert [attempt.steps for attempt in found] == [180, 180]
    for attempt in found:
        images = generator.synthesis(attempt.ws).image
        expected = F.cosine_similarity(JUDGE.embed(images), JUDGE.embed(photo))
        assert torch.allclose(attempt.cosines, expected, atol=1e-5)
        assert attempt.best == pytest.approx(expected.max().item(), abs=1e-5) and attempt.seconds > 0


def test_no_attacker_draws_the_very_person_by_accident(generator, monkeypatch):
    """Person k of the evaluation is what seed k draws first; an attack with the same seed must not start there."""
    drawn = []
    real = TinyGenerator.sample
    monkeypatch.setattr(TinyGenerator, "sample", lambda *args: drawn.append(real(*args)) or drawn[-1])
    for seed in range(3):
        w_u = real(generator, 1, torch.Generator().manual_seed(seed))
        drawn.clear()
        photo, settings = generator.synthesis(w_u).image, InversionSettings(steps_w=1, steps_w_plus=0)
        reinvert(generator, photo, settings=settings, seed=seed, **NETWORKS)
        list(neighbour_curve(generator, generator, w_u, JUDGE, seed=seed))
        fingerprint_alone(generator, w_u, perceptual=NETWORKS["perceptual"], seed=seed)
        assert len(drawn) == 3 and all((ws - w_u).flatten(1).norm(dim=1).min() > 0.1 for ws in drawn)


def test_reinversion_fails_where_the_person_cannot_be_drawn(generator, w_u):
    photo = generator.synthesis(w_u).image
    assert max(attempt.best for attempt in reinvert(Blind(), photo, settings=SEARCH, starts=2, **NETWORKS)) < 0.8
    single = reinvert(generator, photo, settings=SEARCH, starts=1, **NETWORKS)
    assert all(len(attempt.ws) == 1 for attempt in single)


@pytest.mark.parametrize("kind", ["mapped", "random"])
def test_neighbours_show_the_person_next_to_a_narrow_hole_and_not_in_a_wide_one(generator, w_u, kind):
    inside = scale_to_rows(3.0, generator.rows)
    distances = (0.0, 1.0, 4.0)
    untouched = list(neighbour_curve(generator, generator, w_u, JUDGE, distances=distances, kind=kind))
    assert untouched[0].student == pytest.approx(1, abs=1e-5)
    assert all(point.student == pytest.approx(point.generator, abs=1e-6) for point in untouched)
    assert untouched[0].student > untouched[1].student > untouched[2].student
    bent = list(neighbour_curve(Bent(w_u, inside), generator, w_u, JUDGE, distances=distances, kind=kind))
    assert max(bent[0].student_max, bent[1].student_max) < 0.6
    assert bent[2].student == pytest.approx(bent[2].generator, abs=1e-6), "outside the hole nothing was hidden"
    assert bent[0].student < bent[0].generator - 0.4


def test_neighbours_lie_at_the_stated_distance(generator, w_u):
    seen = []

    class Recording(TinyGenerator):
        def synthesis(self, ws, view=None):
            seen.append(ws)
            return super().synthesis(ws, view)

    list(neighbour_curve(Recording(), generator, w_u, JUDGE, distances=(7.0,), kind="random", count=4))
    lengths = (torch.cat(seen) - w_u).flatten(1).norm(dim=1)
    assert lengths.tolist() == pytest.approx([scale_to_rows(7.0, 3)] * 4, rel=1e-4)
    with pytest.raises(ValueError, match="'mapped' or 'random', not 'sideways'"):
        next(neighbour_curve(generator, generator, w_u, JUDGE, kind="sideways"))


TUNING = PivotalSettings(steps=200, learning_rate=1e-2, threshold=0.0, locality=0.0)


def test_relearning_an_unlearned_person_takes_steps_and_the_untouched_generator_none(generator, w_u):
    photo = generator.synthesis(w_u).image
    attack = {"perceptual": LPIPS, "judge": JUDGE, "threshold": 0.9, "settings": TUNING}
    assert relearn(generator, w_u, photo, **attack).steps == 0
    w_t = ufo_target(w_u, generator.w_avg, d=6.0)
    settings = UnlearningSettings(steps=150, learning_rate=3e-3)
    student = list(unlearn(generator, w_u, w_t, settings, perceptual=LPIPS, embedder=EMBEDDER))[-1].student
    found = relearn(student, w_u, photo, **attack)
    assert found.curve[0][1] < 0.5 and 0 < found.steps <= 200 and found.steps % 5 == 0
    assert found.curve[-1] == (found.steps, pytest.approx(found.curve[-1][1])) and found.curve[-1][1] >= 0.9
    assert all(cosine < 0.9 for _, cosine in found.curve[:-1]) and found.seconds > 0


def test_relearning_fails_within_too_few_steps_or_without_a_learning_rate(generator, w_u):
    photo = TinyGenerator(seed=5).synthesis(w_u).image
    still = PivotalSettings(steps=7, learning_rate=0.0, threshold=0.0, locality=0.0)
    found = relearn(generator, w_u, photo, perceptual=LPIPS, judge=JUDGE, threshold=0.9, settings=still, look_every=3)
    assert found.steps is None and [at for at, _ in found.curve] == [0, 3, 6, 7]


class Flat(TinyGenerator):
    """The tiny generator that shows one and the same face all around one latent."""

    def __init__(self, w_u: torch.Tensor, radius: float) -> None:
        super().__init__()
        self.w_u, self.radius = w_u, radius

    def synthesis(self, ws, view=None):
        near = (ws - self.w_u).flatten(1).norm(dim=1)[:, None, None] < self.radius
        return super().synthesis(torch.where(near, self.w_avg, ws), view)


def test_a_fingerprint_gives_away_a_flat_place_and_an_untouched_generator_has_none(generator):
    candidates = generator.sample(8, torch.Generator().manual_seed(4))
    erased = 5
    flat = Flat(candidates[erased : erased + 1], radius=scale_to_rows(PROBE + 0.1, generator.rows))
    assert fingerprint_alone(flat, candidates, perceptual=LPIPS).rank(erased) == 0
    assert fingerprint_beside(flat, generator, candidates, perceptual=LPIPS).rank(erased) == 0
    untouched = fingerprint_beside(generator.student(), generator, candidates, perceptual=LPIPS)
    assert [untouched.rank(i) for i in range(8)] == [7] * 8, "equal suspicion of all is no find"
    assert fingerprint_alone(generator, candidates, perceptual=LPIPS).rank(erased) > 0


def test_a_tie_counts_against_the_attacker():
    prints = Fingerprint(torch.tensor([0.1, 0.7, 0.7, 0.2]), 0.0)
    assert [prints.rank(i) for i in range(4)] == [3, 1, 1, 2]
