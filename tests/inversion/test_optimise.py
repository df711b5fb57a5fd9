from dataclasses import replace

import pytest
import torch
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.errors import GuideError
from guide_lib.generators import View
from guide_lib.inversion.optimise import InversionSettings, inversion_steps, invert

NETWORKS = dict(perceptual=TinyPerceptual(), embedder=TinyEmbedder())
SETTINGS = InversionSettings(steps_w=150, steps_w_plus=100, learning_rate=0.1, anchor=0.0)
SHORT = InversionSettings(steps_w=12, steps_w_plus=8, learning_rate=0.1)


class IdleRow(TinyGenerator):
    """A fourth row, 2, that no layer takes, as the late blocks' rows at a low resolution."""

    rows = 4

    def __init__(self) -> None:
        super().__init__()
        self.w_avg = self.w_avg[:, :1].expand(-1, 4, -1).clone()

    def synthesis(self, ws, view=None):
        return super().synthesis(ws[:, [0, 1, 3]], view)


@pytest.fixture
def generator() -> TinyGenerator:
    return TinyGenerator()


def draw(generator, count: int = 1, seed: int = 4) -> torch.Tensor:
    return generator.synthesis(generator.sample(count, torch.Generator().manual_seed(seed))).image


def distance(generator, ws, photo):
    return (generator.synthesis(ws).image - photo).square().mean().item()


def test_a_picture_of_the_generator_is_found_again(generator):
    photo = draw(generator)
    ws = invert(generator, photo, SETTINGS, **NETWORKS)
    assert distance(generator, ws, photo) < 0.01 * distance(generator, generator.w_avg, photo)


def test_w_has_equal_rows_and_w_plus_comes_closer_on_a_code_outside_w(generator):
    rng = torch.Generator().manual_seed(4)
    mixed = torch.cat([generator.sample(1, rng)[:, :1], generator.sample(1, rng)[:, 1:]], dim=1)
    photo = generator.synthesis(mixed).image
    steps = list(inversion_steps(generator, photo, SETTINGS, **NETWORKS))
    assert [s.index for s in steps] == list(range(1, 251))
    assert all(s.total == 250 and s.ws.shape == (1, 3, 6) and not s.ws.requires_grad for s in steps)
    assert all(s.loss.shape == (1,) and s.seconds > 0 for s in steps)
    in_w = [s for s in steps if s.space == "W"]
    assert len(in_w) == 150
    assert all(torch.equal(s.ws, s.ws[:, :1].expand(-1, 3, -1)) for s in in_w)
    assert distance(generator, steps[-1].ws, photo) < 0.5 * distance(generator, in_w[-1].ws, photo)


@pytest.mark.parametrize("at_once", [64, 2])
@pytest.mark.parametrize("patience", [None, 3])
def test_a_batch_finds_what_each_photo_finds_alone(generator, patience, at_once, monkeypatch):
    """Every step's loss and code; with an early stop too, although the photos stop at different steps."""
    monkeypatch.setattr(TinyGenerator, "drawn_at_once", at_once)
    photos, settings = draw(generator, 3), replace(SHORT, steps_w=40, patience=patience, tolerance=0.05)
    together = list(inversion_steps(generator, photos, settings, **NETWORKS))
    lengths = set()
    for i in range(3):
        alone = list(inversion_steps(generator, photos[i : i + 1], settings, **NETWORKS))
        lengths.add(len(alone))
        for space in ("W", "W+"):
            mine, all_of_us = ([s for s in steps if s.space == space] for steps in (alone, together))
            for one, many in zip(mine, all_of_us, strict=False):
                assert torch.allclose(one.loss, many.loss[i : i + 1], atol=1e-5)
                assert torch.allclose(one.ws, many.ws[i : i + 1], atol=1e-4)
            assert torch.allclose(mine[-1].ws, all_of_us[-1].ws[i : i + 1], atol=1e-4)
    assert lengths == {48} if patience is None else len(lengths) > 1


