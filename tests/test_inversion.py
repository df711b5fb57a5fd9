import pytest
import torch
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.errors import GuideError
from guide_lib.inversion import InversionSettings, inversion_steps, invert

NETWORKS = dict(perceptual=TinyPerceptual(), embedder=TinyEmbedder())
SETTINGS = InversionSettings(steps_w=150, steps_w_plus=100, learning_rate=0.1, anchor=0.0)


@pytest.fixture
def generator() -> TinyGenerator:
    return TinyGenerator()


def distance(generator, ws, photo):
    return (generator.synthesis(ws).image - photo).square().mean().item()


def test_a_picture_of_the_generator_is_found_again(generator):
    photo = generator.synthesis(generator.sample(1, torch.Generator().manual_seed(4))).image
    ws = invert(generator, photo, SETTINGS, **NETWORKS)
    assert distance(generator, ws, photo) < 0.01 * distance(generator, generator.w_avg, photo)


def test_w_has_equal_rows_and_w_plus_comes_closer_on_a_code_outside_w(generator):
    rng = torch.Generator().manual_seed(4)
    mixed = torch.cat([generator.sample(1, rng)[:, :1], generator.sample(1, rng)[:, 1:]], dim=1)
    photo = generator.synthesis(mixed).image
    steps = list(inversion_steps(generator, photo, SETTINGS, **NETWORKS))
    assert [s.index for s in steps] == list(range(1, 251))
    assert all(s.total == 250 and s.ws.shape == (1, 3, 6) and not s.ws.requires_grad for s in steps)
    in_w = [s for s in steps if s.space == "W"]
    assert len(in_w) == 150
    assert all(torch.equal(s.ws, s.ws[:, :1].expand(-1, 3, -1)) for s in in_w)
    assert distance(generator, steps[-1].ws, photo) < 0.5 * distance(generator, in_w[-1].ws, photo)


def test_a_photo_of_any_size_is_brought_to_the_resolution_of_the_generator(generator):
    photo = generator.synthesis(generator.sample(1, torch.Generator().manual_seed(4))).image
    twice = photo.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    class Embedder(TinyEmbedder):
        def embed(self, images):
            return super().embed(torch.nn.functional.interpolate(images, size=16, mode="area"))

    first = next(inversion_steps(generator, photo, SETTINGS, **NETWORKS))
    second = next(inversion_steps(generator, twice, SETTINGS, perceptual=TinyPerceptual(), embedder=Embedder()))
    assert second.loss == pytest.approx(first.loss, rel=1e-4)


def test_the_anchor_keeps_the_code_near_the_mean(generator):
    photo = generator.synthesis(generator.sample(1, torch.Generator().manual_seed(4))).image
    free = invert(generator, photo, SETTINGS, **NETWORKS)
    held = invert(generator, photo, InversionSettings(150, 100, 0.1, anchor=10.0), **NETWORKS)
    assert (held - generator.w_avg).norm() < 0.5 * (free - generator.w_avg).norm()


def test_a_loss_that_is_not_finite_is_one_sentence(generator):
    with pytest.raises(GuideError, match="inversion's loss became nan at step 1"):
        invert(generator, torch.full((1, 3, 16, 16), float("nan")), SETTINGS, **NETWORKS)
