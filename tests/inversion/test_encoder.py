"""The encoder's structure, with random weights; and, where the trained file ships, how well it knows people."""

import pytest
import torch
from project import ships

from guide_lib.experiment import load_networks
from guide_lib.inversion.encoder import Encoder, load_encoder
from guide_lib.metrics.identity import identity_similarity, render

GROUPS = {0: range(14, 23), 1: range(7, 14), 2: range(0, 7)}  # index in `encoder.offsets` -> the rows it serves


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(torch.randn(1, 23, 512)).eval().requires_grad_(False)


@pytest.fixture
def photos(rng: torch.Generator) -> torch.Tensor:
    return torch.rand(2, 3, 128, 128, generator=rng) * 2 - 1


def trained(encoder: Encoder) -> Encoder:
    """As after training: offsets that are not zero."""
    for offsets in encoder.offsets:
        torch.nn.init.normal_(offsets.out.weight, std=0.1)
    return encoder


@pytest.mark.parametrize("size", [16, 100, 128, 300])
def test_a_photo_of_any_size_gets_a_code_of_23_rows(encoder, size, rng):
    ws = trained(encoder)(torch.rand(2, 3, size, size, generator=rng))
    assert ws.shape == (2, 23, 512) and ws.isfinite().all()


def test_the_code_does_not_depend_on_the_size_of_the_photo(encoder):
    """A picture of 4 x 4 squares is the same picture whatever its size."""
    squares = torch.rand(1, 3, 4, 4)
    sizes = (squares.repeat_interleave(side, 2).repeat_interleave(side, 3) for side in (32, 64, 160))
    trained(encoder)
    small, *larger = (encoder(picture) for picture in sizes)
    assert all(torch.allclose(ws, small, atol=1e-4) for ws in larger)


def test_a_code_is_the_mean_latent_plus_base_plus_offsets(encoder, photos):
    base, offsets = trained(encoder).parts(photos)
    assert base.shape == (2, 512) and offsets.shape == (2, 23, 512)
    ws = encoder(photos)
    for i in range(2):
        for row in range(23):
            expected = encoder.w_avg[0, row] + base[i] + offsets[i, row]
            assert torch.allclose(ws[i, row], expected, atol=1e-6)


def test_before_training_the_offsets_are_zero(encoder, photos):
    base, offsets = encoder.parts(photos)
    assert not offsets.any() and base.any()
    assert torch.allclose(encoder(photos) - encoder.w_avg, base[:, None].expand(-1, 23, -1), atol=1e-6)


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_of_offsets_moves_its_own_rows(encoder, photos, group):
    """A bias that says k in the group's k-th row is found again in the right rows, in order."""
    rows = GROUPS[group]
    encoder.offsets[group].out.bias.copy_(torch.arange(1.0, len(rows) + 1).repeat_interleave(512))
    moved = encoder.parts(photos)[1]
    for row in range(23):
        expected = rows.index(row) + 1.0 if row in rows else 0.0
        assert (moved[:, row] == expected).all()


def test_fine_rows_are_read_off_larger_maps_than_coarse_ones(encoder, photos):
    seen = {}
    for group, offsets in enumerate(encoder.offsets):
        offsets.register_forward_pre_hook(lambda _, maps, group=group: seen.__setitem__(group, maps[0].shape[-1]))
    encoder(photos)
    assert seen[0] > seen[1] > seen[2]


def test_the_same_photo_has_the_same_code_in_training_and_in_evaluation(encoder, photos):
    trained(encoder)
    first = encoder.eval()(photos)
    assert torch.equal(encoder.train()(photos), first)
    assert torch.equal(encoder.eval()(photos), first)


def test_a_batch_gets_the_codes_that_its_photos_get_alone(encoder, photos):
    together = trained(encoder)(photos)
    alone = torch.cat([encoder(photo) for photo in photos.split(1)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_the_mean_latent_is_not_trained_but_travels_with_the_weights(encoder):
    assert "w_avg" in encoder.state_dict() and "w_avg" not in dict(encoder.named_parameters())


@pytest.mark.skipif(not ships("mobilestylegan-ffhq-encoder.safetensors"), reason="the trained encoder does not ship")
def test_the_shipped_encoder_recognises_generated_faces():
    networks, encoder = load_networks(resolution=256), load_encoder()
    people = networks.generator.sample(8, torch.Generator().manual_seed(64_000_008))
    photos = render(networks.generator, people)
    with torch.no_grad():
        answers = render(networks.generator, encoder(photos))
    cosines, _ = identity_similarity(networks.judge, photos, answers)
    print(f"judge cosines: {', '.join(f'{c:.2f}' for c in cosines.tolist())}")
    assert cosines.mean() >= 0.6
