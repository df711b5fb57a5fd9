"""The recognisers: parity with their original runtimes, ORL pairs, crops and gradients."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import mannwhitneyu

from guide_lib.assets import ASSETS, cache_dir, fetch, shipped
from guide_lib.errors import GuideError
from guide_lib.perception.identity import Embedder, PReLU, identity_cosine, load_embedder, load_judge

PORTRAIT = "portrait.png"

# dlib 20.0.1's compute_face_descriptor on portrait.png, rows 40:190 and columns 150:300 as the 150 px chip:
# the first 16 of 128 numbers, and the norm of all.
DLIB_DESCRIPTOR = (
    *(-0.045005, 0.053098, -0.013318, 0.069427, -0.139863, 0.021568, -0.023786, -0.109766),
    *(0.057022, -0.046576, 0.169033, -0.098595, -0.281914, -0.099995, 0.040868, 0.125926),
)
DLIB_NORM = 1.4412870

# facesdk 0.0.8's own network on rows 60:172 and columns 170:282 of portrait.png: the same of its 128 numbers.
MOBILEFACENET_NUMBERS = (
    *(2.350447, -1.967767, 2.962996, 1.203765, 0.633454, -0.288309, -1.057227, 0.053643),
    *(1.880934, -1.491886, -0.932901, -0.953952, 0.766121, -3.097640, -1.036571, -0.796031),
)
MOBILEFACENET_NORM = 13.774410

RECOGNISERS = ("embedder", "judge", "second_judge", "attacker")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder()


@pytest.fixture(scope="module")
def judge() -> Embedder:
    return load_judge()


@pytest.fixture(scope="module")
def second_judge() -> Embedder:
    return load_judge("edgeface")


@pytest.fixture(scope="module")
def attacker() -> Embedder:
    return load_embedder("mobilefacenet")


@pytest.fixture(scope="module")
def orl() -> tuple[torch.Tensor, np.ndarray]:
    """14 people, 4 pictures each: [56,3,290,290] in [-1,1], and who is who [56]."""
    grey = load_file(fetch("orl-faces"))["images"][::3, ::3].reshape(56, 1, 112, 92)
    colour = (grey.float() / 127.5 - 1).expand(-1, 3, -1, -1)
    large = F.interpolate(colour, scale_factor=2, mode="bicubic", align_corners=False).clamp(-1, 1)
    return F.pad(large, (53, 53, 33, 33), mode="replicate"), np.repeat(np.arange(14), 4)


def portrait(left: int, top: int, size: int) -> torch.Tensor:
    pixels = np.array(Image.open(shipped(PORTRAIT)))[top : top + size, left : left + size]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def auc(embeddings: torch.Tensor, people: np.ndarray) -> float:
    """Probability that a pair of one person is closer than a pair of two people."""
    cosines = (embeddings.double() @ embeddings.double().T).numpy()
    pairs = np.triu(np.ones_like(cosines, dtype=bool), k=1)
    same = people[:, None] == people[None]
    own, others = cosines[pairs & same], cosines[pairs & ~same]
    assert (len(own), len(others)) == (84, 1456)
    return mannwhitneyu(own, others).statistic / (len(own) * len(others))


@pytest.mark.parametrize("name", RECOGNISERS)
def test_tells_real_people_apart(name: str, orl: tuple, request: pytest.FixtureRequest) -> None:
    images, people = orl
    network: Embedder = request.getfixturevalue(name)
    embeddings, found = zip(*(network.embed_faces(batch) for batch in images.split(14)), strict=True)
    assert torch.cat(found).all()  # no constant crop is needed on these
    assert auc(torch.cat(embeddings), people) >= 0.99


def test_raw_pixels_do_not_tell_them_apart_as_well(orl: tuple) -> None:
    """The bar of 0.99 is not met by anything that looks at the same pictures."""
    images, people = orl
    pixels = images[:, 0].flatten(1)
    assert auc(F.normalize(pixels - pixels.mean(0), dim=1), people) < 0.97


def test_centring_separates_strangers(judge: Embedder, orl: tuple) -> None:
    images, people = orl
    centred, raw = judge.embed(images[::4]), load_judge(centred=False).embed(images[::4])
    off_diagonal = ~torch.eye(14, dtype=torch.bool)
    assert (raw @ raw.T)[off_diagonal].mean() > 0.75
    assert (centred @ centred.T)[off_diagonal].mean() < 0.4


def test_edgefaces_strangers_need_no_centre(second_judge: Embedder, orl: tuple) -> None:
    embeddings = second_judge.embed(orl[0][::4])
    assert second_judge.centre is None
    assert (embeddings @ embeddings.T)[~torch.eye(14, dtype=torch.bool)].mean().abs() < 0.2


def test_prelu_is_pytorchs_with_both_gradients() -> None:
    x, weight = torch.randn(2, 5, 4, 4), torch.rand(5)
    results = []
    for module in (PReLU(5), torch.nn.PReLU(5)):
        module.weight.data.copy_(weight)
        leaf = x.clone().requires_grad_()
        module(leaf).square().sum().backward()
        results.append((module(x), leaf.grad, module.weight.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def onnx_reference(name: str, inputs: dict[str, np.ndarray]) -> torch.Tensor:
    """What ONNX's own interpreter makes of the file as it lies in the archive."""
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")
    fetch(name)
    with zipfile.ZipFile(cache_dir() / "archives" / ASSETS[name].archive) as archive:
        (member,) = ASSETS[name].members
        model = onnx.load_model_from_string(archive.read(member))
    return torch.from_numpy(reference.ReferenceEvaluator(model).run(None, inputs)[0])


