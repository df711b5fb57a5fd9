import copy
from dataclasses import replace
from itertools import islice

import pytest
import torch
from tiny import DeepGenerator, TinyEmbedder, TinyGenerator, TinyPerceptual
from torch import nn
from torch.nn.utils import parametrize

from guide_lib.errors import GuideError
from guide_lib.generators.adapters import add_adapters, backbone_blocks, drop_adapters
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.generators.mobile import MobileStyleGAN
from guide_lib.runtime import step_rng
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn
from guide_lib.variants import RANK, start_training

NETWORKS = dict(perceptual=TinyPerceptual(), embedder=TinyEmbedder())
SETTINGS = {
    "styles": UnlearningSettings(steps=40, learning_rate=1e-3, trained="styles"),
    "lora": UnlearningSettings(steps=40, learning_rate=3e-3, trained="lora"),
    "adapters": UnlearningSettings(steps=40, learning_rate=3e-3, trained="adapters"),
}
variants = pytest.mark.parametrize("trained", list(SETTINGS))
every = pytest.mark.parametrize("trained", ["weights", *SETTINGS])


def person(generator: TinyGenerator) -> tuple[torch.Tensor, torch.Tensor]:
    w_u = generator.sample(1, torch.Generator().manual_seed(11))
    return w_u, ufo_target(w_u, generator.w_avg, d=6.0)


def steps_of(generator: TinyGenerator, settings: UnlearningSettings, **options):
    return unlearn(generator, *person(generator), settings, **NETWORKS, **options)


def others(generator: TinyGenerator) -> torch.Tensor:
    return generator.sample(5, torch.Generator().manual_seed(99))


def assert_draws_the_same(a, b) -> None:
    ws = others(a)
    found, expected = a.synthesis(ws), b.synthesis(ws)
    assert torch.equal(found.image, expected.image) and torch.equal(found.features, expected.features)


def assert_same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@every
def test_before_the_first_step_the_student_draws_what_the_generator_draws(trained):
    generator = DeepGenerator()
    training = start_training(trained, generator, torch.Generator().manual_seed(0))
    training.apply()
    assert_draws_the_same(training.student, generator)


@pytest.mark.parametrize("trained", ["lora", "adapters"])  # one style of the small generator cannot
def test_the_person_moves_to_the_target(trained):
    generator = DeepGenerator()
    w_u, w_t = person(generator)
    history = list(steps_of(generator, replace(SETTINGS[trained], steps=300)))
    assert history[-1].losses["local"] < 0.5 * history[0].losses["local"]
    target, source = generator.synthesis(w_t).image, generator.synthesis(w_u).image
    assert (history[-1].student.synthesis(w_u).image - target).norm() < 0.7 * (source - target).norm()


def test_only_the_style_layers_change():
    generator = DeepGenerator()
    before = {name: t.clone() for name, t in generator.state_dict().items()}
    training = start_training("styles", generator, torch.Generator())
    assert {name for name, p in training.student.named_parameters() if p.requires_grad} == {"backbone.bias"}
    *_, last = steps_of(generator, SETTINGS["styles"])
    assert_same_bits(generator.state_dict(), before)
    after = last.student.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {"backbone.bias"}


def test_lora_changes_the_matrices_by_no_more_than_its_rank_and_nothing_else():
    generator = DeepGenerator()
    before = {name: t.clone() for name, t in generator.state_dict().items()}
    *_, last = steps_of(generator, SETTINGS["lora"])
    assert_same_bits(generator.state_dict(), before)
    after = last.student.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert after.keys() == before.keys()
    assert changed == {"backbone.weight", "layers.0.conv1.weight", "layers.1.conv1.weight"}
    singular = torch.linalg.svdvals((after["backbone.weight"] - before["backbone.weight"]).double())
    assert singular[RANK - 1] > 1e-3 * singular[0] > 1e2 * singular[RANK], "rank 4, but for rounding"


