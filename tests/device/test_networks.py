"""Every network on every device: small ones give the numbers of the CPU, gradients included; large ones go through."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from PIL import Image
from pretend import Pretend
from test_released import small
from torch import Tensor, nn

from guide_lib.generators import Generator, View, as_released, load_directions, load_generator, move
from guide_lib.generators.eg3d import EG3D
from guide_lib.generators.stylegan2 import initialise
from guide_lib.generators.stylegan2_ffhq import StyleGAN2, StyleGAN2Config
from guide_lib.inversion import load_encoder
from guide_lib.inversion.goae import GOAE
from guide_lib.metrics.distribution import generated_features, photo_features
from guide_lib.metrics.identity import render
from guide_lib.perception.identity import (
    ARCFACE_CROP,
    FACENET_CROP,
    FACENET_TEMPLATE,
    SFACE_TEMPLATE,
    ArcFaceEmbedder,
    Embedder,
    load_embedder,
    load_judge,
)
from guide_lib.perception.inception import load_inception
from guide_lib.perception.perceptual import load_lpips
from guide_lib.perception.recognisers import ArcFace, FaceNet
from guide_lib.runtime import mixed_precision

CPU = torch.device("cpu")
CARD = 2e-3  # relative, of a real card, whose convolutions keep 10 bits; a pretended one gives the CPU's own
RECOGNISERS = [
    (load_embedder, "sface"),
    (load_embedder, "mobilefacenet"),
    (load_judge, "dlib"),
    (load_judge, "edgeface"),
]
HALF = 0.1  # of what CUDA computes in half precision


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 1, size: int = 128) -> Tensor:
    return torch.rand(count, 3, size, size, generator=seeded(5)) * 2 - 1


def assert_same_there(
    device: torch.device, network: nn.Module, *inputs: Tensor, answer: Callable | None = None, tolerance: float = CARD
) -> None:
    """`answer` of the network (by default the network itself) and its gradient by each input: there as here."""
    found = []
    for where in (CPU, device):
        network = network.to(where)
        given = [x.detach().to(where).requires_grad_() for x in inputs]
        out = answer(network, *given) if answer else network(*given)
        assert out.device.type == where.type
        out.square().sum().backward()
        found.append([t.detach().cpu() for t in (out, *(x.grad for x in given))])
    for here, there in zip(*found, strict=True):
        assert here.norm() > 0 and (there - here).norm() <= tolerance * here.norm()


def assert_goes_through(seen: Pretend, network: nn.Module, *inputs: Tensor) -> None:
    """Forward and back, shapes alone."""
    given = [x.to(seen.device).requires_grad_() for x in inputs]
    out = network.to(seen.device)(*given)
    sum(part.sum() for part in (out if isinstance(out, list | tuple) else [out])).backward()
    assert all(x.grad.shape == x.shape and x.grad.device == seen.device for x in given)


# --- generators ---


def test_the_default_generator_draws_there(device):
    generator, expected = load_generator(resolution=128, device=device), load_generator(resolution=128)
    ws = generator.sample(1, seeded(1))
    with torch.no_grad():
        drawn, here = generator.synthesis(ws), expected.synthesis(ws.cpu())
    assert drawn.image.device.type == drawn.features.device.type == device.type
    assert (drawn.image.cpu() - here.image).norm() <= CARD * here.image.norm()


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_it_draws_and_learns_there_at_each_size_in_both_precisions(size, seen):
    generator = load_generator(resolution=size, device=seen.device)
    assert generator.mapping(torch.zeros(1, 512).to(seen.device), 0.7).device == seen.device
    for mixed in (False, True):
        student = generator.student()
        with mixed_precision(seen.device, mixed):
            picture = student.picture(generator.sample(2, seeded()))
        assert picture.shape == (2, 3, size, size)
        picture.square().mean().backward()
        assert all(p.grad.device == seen.device for p in student.trainable_parameters().values())


class Drawing(nn.Module):
    """A generator as a function of its latents."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, ws: Tensor) -> Tensor:
        return self.generator.picture(ws)


def stylegan2(half: int = 0) -> StyleGAN2:
    config = StyleGAN2Config(32, channel_base=512, channel_max=32, clamp=256.0, half_blocks=half)
    generator = StyleGAN2(config).requires_grad_(False).eval()
    initialise(generator.backbone, seeded(2))
    return generator


def test_stylegan2_draws_there(device):
    generator = stylegan2()
    assert_same_there(device, generator, generator.sample(2, seeded()), answer=lambda g, ws: g.picture(ws))


def test_half_precision_is_for_cuda_and_the_picture_stays_in_single(device):
    generator = stylegan2(half=2).to(device)
    rendering = generator.student().synthesis(generator.sample(1, seeded()))
    assert rendering.image.dtype == rendering.features.dtype == torch.float32
    coarse = (generator.picture(generator.w_avg).cpu() - stylegan2().picture(generator.w_avg.cpu())).abs().max() > 0
    assert coarse == (device.type == "cuda")


@pytest.mark.parametrize("view", [View(), View(15, 7.3), View(-9, 2, jitter=3)])
def test_eg3d_draws_there_from_every_side(view, device):
    generator = small()
    tolerance = HALF if device.type == "cuda" else CARD
    ws = generator.sample(2, seeded())
    assert_same_there(device, generator, ws, answer=lambda g, ws: g.picture(ws, view), tolerance=tolerance)
    z = torch.randn(1, generator.z_dim, generator=seeded()).to(device)
    assert generator.mapping(z, 0.7, view).device.type == device.type


