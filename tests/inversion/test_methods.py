"""One call for every way from a photo to a latent: the stages each leaves, and that nothing is computed twice."""

from dataclasses import replace

import pytest
import torch
from tiny import GreyEncoder, TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.errors import GuideError
from guide_lib.experiment import Networks
from guide_lib.generators import View
from guide_lib.inversion import methods as inversion_methods
from guide_lib.inversion.methods import METHODS, Method, invert_by, reconstructions
from guide_lib.inversion.optimise import InversionSettings, invert
from guide_lib.inversion.pivotal import PivotalSettings, pivotal_tuning

SHORT = {
    "encoder": METHODS["encoder"],
    "refine": Method(True, InversionSettings(steps_w=0, steps_w_plus=3)),
    "optimise": Method(False, InversionSettings(steps_w=4, steps_w_plus=3)),
    "pivotal": Method(False, InversionSettings(steps_w=4, steps_w_plus=0), PivotalSettings(steps=3)),
}
STAGES = {
    "encoder": ["encoder"],
    "refine": ["encoder", "W+"],
    "optimise": ["W", "W+"],
    "pivotal": ["W", "tuned"],
}


@pytest.fixture
def networks() -> Networks:
    return Networks(TinyGenerator(), TinyPerceptual(), TinyEmbedder(), TinyEmbedder(seed=8))


@pytest.fixture
def photos(networks, rng) -> torch.Tensor:
    return networks.generator.synthesis(networks.generator.sample(2, rng)).image


@pytest.fixture
def found(networks, photos, tmp_path):
    encoder = GreyEncoder(networks.generator.w_avg)
    return {name: invert_by(method, networks, photos, tmp_path, encoder) for name, method in SHORT.items()}


def test_each_method_leaves_its_stages_in_order_and_time_only_grows(found):
    for name, stages in found.items():
        assert list(stages) == STAGES[name]
        assert all(stage.ws.shape == (2, 3, 6) for stage in stages.values())
        seconds = [stage.seconds for stage in stages.values()]
        assert seconds[0] > 0 and seconds == sorted(seconds)


def test_the_stages_are_what_the_parts_find_when_called_by_hand(found, networks, photos):
    generator, known = networks.generator, {"perceptual": networks.perceptual, "embedder": networks.embedder}
    answer = GreyEncoder(generator.w_avg)(photos)
    in_w = invert(generator, photos, InversionSettings(steps_w=4, steps_w_plus=0), **known)
    assert torch.allclose(found["encoder"]["encoder"].ws, answer)
    refined = invert(generator, photos, SHORT["refine"].optimisation, start=answer, **known)
    assert torch.allclose(found["refine"]["W+"].ws, refined, atol=1e-5)
    assert not torch.allclose(refined, answer, atol=1e-3)
    by_hand = invert(generator, photos, SHORT["optimise"].optimisation, **known)
    assert torch.allclose(found["optimise"]["W+"].ws, by_hand, atol=1e-5)
    *_, last = pivotal_tuning(generator, in_w, photos, SHORT["pivotal"].tuning, perceptual=networks.perceptual)
    tuned = found["pivotal"]["tuned"]
    assert torch.allclose(tuned.ws, in_w, atol=1e-5)
    drawn = tuned.generator.synthesis(in_w).image
    assert torch.allclose(drawn, last.student.synthesis(in_w).image, atol=1e-5)
    assert not torch.allclose(drawn, generator.synthesis(in_w).image, atol=1e-4)


@pytest.mark.parametrize("name", SHORT)
def test_what_was_found_is_kept_and_not_looked_for_again(name, found, networks, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(inversion_methods, "_stages", lambda *_: pytest.fail("computed again"))
    again = invert_by(SHORT[name], networks, photos, tmp_path, GreyEncoder(networks.generator.w_avg))
    for stage, first in found[name].items():
        assert torch.equal(again[stage].ws, first.ws) and again[stage].seconds == first.seconds
        drawn = [s.generator.synthesis(first.ws).image for s in (first, again[stage])]
        assert torch.equal(*drawn)


def test_another_photo_or_another_method_is_looked_for(found, networks, photos, tmp_path):
    before = set(tmp_path.iterdir())
    assert len(before) == len(SHORT)
    encoder = GreyEncoder(networks.generator.w_avg)
    invert_by(SHORT["encoder"], networks, photos.flip(3), tmp_path, encoder)
    assert len(set(tmp_path.iterdir()) - before) == 1
    for change in ({"generator": TinyGenerator(seed=1)}, {"embedder": TinyEmbedder(seed=2)}):
        invert_by(SHORT["encoder"], replace(networks, **change), photos, tmp_path, encoder)
    invert_by(SHORT["encoder"], networks, photos, tmp_path, type("Other", (GreyEncoder,), {})(networks.generator.w_avg))
    assert len(set(tmp_path.iterdir()) - before) == 4, "another generator, embedder or encoder finds something else"


def test_a_stage_is_compared_with_the_photos_through_the_generator_that_draws_it(found, networks, photos):
    stages = found["pivotal"]
    seen = reconstructions(networks, photos, stages)
    for name, stage in stages.items():
        pictures = stage.generator.synthesis(stage.ws).image
        assert torch.allclose(seen[name].pictures, pictures, atol=1e-5)
        assert torch.allclose(seen[name].lpips, networks.perceptual(pictures, photos), atol=1e-5)


def test_an_unknown_method_and_a_foreign_encoder_are_one_sentence(networks, photos, tmp_path):
    with pytest.raises(GuideError, match="no inversion method 'magic'; choose one of: encoder, refine"):
        invert_by("magic", networks, photos, tmp_path)
    with pytest.raises(GuideError, match="belongs to mobilestylegan-ffhq; invert by 'optimise'"):
        invert_by("encoder", networks, photos, tmp_path, GreyEncoder(torch.zeros(1, 23, 512)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["optimise", "pivotal"])
def test_the_cameras_of_the_photos_reach_every_stage(name, networks, photos, tmp_path, monkeypatch):
    """Nine photos, so two batches; each picture is compared from its own camera, and the cache knows the cameras."""
    many, views = photos[:1].expand(9, -1, -1, -1).clone(), [View(yaw=i) for i in range(9)]
    many += 0.01 * torch.arange(9.0).view(-1, 1, 1, 1)
    stages = invert_by(SHORT[name], networks, many, tmp_path, views=views)
    unseen = invert_by(SHORT[name], networks, many, tmp_path)
    codes, from_the_front = stages["W"].ws, unseen["W"].ws
    assert codes.std(0).max() < 0.2 * from_the_front.std(0).max(), "the same picture, whatever the camera adds"
    seen = reconstructions(networks, many, stages, views)["W"]
    assert torch.allclose(seen.pictures, networks.generator.pictures(codes, views), atol=1e-6)
    assert len(list(tmp_path.glob("inversion-*"))) == 2
