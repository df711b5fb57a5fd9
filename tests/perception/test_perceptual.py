"""LPIPS against the `lpips` package's own forward, and what training needs of it."""

import lpips as package
import pytest
import torch
from safetensors.torch import load_file

from guide_lib.assets import fetch
from guide_lib.errors import GuideError
from guide_lib.perception.perceptual import LPIPS, load_lpips


@pytest.fixture(scope="module")
def alex() -> LPIPS:
    return load_lpips("alex")


def pictures(rng: torch.Generator, count: int = 3, size: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    a = torch.rand(count, 3, size, size, generator=rng) * 2 - 1
    strength = torch.linspace(0.1, 0.6, count)[:, None, None, None]
    return a, (a + strength * torch.randn(a.shape, generator=rng)).clamp(-1, 1)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_equals_the_lpips_package(net: str, rng: torch.Generator) -> None:
    reference = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    state, own = load_file(fetch(f"lpips-{net}")), reference.net.state_dict()
    for name, tensor in own.items():  # an injection of its own: layer numbers are torchvision's
        _, layer, kind = name.split(".")
        tensor.copy_(state[f"features.{layer}.{kind}"])
    a, b = pictures(rng)
    with torch.no_grad():
        expected, ours = reference(a, b).flatten(), load_lpips(net)(a, b)
    assert ours.shape == (3,)
    assert (ours - expected).abs().max() < 1e-6
    assert expected.min() > 1e-3  # or the comparison would show nothing


def test_backbone_is_the_trained_one(alex: LPIPS, rng: torch.Generator) -> None:
    """A trained AlexNet's first filters are smooth; those of a random one are white noise."""
    filters = alex.slices[0][0].weight
    step = (filters[..., 1:] - filters[..., :-1]).square().mean() / (2 * filters.var())
    assert step < 0.5  # about 1 for white noise


def test_cached_features_give_the_same_distance_and_gradient(alex: LPIPS, rng: torch.Generator) -> None:
    a, b = pictures(rng)
    with torch.no_grad():
        cached = alex.features(b)
    first, second = a.clone().requires_grad_(), a.clone().requires_grad_()
    alex(first, b).sum().backward()
    alex.distance(alex.features(second), cached).sum().backward()
    assert torch.allclose(first.grad, second.grad, rtol=1e-5, atol=1e-9)
    assert first.grad.abs().max() > 0


def test_gradient_is_a_finite_difference(alex: LPIPS, rng: torch.Generator) -> None:
    a, b = (picture.double() for picture in pictures(rng, count=1, size=64))
    direction = torch.randn(a.shape, generator=rng, dtype=torch.float64)
    model = load_lpips("alex").double()
    a.requires_grad_()
    slope = (torch.autograd.grad(model(a, b).sum(), a)[0] * direction).sum()
    with torch.no_grad():
        difference = (model(a + 1e-6 * direction, b) - model(a - 1e-6 * direction, b)).sum() / 2e-6
    assert torch.allclose(slope, difference, rtol=1e-3)


def test_flat_and_equal_pictures_have_finite_gradients(alex: LPIPS) -> None:
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    distance = alex(flat, flat.detach())
    distance.sum().backward()
    assert distance.item() == 0
    assert torch.isfinite(flat.grad).all()


def test_frozen_and_always_in_evaluation_mode(alex: LPIPS) -> None:
    assert not any(parameter.requires_grad for parameter in alex.parameters())
    assert not any(module.training for module in alex.train().modules())


def test_unknown_network() -> None:
    with pytest.raises(GuideError, match="choose one of: alex, vgg"):
        load_lpips("squeeze")