class Sum(nn.Module):
    """W -> W + B A, as a parametrisation."""

    def __init__(self, a: torch.Tensor, b: torch.Tensor) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(a.detach().clone()), nn.Parameter(b.detach().clone())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + (self.b @ self.a).view_as(weight)


def test_the_gradients_of_a_and_b_are_those_of_a_parametrised_network():
    generator, rng = DeepGenerator(), torch.Generator().manual_seed(0)
    training = start_training("lora", generator, rng)
    with torch.no_grad():
        for factor in training.parameters.values():
            factor.copy_(torch.randn(factor.shape, generator=rng))
    training.apply()
    training.student.synthesis(others(generator)).image.square().sum().backward()
    training.collect()
    twin = copy.deepcopy(generator)
    sums = {}
    for name in ("backbone", "layers.0.conv1", "layers.1.conv1"):
        sums[name] = Sum(*(training.parameters[f"{name}.weight.{factor}"] for factor in "AB"))
        parametrize.register_parametrization(twin.get_submodule(name), "weight", sums[name])
    twin.synthesis(others(generator)).image.square().sum().backward()
    for name, expected in sums.items():
        for factor, grad in (("A", expected.a.grad), ("B", expected.b.grad)):
            torch.testing.assert_close(training.parameters[f"{name}.weight.{factor}"].grad, grad, rtol=1e-4, atol=1e-4)
            assert grad.norm() > 1e-3


def test_dropping_the_adapters_brings_everything_back():
    generator = DeepGenerator()
    before = {name: t.clone() for name, t in generator.state_dict().items()}
    *_, last = steps_of(generator, SETTINGS["adapters"])
    student = last.student
    assert_same_bits(generator.state_dict(), before)
    w_u, _ = person(generator)
    assert not torch.equal(student.synthesis(w_u).image, generator.synthesis(w_u).image)
    assert all("adapters.0" in name for name in student.state_dict().keys() - before.keys())
    drop_adapters(student)
    assert_same_bits(student.state_dict(), before)
    assert_draws_the_same(student, generator)


def test_a_second_person_gets_adapters_of_their_own():
    *_, first = steps_of(DeepGenerator(), SETTINGS["adapters"])
    kept = copy.deepcopy(first.student)
    *_, second = steps_of(first.student, SETTINGS["adapters"])
    assert_draws_the_same(first.student, kept)
    w_u, _ = person(kept)
    assert not torch.equal(second.student.synthesis(w_u).image, kept.synthesis(w_u).image)
    drop_adapters(second.student)
    assert_draws_the_same(second.student, kept)


def test_an_adapter_takes_four_steps_of_euler():
    generator, rng = DeepGenerator(), torch.Generator().manual_seed(0)
    add_adapters(generator, rng)
    adapter = generator.layers[0].adapters[0]
    f = nn.Sequential(nn.Linear(5, 256), nn.LeakyReLU(0.2), nn.Linear(256, 5))
    weights = adapter.inward[..., 0, 0], torch.randn(256), 0.02 * torch.randn(5, 256), torch.randn(5)
    for parameter, weight in zip(f.parameters(), weights, strict=True):
        parameter.data = weight.detach()
    for name, weight in zip(("inward_bias", "outward", "outward_bias"), weights[1:], strict=True):
        getattr(adapter, name).data = weight.view_as(getattr(adapter, name))
    x = pixels = torch.randn(5, generator=rng)
    for _ in range(4):
        pixels = pixels + 0.4 * f(pixels)
    torch.testing.assert_close(adapter(x.view(1, 5, 1, 1)).flatten(), pixels, rtol=1e-4, atol=1e-4)