def test_the_loss_is_the_one_that_a_loop_over_photos_computes(generator):
    photos, rng = draw(generator, 2), torch.Generator().manual_seed(5)
    settings = InversionSettings(0, 1, perceptual=0.7, pixel=0.2, identity=0.4, anchor=0.5, grid=30.0)
    odd = (-1.0) ** torch.arange(16)
    patterns = [odd[:, None], odd, odd[:, None] * odd]  # one square of 16 px is the whole picture
    start = generator.sample(2, rng) + torch.randn(2, 3, 6, generator=rng)
    first, second = inversion_steps(generator, photos, replace(settings, steps_w_plus=2), start=start, **NETWORKS)
    for step, ws in ((first, start), (second, first.ws)):
        for i in range(2):
            image, photo = generator.synthesis(ws[i : i + 1]).image, photos[i : i + 1]
            a, b = (NETWORKS["embedder"].embed(x)[0] for x in (image, photo))
            expected = 0.7 * NETWORKS["perceptual"](image, photo).item()
            expected += 0.2 * ((image - photo) ** 2).sum().item() / (3 * 16 * 16)
            expected += 0.4 * (1 - float(a @ b))
            expected += 0.5 * ((ws[i] - start[i]) ** 2).sum().item() / (3 * 6)
            woven = [((image - photo) * pattern)[0].mean((1, 2)).square().sum().item() for pattern in patterns]
            expected += 30.0 * sum(woven) / 9
            assert step.loss[i].item() == pytest.approx(expected, rel=1e-4)


def test_a_row_without_a_picture_stays_where_w_left_it():
    generator = IdleRow()
    steps = list(inversion_steps(generator, draw(generator), replace(SHORT, anchor=0.5), **NETWORKS))
    left = [s.ws for s in steps if s.space == "W"][-1]
    assert not torch.allclose(left[:, 2], generator.w_avg[:, 2], atol=0.01)
    for step in steps[12:]:
        assert torch.equal(step.ws[:, 2], left[:, 2])
    moved = (steps[-1].ws - left).abs().amax((0, 2))
    assert moved[[0, 1, 3]].min() > 1e-4


def test_w_plus_from_given_codes_is_anchored_to_them(generator):
    photo = draw(generator)
    start = generator.sample(1, torch.Generator().manual_seed(9)) + torch.tensor([[[0.3], [-0.3], [0.1]]])
    only_w_plus = replace(SETTINGS, steps_w=0)
    free = invert(generator, photo, only_w_plus, start=start, **NETWORKS)
    held = invert(generator, photo, replace(only_w_plus, anchor=100.0), start=start, **NETWORKS)
    assert (held - start).norm() < 0.1 * (free - start).norm()
    assert {s.space for s in inversion_steps(generator, photo, only_w_plus, start=start, **NETWORKS)} == {"W+"}


def test_a_good_start_saves_steps(generator):
    rng = torch.Generator().manual_seed(4)
    truth = generator.sample(1, rng)
    photo, near = generator.synthesis(truth).image, truth + 0.05 * torch.randn(truth.shape, generator=rng)
    cold = next(inversion_steps(generator, photo, SHORT, **NETWORKS))
    for settings in (SHORT, replace(SHORT, steps_w=0)):
        warm = next(inversion_steps(generator, photo, settings, start=near, **NETWORKS))
        assert warm.loss < 0.2 * cold.loss


def test_without_steps_the_start_is_the_answer(generator):
    start = generator.sample(2, torch.Generator().manual_seed(9))
    assert torch.equal(invert(generator, draw(generator, 2), InversionSettings(0, 0), start=start, **NETWORKS), start)


def test_a_start_of_another_shape_is_one_sentence(generator):
    with pytest.raises(GuideError, match=r"have the shape \[1, 3, 6\]; give one of \[2, 3, 6\]."):
        invert(generator, draw(generator, 2), SHORT, start=generator.w_avg, **NETWORKS)


