"""The default generator against the runtime that its files were written for, and against plain arithmetic."""

from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from guide_lib.assets import ASSETS, cache_dir, fetch
from guide_lib.errors import GuideError
from guide_lib.generators import load_generator
from guide_lib.generators.mobile import inverse_haar
from guide_lib.perception.perceptual import load_lpips


@cache
def generator():
    return load_generator(resolution=1024)


def latents(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 512, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def openvino_networks(tmp_path_factory):
    import zipfile

    import openvino

    fetch("mobilestylegan-ffhq")
    folder, core = tmp_path_factory.mktemp("ir"), openvino.Core()
    with zipfile.ZipFile(cache_dir() / "archives" / ASSETS["mobilestylegan-ffhq"].archive) as archive:
        archive.extractall(folder)
    paths = (folder / "random_face" / "data" / f"{name}Network.xml" for name in ("Mapping", "Synthesis"))
    return [core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}) for path in paths]


def test_parity_with_the_openvino_runtime_at_1024_px(openvino_networks):
    mapping, synthesis = openvino_networks
    worst = 0.0
    for z in latents(8).split(1):
        w = mapping(z.numpy())[0]
        ws = generator().mapping(z)
        np.testing.assert_allclose(ws[:, 0].numpy(), w, atol=1e-4)
        worst = max(worst, np.abs(generator().synthesis(ws).image.numpy() - synthesis(w)[0]).max())
    print(f"largest difference to OpenVINO: {worst:.1e}")
    assert worst <= 1e-3


def test_512_px_is_the_2x2_mean_of_1024_px():
    ws = generator().mapping(latents(1))
    large, small = generator().synthesis(ws).image, generator().at(512).synthesis(ws).image
    torch.testing.assert_close(small, F.avg_pool2d(large, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [256, 128])
def test_distilled_heads_draw_the_averaged_large_picture(size):
    """Mean LPIPS over 8 latents; data/results/heads.json has it over 256."""
    lpips, distances = load_lpips("alex"), []
    for z in latents(8, seed=77).split(1):
        ws = generator().mapping(z)
        large = F.avg_pool2d(generator().synthesis(ws).image, 1024 // size)
        distances.append(lpips(generator().at(size).synthesis(ws).image, large).item())
    assert sum(distances) / 8 <= 0.06


@pytest.mark.parametrize("size, shape", [(128, (512, 64, 64)), (256, (256, 128, 128)), (1024, (64, 512, 512))])
def test_one_pass_gives_picture_and_features_for_any_batch(size, shape):
    network, ws = generator().at(size), generator().mapping(latents(3))
    batch = network.synthesis(ws)
    assert batch.image.shape == (3, 3, size, size)
    assert batch.features.shape == (3, *shape)
    alone = network.synthesis(ws[1:2])
    torch.testing.assert_close(batch[1:2].image, alone.image, atol=2e-4, rtol=0)
    torch.testing.assert_close(batch[1:2].features, alone.features, atol=2e-3, rtol=1e-3)


def test_rows_of_w_plus_act_on_their_own_layer():
    """Changing row k leaves every feature map before layer k as it was and changes what follows."""
    network, ws = generator().synthesis_network, generator().mapping(latents(1))
    maps = [network(ws, blocks) for blocks in range(5)]
    for row in range(13):
        changed = ws.clone()
        changed[:, row] += 0.5
        first = 0 if row == 0 else (row + 2) // 3  # the number of blocks after which row k has acted
        for blocks, before in enumerate(maps):
            assert torch.equal(network(changed, blocks), before) == (blocks < first), (row, blocks)


def test_truncation_walks_to_the_mean_latent():
    z = latents(4)
    ws, w_avg = generator().mapping(z), generator().w_avg
    torch.testing.assert_close(generator().mapping(z, 0.0), w_avg.expand(4, -1, -1))
    torch.testing.assert_close(generator().mapping(z, 0.5) - w_avg, 0.5 * (ws - w_avg), atol=1e-5, rtol=1e-4)
    assert w_avg.shape == (1, 23, 512)
    many = generator().mapping_network(latents(8192, seed=5)).mean(0)
    assert (many - w_avg[0, 0]).norm() < 0.03 * w_avg[0, 0].norm() + 0.12  # the error of a mean of 8,192 samples


@pytest.mark.parametrize("size, rows", [(256, {16, 17, 18, 22}), (128, {13, 14, 15, 22})])
def test_a_distilled_head_reads_the_rows_of_the_block_it_stands_for(size, rows):
    network, ws = generator().at(size), generator().mapping(latents(1))
    before = network.synthesis(ws)
    for row in range(13 if size == 128 else 16, 23):
        changed = ws.clone()
        changed[:, row] += 0.5
        after = network.synthesis(changed)
        assert torch.equal(after.features, before.features)
        assert torch.equal(after.image, before.image) == (row not in rows), row


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_inverse_haar_inverts_the_orthonormal_transform(channels, side, seed):
    """The bands are computed here from their definition, by sums and differences of neighbours."""
    picture = torch.randn(2, channels, 2 * side, 2 * side, generator=torch.Generator().manual_seed(seed))
    a, b = picture[..., ::2, ::2], picture[..., ::2, 1::2]
    c, d = picture[..., 1::2, ::2], picture[..., 1::2, 1::2]
    details = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], dim=2).flatten(1, 2)
    bands = torch.cat([a + b + c + d, details], dim=1) / 2
    torch.testing.assert_close(inverse_haar(bands), picture)
    assert bands.norm().item() == pytest.approx(picture.norm().item(), rel=1e-5)


@pytest.mark.parametrize("size, blocks", [(128, 4), (256, 5)])
def test_gradients_reach_every_trainable_parameter_and_nothing_else(size, blocks):
    student = generator().at(size).student()
    rendering = student.synthesis(student.mapping(latents(1)))
    (rendering.image.square().mean() + rendering.features.mean()).backward()
    named = student.trainable_parameters()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in named.values())
    assert {n.split(".")[2] for n in named if ".layers." in n} == {str(i) for i in range(blocks)}
    trained = {id(p) for p in named.values()}
    assert all(p.grad is None for p in student.parameters() if id(p) not in trained)


def test_unknown_names_and_sizes_are_one_sentence():
    with pytest.raises(GuideError, match="no generator 'stylegan9'; did you mean 'mobilestylegan-ffhq'"):
        load_generator("stylegan9")
    with pytest.raises(GuideError, match="draws at 128, 256, 512, 1024 px, not at 300"):
        load_generator(resolution=300)