def test_sface_equals_the_onnx_reference(embedder: Embedder) -> None:
    crop = portrait(left=170, top=60, size=112)
    expected = onnx_reference("sface", {"data": ((crop + 1) * 127.5).numpy()})
    assert (embedder.embed_crops(crop) - F.normalize(expected, dim=1)).abs().max() < 1e-5


def test_edgeface_equals_the_onnx_reference(second_judge: Embedder) -> None:
    crop = portrait(left=170, top=60, size=112)
    expected = onnx_reference("edgeface", {"data": crop.numpy()})
    found = second_judge.network(torch.cat([crop.flip(3), crop]))[1:]  # and what else is in the batch has no say
    assert expected.norm() > 1
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_mobilefacenet_equals_its_packages_network(attacker: Embedder) -> None:
    numbers = attacker.network(portrait(left=170, top=60, size=112))[0]
    torch.testing.assert_close(numbers[:16], torch.tensor(MOBILEFACENET_NUMBERS), atol=2e-5, rtol=0)
    assert numbers.norm().item() == pytest.approx(MOBILEFACENET_NORM, abs=1e-4)


def test_dlib_network_equals_dlib(judge: Embedder) -> None:
    descriptor = judge.network(portrait(left=150, top=40, size=150))[0]
    assert torch.allclose(descriptor[:16], torch.tensor(DLIB_DESCRIPTOR), atol=2e-6)
    assert descriptor.norm().item() == pytest.approx(DLIB_NORM, abs=1e-5)


def test_unit_vectors_and_the_centre(judge: Embedder) -> None:
    crops = torch.cat([portrait(150, 40, 150), portrait(160, 50, 150)])
    raw = judge.network(crops)
    by_hand = [row / row.norm() - judge.centre[0] for row in raw]
    by_hand = torch.stack([row / row.norm() for row in by_hand])
    assert torch.allclose(judge.embed_crops(crops), by_hand, atol=1e-6)


@pytest.fixture(scope="module")
def aligned() -> torch.Tensor:
    """The portrait, FFHQ-aligned, 1024 px."""
    from guide_lib.perception.faces import align
    from guide_lib.perception.photos import load_photo

    return align(load_photo(shipped(PORTRAIT)), size=1024)


@pytest.mark.parametrize("name", RECOGNISERS)
def test_constant_crop_agrees_with_the_detector_at_any_size(
    name: str, aligned: torch.Tensor, request: pytest.FixtureRequest
) -> None:
    network: Embedder = request.getfixturevalue(name)
    small = F.interpolate(aligned, size=256, mode="area")
    detected, found = network.embed_faces(small)
    assert found.all()
    assert identity_cosine(detected, network.embed(small)) > 0.85
    for size in (128, 512, 1024):
        other = F.interpolate(aligned, size=size, mode="area")
        assert identity_cosine(network.embed(other), network.embed(small)) > 0.95, size


def test_without_a_face_the_constant_crop_is_used(embedder: Embedder, aligned: torch.Tensor) -> None:
    face = F.interpolate(aligned, size=256, mode="area")
    images = torch.cat([torch.zeros_like(face), face])
    embeddings, found = embedder.embed_faces(images)
    assert found.tolist() == [False, True]
    assert torch.allclose(embeddings[:1], embedder.embed(images[:1]), atol=1e-5)


@pytest.mark.parametrize("name", ["sface", "mobilefacenet"])
def test_gradient_is_a_finite_difference(name: str, aligned: torch.Tensor, rng: torch.Generator) -> None:
    """In float64 through the crop and the network; the step is short because activations have kinks."""
    embedder = load_embedder(name).double()
    image = F.interpolate(aligned, size=128, mode="area").double().requires_grad_()
    direction = torch.randn(image.shape, generator=rng, dtype=torch.float64)
    goal = F.normalize(torch.randn(128, generator=rng, dtype=torch.float64), dim=0)

    def similarity(picture: torch.Tensor) -> torch.Tensor:
        return (embedder.embed(picture)[0] * goal).sum()

    slope = (torch.autograd.grad(similarity(image), image)[0] * direction).sum()
    with torch.no_grad():
        ends = [similarity(image + step * direction) for step in (1e-8, -1e-8)]
    assert slope.abs() > 1e-5
    assert torch.allclose(slope, (ends[0] - ends[1]) / 2e-8, rtol=1e-3)


def test_frozen(embedder: Embedder, judge: Embedder, second_judge: Embedder, attacker: Embedder) -> None:
    for network in (embedder, judge, second_judge, attacker):
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert not any(module.training for module in network.train().modules())


def test_identity_cosine(rng: torch.Generator) -> None:
    a, b = torch.randn(3, 5, generator=rng), torch.randn(3, 5, generator=rng)
    expected = [float(x @ y / (x.norm() * y.norm())) for x, y in zip(a, b, strict=True)]
    assert identity_cosine(a, b).tolist() == pytest.approx(expected, abs=1e-6)


def test_unknown_names() -> None:
    with pytest.raises(GuideError, match="choose one of: sface, mobilefacenet, arcface"):
        load_embedder("magface")
    with pytest.raises(GuideError, match="choose one of: dlib, edgeface"):
        load_judge("sface")


def test_shipped_centre_was_measured_on_1024_faces() -> None:
    from safetensors import safe_open

    path: Path = shipped("judge-dlib-centre.safetensors")
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"seed": "1024", "count": "1024"}
        assert 0.85 < file.get_tensor("centre").norm().item() < 0.98  # 1 if all faces were one
