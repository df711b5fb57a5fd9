from dataclasses import replace

import pytest
import torch
from tiny import TinyGenerator, TinyPerceptual

from guide_lib.errors import GuideError
from guide_lib.generators import View
from guide_lib.inversion.pivotal import PivotalSettings, nearby_codes, pivotal_tuning

LPIPS = TinyPerceptual()
SETTINGS = PivotalSettings(steps=60, learning_rate=1e-2, threshold=0.0, locality=0.0, alpha=3.0)


@pytest.fixture
def generator() -> TinyGenerator:
    return TinyGenerator()


def pairs(generator: TinyGenerator, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Pivots, and photos that the generator does not draw there: another network's pictures."""
    ws = generator.sample(count, torch.Generator().manual_seed(3))
    return ws, TinyGenerator(seed=5).synthesis(ws).image


def tune(generator, settings=SETTINGS, count: int = 1):
    return list(pivotal_tuning(generator, *pairs(generator, count), settings, perceptual=LPIPS))


def weights(network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("count", [1, 3])
def test_every_pivot_comes_to_draw_its_photo(generator, count):
    ws, photos = pairs(generator, count)
    steps = tune(generator, replace(SETTINGS, steps=150), count)
    assert [step.index for step in steps] == list(range(1, 151)) and all(step.total == 150 for step in steps)
    before, after = LPIPS(generator.synthesis(ws).image, photos), LPIPS(steps[-1].student.synthesis(ws).image, photos)
    assert (after < 0.35 * before).all()
    assert steps[0].losses["perceptual"] == pytest.approx(before.mean().item(), rel=1e-5)


def test_the_given_generator_and_the_frozen_parts_of_the_copy_are_unchanged(generator):
    before = weights(generator)
    student = tune(generator, replace(SETTINGS, locality=0.1))[-1].student
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    changed = {name for name, tensor in student.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(generator.trainable_parameters())


def test_locality_keeps_the_neighbours_and_the_photo_is_drawn_all_the_same(generator):
    """Neighbours that no step drew; measured by the pixels alone."""
    ws, photo = pairs(generator)
    others = generator.sample(64, torch.Generator().manual_seed(77))
    around = nearby_codes(ws.expand(64, -1, -1), others, SETTINGS.alpha)

    def errors(locality: float) -> tuple[float, float]:
        student = tune(generator, replace(SETTINGS, locality=locality))[-1].student
        moved = (student.synthesis(around).image - generator.synthesis(around).image).square().mean()
        return moved.item(), LPIPS(student.synthesis(ws).image, photo).item()

    (moved_with, at_pivot_with), (moved_without, at_pivot_without) = errors(0.5), errors(0.0)
    assert moved_with < 0.5 * moved_without
    assert at_pivot_with < 1.1 * at_pivot_without


def test_the_losses_are_those_that_a_loop_computes(generator):
    """The first step of three photos with two neighbours each: the student still is the original, so L_R is 0; after
    it the regulariser is measured on the codes that the step's own random numbers give."""
    settings = replace(SETTINGS, locality=0.5, pixel=0.7, locality_pixel=2.0, n_locality=2)
    ws, photos = pairs(generator, 3)
    run = pivotal_tuning(generator, ws, photos, settings, perceptual=LPIPS)
    first = next(run)
    pictures = generator.synthesis(ws).image
    perceptual = sum(LPIPS(pictures[i : i + 1], photos[i : i + 1]).item() for i in range(3)) / 3
    pixel = ((pictures - photos) ** 2).mean().item()
    expected = {"perceptual": perceptual, "pixel": pixel, "locality": 0.0, "total": perceptual + 0.7 * pixel}
    assert first.losses == pytest.approx(expected, rel=1e-5)
    second = next(run)
    weighted = second.losses["perceptual"] + 0.7 * second.losses["pixel"] + 0.5 * second.losses["locality"]
    assert second.losses["locality"] > 0 and second.losses["total"] == pytest.approx(weighted, rel=1e-5)


def test_a_few_photos_at_a_time_give_the_same(generator, monkeypatch):
    settings = replace(SETTINGS, steps=8, locality=0.5, n_locality=2)
    ws, photos = pairs(generator, 3)
    together = list(pivotal_tuning(generator, ws, photos, settings, perceptual=LPIPS))
    monkeypatch.setattr(TinyGenerator, "drawn_at_once", 2)
    apart = list(pivotal_tuning(generator, ws, photos, settings, perceptual=LPIPS))
    assert [step.losses for step in apart] == [pytest.approx(step.losses, rel=1e-3) for step in together]
    weights = apart[-1].student.trainable_parameters()
    for name, weight in together[-1].student.trainable_parameters().items():
        assert torch.allclose(weights[name], weight, atol=1e-3)


def test_nearby_codes_lie_at_alpha_per_row_of_the_paper(generator):
    rng = torch.Generator().manual_seed(1)
    pivots, others = generator.sample(4, rng), generator.sample(4, rng)
    codes = nearby_codes(pivots, others, 30.0)
    for pivot, other, code in zip(pivots, others, codes, strict=True):
        # 30 over StyleGAN2's 18 rows is 30 / sqrt(18) for each; the direction is that to the other person.
        assert (code - pivot).norm().item() / 3**0.5 == pytest.approx(30 / 18**0.5, rel=1e-5)
        cosine = torch.cosine_similarity((code - pivot).flatten(), (other - pivot).flatten(), dim=0)
        assert cosine.item() == pytest.approx(1, abs=1e-5)


def test_it_stops_at_the_threshold_and_hands_out_what_reached_it(generator):
    ws, photos = pairs(generator, 2)
    worst = max(LPIPS(generator.synthesis(ws).image, photos).tolist())
    steps = tune(generator, replace(SETTINGS, steps=500, threshold=0.5 * worst), 2)
    assert 1 < len(steps) < 500
    assert max(LPIPS(steps[-1].student.synthesis(ws).image, photos).tolist()) <= 0.5 * worst
    already = tune(generator, replace(SETTINGS, threshold=2 * worst), 2)
    assert len(already) == 1
    assert all(torch.equal(t, generator.state_dict()[n]) for n, t in already[0].student.state_dict().items())


def test_seeds_reproduce_and_differ(generator):
    settings = replace(SETTINGS, steps=5, locality=1.0)
    first, again, other = (weights(tune(generator, replace(settings, seed=s))[-1].student) for s in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_what_cannot_be_tuned_is_one_sentence(generator):
    ws, photos = pairs(generator, 2)
    with pytest.raises(GuideError, match="There are 2 photos but 1 pivots; give one pivot for each photo."):
        next(pivotal_tuning(generator, ws[:1], photos, SETTINGS, perceptual=LPIPS))
    with pytest.raises(GuideError, match="pivotal tuning became nan at step 1; use a smaller learning rate."):
        next(pivotal_tuning(generator, ws, photos * float("nan"), SETTINGS, perceptual=LPIPS))


def test_defaults_are_the_released_settings():
    settings = PivotalSettings()
    assert (settings.steps, settings.learning_rate, settings.threshold) == (350, 3e-4, 0.07)
    assert (settings.pixel, settings.locality, settings.locality_pixel) == (1.0, 0.1, 1.0)
    assert (settings.n_locality, settings.alpha) == (1, 30.0)


@pytest.mark.parametrize("locality", [0.0, 0.1])
def test_photos_are_tuned_from_where_they_were_taken(generator, locality):
    """The pictures of two cameras at one's own pivots: nothing is left to tune, except from the front."""
    ws, views = generator.sample(2, torch.Generator().manual_seed(3)), [View(yaw=30), View(yaw=-20)]
    photos, settings = generator.pictures(ws, views), replace(SETTINGS, steps=1, locality=locality, n_locality=2)
    (seen,), (from_the_front,) = (
        list(pivotal_tuning(generator, ws, photos, settings, perceptual=LPIPS, views=v)) for v in (views, None)
    )
    assert seen.losses["total"] == pytest.approx(0, abs=1e-9) and from_the_front.losses["perceptual"] > 0.01