@variants
def test_stopping_and_resuming_gives_the_same_bits(trained, tmp_path):
    generator, path, settings = DeepGenerator(), tmp_path / "checkpoint.safetensors", SETTINGS[trained]
    *_, whole = steps_of(generator, settings)
    run = steps_of(generator, settings, checkpoint=path, checkpoint_seconds=0)
    *_, stopped = islice(run, 13)
    run.close()
    resumed = list(steps_of(generator, settings, checkpoint=path))
    assert [step.index for step in resumed] == list(range(13, 41))
    assert resumed[-1].losses == whole.losses
    assert_same_bits(resumed[-1].student.state_dict(), whole.student.state_dict())
    first = next(steps_of(generator, settings, checkpoint=path))
    assert_draws_the_same(first.student, whole.student)
    with pytest.raises(GuideError, match="belongs to another run"):
        next(unlearn(DeepGenerator(seed=1), *person(generator), settings, **NETWORKS, checkpoint=path))


@variants
def test_a_student_is_a_generator_like_any_other(trained):
    *_, last = steps_of(DeepGenerator(), SETTINGS[trained])
    student = last.student
    assert_draws_the_same(copy.deepcopy(student), student)
    pupil = student.student()
    assert_draws_the_same(pupil, student)
    assert all(p.requires_grad for p in pupil.trainable_parameters().values())
    saved = {name: p.detach().clone() for name, p in student.trainable_parameters().items()}
    fresh = DeepGenerator()
    if trained == "adapters":
        add_adapters(fresh, torch.Generator())
    fresh.load_state_dict(fresh.state_dict() | saved)
    assert_draws_the_same(fresh, student)


def random_mobile(resolution: int) -> MobileStyleGAN:
    generator, rng = MobileStyleGAN(resolution), torch.Generator().manual_seed(0)
    for tensor in generator.state_dict().values():
        tensor.copy_(0.05 * torch.randn(tensor.shape, generator=rng))
    return generator.requires_grad_(False).eval()


@torch.no_grad()
def test_adapters_follow_the_blocks_of_mobilestylegan_and_change_nothing_at_first():
    generator = random_mobile(128)
    ws = generator.w_avg.clone()
    before = generator.synthesis(ws)
    added = add_adapters(generator, step_rng(0, 0))
    assert backbone_blocks(generator) == list(generator.synthesis_network.layers[:4])
    assert sum(p.numel() for p in added.values()) == 4 * (2 * 512 * 256 + 512 + 256)
    after = generator.synthesis(ws)
    assert before.image.std() > 0
    assert torch.equal(after.image, before.image) and torch.equal(after.features, before.features)
    generator.synthesis_network.layers[3].adapters[0].outward.add_(0.1)
    assert not torch.equal(generator.synthesis(ws).features, before.features)


@pytest.mark.parametrize(
    "trained, count", [("weights", 6_894_336), ("styles", 3_086_208), ("lora", 87_040), ("adapters", 1_183_232)]
)
def test_so_many_numbers_learn_at_256_px(trained, count):
    with torch.device("meta"):
        generator = MobileStyleGAN(256)
    parameters = start_training(trained, generator, torch.Generator()).parameters
    assert sum(p.numel() for p in parameters.values()) == count


@torch.no_grad()
def test_adapters_follow_the_blocks_of_eg3d():
    sizes = dict(plane_size=16, plane_channels=2, channel_base=64, channel_max=8, render_size=4, enlarge_from=4)
    config = EG3DConfig(z_dim=6, w_dim=8, decoder_width=4, enlarge_widths=(4, 4), **sizes)
    generator, rng = EG3D.random(config, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    ws = generator.sample(1, rng)
    before = generator.planes(ws)
    add_adapters(generator, rng)
    assert torch.equal(generator.planes(ws), before)
    backbone_blocks(generator)[0].adapters[0].outward.add_(0.1)
    assert not torch.equal(generator.planes(ws), before)


def test_what_cannot_be_trained_is_one_sentence():
    with pytest.raises(GuideError, match="'lore' can be trained; choose one of: weights, styles, lora, adapters"):
        next(steps_of(DeepGenerator(), replace(SETTINGS["lora"], trained="lore")))
    with pytest.raises(GuideError, match="TinyGenerator has no blocks for adapters"):
        next(steps_of(TinyGenerator(), SETTINGS["adapters"]))