def test_an_early_stop_ends_a_space_that_no_longer_improves(generator):
    photo, settings = draw(generator), replace(SETTINGS, patience=5, tolerance=0.02)
    stopped = list(inversion_steps(generator, photo, settings, **NETWORKS))
    whole = list(inversion_steps(generator, photo, SETTINGS, **NETWORKS))
    for space, limit in (("W", 150), ("W+", 100)):
        losses = [s.loss.item() for s in stopped if s.space == space]
        assert 0 < len(losses) < limit
        best, stall = float("inf"), 0
        for loss in losses:  # an explicit loop: no step may follow five without improvement
            stall = 0 if loss < best * 0.98 else stall + 1
            best = loss if stall == 0 else best
            assert stall < 5
    assert [s.index for s in stopped] == list(range(1, len(stopped) + 1))
    same = [s for s in stopped if s.space == "W"]
    assert all(torch.equal(a.ws, b.ws) for a, b in zip(same, whole, strict=False)), "only the end may differ"


def test_a_photo_of_any_size_is_brought_to_the_resolution_of_the_generator(generator):
    photo = draw(generator)
    twice = photo.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    class Embedder(TinyEmbedder):
        def embed(self, images):
            return super().embed(torch.nn.functional.interpolate(images, size=16, mode="area"))

    first = next(inversion_steps(generator, photo, SETTINGS, **NETWORKS))
    second = next(inversion_steps(generator, twice, SETTINGS, perceptual=TinyPerceptual(), embedder=Embedder()))
    assert torch.allclose(second.loss, first.loss, rtol=1e-4)


def test_the_anchor_in_w_keeps_the_code_near_the_mean(generator):
    photo, only_w = draw(generator), replace(SETTINGS, steps_w_plus=0)
    free = invert(generator, photo, only_w, **NETWORKS)
    held = invert(generator, photo, replace(only_w, anchor=10.0), **NETWORKS)
    assert (held - generator.w_avg).norm() < 0.5 * (free - generator.w_avg).norm()


@pytest.mark.parametrize("patience", [None, 1])
def test_a_loss_that_is_not_finite_is_one_sentence(generator, patience):
    photos = draw(generator, 2)
    photos[1] = float("nan")
    with pytest.raises(GuideError, match="inversion's loss became nan at step 1"):
        invert(generator, photos, replace(SETTINGS, patience=patience), **NETWORKS)


def test_photos_from_the_side_are_found_from_where_they_were_taken(generator):
    """Each has its own camera; without it the code takes in what only the camera did."""
    ws, views = generator.sample(2, torch.Generator().manual_seed(4)), [View(yaw=30), View(yaw=-20)]
    photos = generator.pictures(ws, views)

    def off(codes):
        return (generator.pictures(codes, views) - photos).square().mean().item()

    seen, from_the_front = (invert(generator, photos, SETTINGS, views=v, **NETWORKS) for v in (views, None))
    assert off(seen) < 0.1 * off(from_the_front)
    alone = [invert(generator, photos[i : i + 1], SETTINGS, views=views[i : i + 1], **NETWORKS) for i in range(2)]
    assert torch.allclose(seen, torch.cat(alone), atol=1e-3)


def test_pictures_from_one_camera_are_drawn_together(generator, monkeypatch):
    passes, ws = [], generator.sample(3, torch.Generator().manual_seed(4))
    monkeypatch.setattr(generator, "picture", lambda ws, view=None: passes.append((len(ws), view)) or ws)
    for views in (None, [View(5)] * 3, [View(5), View(5), View(6)]):
        generator.pictures(ws, views)
    assert passes == [(3, None), (3, View(5)), (1, View(5)), (1, View(5)), (1, View(6))]


def test_in_mixed_precision_other_codes_are_found_equally_good(generator, monkeypatch):
    drawn, real = [], TinyGenerator.synthesis
    monkeypatch.setattr(
        TinyGenerator, "synthesis", lambda *a: drawn.append(torch.is_autocast_enabled("cpu")) or real(*a)
    )
    photo = draw(generator)
    drawn.clear()
    found = {}
    for mixed in (False, True):
        found[mixed] = invert(generator, photo, replace(SETTINGS, mixed_precision=mixed), **NETWORKS)
        assert set(drawn) == {mixed}
        drawn.clear()
    assert found[True].dtype == torch.float32 and not torch.equal(*found.values())
    mean = distance(generator, generator.w_avg, photo)
    assert all(distance(generator, ws, photo) < 0.05 * mean for ws in found.values())