def test_eg3d_enlarges_rays_of_another_number_there(seen):
    generator = EG3D.random(replace(small().config, render_size=6), seeded(9))
    assert_goes_through(seen, Drawing(generator), generator.sample(1, seeded()))


def test_eg3d_learns_there_in_mixed_precision(device):
    student = small().to(device).student()
    with mixed_precision(device):
        rendering = student.synthesis(student.sample(1, seeded()), student.sample_views(1, seeded())[0])
    (rendering.image.square().mean() + rendering.features.float().square().mean()).backward()
    assert all(p.grad is not None for name, p in student.trainable_parameters().items() if "noise" not in name)


def test_the_authors_script_draws_on_cuda(device):
    generator = small().to(device)
    if device.type == "mps":
        pytest.skip("no double precision, and refused with a sentence; see tests/generators/test_released.py")
    script = as_released(generator)
    delta = torch.zeros(1, dtype=script.offset_dtype, device=device)
    script.sample_views(1, seeded())
    assert script.synthesis(script.sample(1, seeded()) + delta).image.dtype == torch.float32


def test_a_copy_of_the_authors_script_stays_there(device):
    if device.type != "mps":
        script = as_released(small().to(device))
        assert script.student().w_avg.device.type == device.type


def test_directions_are_there(device):
    generator = load_generator(device=device, resolution=128)
    w = generator.sample(2, seeded())
    for directions in (load_directions(device), load_directions()):
        assert move(w, directions["yaw"], torch.tensor([1.0, 2.0]), [1, 2]).device.type == device.type


def test_the_layout_is_what_the_device_wants(seen):
    """Apple's GPU has silently convolved slices of pictures with channels last wrongly."""
    for size in (128, 256, 512, 1024):
        generator = load_generator(resolution=size, device=seen.device)
        generator.student().picture(generator.sample(1, seeded())).sum().backward()
    generator.picture(load_encoder(seen.device)(pictures().to(seen.device)))
    for load, name in RECOGNISERS:
        load(name, seen.device).embed(pictures().to(seen.device)).sum()
    load_inception(seen.device)(pictures())
    found = +seen.channels_last
    assert bool(found) == (seen.device.type == "cuda"), found


# --- perception ---


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_is_there(net, device):
    other = pictures(2, 64)[1:]
    assert_same_there(device, load_lpips(net), pictures(1, 64), answer=lambda lpips, x: lpips(x, other.to(x.device)))


@pytest.mark.parametrize(("load", "name"), RECOGNISERS)
def test_embedders_give_the_same_vectors_there(load, name, device):
    """Twice: the second time with what was kept from the first."""
    embedder = load(name)
    for _ in range(2):
        assert_same_there(device, embedder, pictures(), answer=lambda net, x: net.embed(x)[:, :9])


@cache
def papers_embedders() -> list[Embedder]:
    """With random weights, which take seconds to draw."""
    arcface = ArcFaceEmbedder("arcface", ArcFace().eval(), ARCFACE_CROP, SFACE_TEMPLATE)
    return [arcface, Embedder("facenet", FaceNet().eval(), FACENET_CROP, FACENET_TEMPLATE)]


@pytest.mark.parametrize("size", [128, 300])
def test_embedders_of_the_papers_track_go_through(size, seen):
    for embedder in papers_embedders():
        images = pictures(1, size).to(seen.device).requires_grad_()
        with mixed_precision(seen.device):
            vectors = copy.deepcopy(embedder).to(seen.device).embed(images)
        assert vectors.dtype == torch.float32
        vectors.sum().backward()
        assert images.grad.shape == images.shape


def test_the_judge_finds_faces_in_pictures_of_both_devices(device):
    judge, generator = load_judge(device=device), load_generator(device=device, resolution=256)
    drawn = render(generator, generator.sample(2, seeded()))
    vectors = [judge.embed_faces(images) for images in (drawn, drawn.to(device))]
    assert all(v.device.type == device.type and found.device == CPU and found.all() for v, found in vectors)
    assert torch.allclose(vectors[0][0], vectors[1][0], atol=0.01)


def test_inception_takes_pictures_of_both_devices(device, tmp_path):
    """Photos come from the disk, generated ones from the device."""
    inception, generator = load_inception(device), stylegan2().to(device)
    for k in range(2):
        Image.new("RGB", (140, 130), (40 * k, 90, 10)).save(tmp_path / f"{k}.png")
    features = photo_features(tmp_path, inception, 64), generated_features(generator, 2, inception)
    assert all(f.shape == (2, 2048) and f.device == CPU for f in features)


@pytest.mark.parametrize("size", [256, 300])
def test_the_encoder_goes_through(size, seen):
    assert_goes_through(seen, load_encoder(), pictures(1, size))


def test_goae_goes_through(seen):
    encoder = GOAE().eval()
    assert_goes_through(seen, encoder, pictures(1, 256))
    assert encoder.latents(pictures(1, 512).to(seen.device), torch.zeros(1, 14, 512).to(seen.device)).shape == (
        1,
        14,
        512,
    )


def test_a_copy_of_a_network_there_is_a_copy(device):
    embedder = load_embedder(device=device)
    twin = copy.deepcopy(embedder)
    assert torch.equal(twin.embed(pictures().to(device)), embedder.embed(pictures().to(device)))
