"""The inversion encoder: names, shapes, what its parts compute, and its file."""

import copy
import json
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from project import GOLDEN
from safetensors.torch import save_file
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from guide_lib.assets.official import convert, converted_path
from guide_lib.errors import GuideError
from guide_lib.inversion.goae import GOAE, GROUPS, CrossAttention, load_goae, summary
from guide_lib.perception import swin

KEYS = json.loads((GOLDEN / "goae-keys.json").read_text())


@cache
def encoder() -> GOAE:
    """At full size, with random weights; one for all tests."""
    torch.manual_seed(0)
    return GOAE().requires_grad_(False).eval()


@pytest.fixture
def images(rng):
    return 2 * torch.rand(1, 3, 256, 256, generator=rng) - 1


def test_names_and_shapes_equal_the_released_file():
    with torch.device("meta"):
        found = {name: list(tensor.shape) for name, tensor in GOAE().state_dict().items()}
    assert len(found) == 545
    assert found == KEYS


def test_taps_have_the_stated_shapes(images):
    taps = encoder().swin_model(images)
    assert [list(tap.shape[1:]) for tap in taps] == [[4096, 128], [1024, 256], [256, 512], [64, 1024], [64, 1024]]
    # the last is normalised, the others are what enters the stages
    torch.testing.assert_close(taps[-1].mean(-1), torch.zeros(1, 64), atol=1e-5, rtol=0)
    stages = encoder().swin_model.layers
    torch.testing.assert_close(stages[0](taps[0]), taps[1])
    torch.testing.assert_close(F.layer_norm(stages[3](taps[3]), (1024,)), taps[4], atol=1e-4, rtol=1e-4)


def test_the_same_photo_always_has_the_same_code(images):
    code = encoder()(images)
    assert code.shape == (1, 14, 512) and code.isfinite().all()
    assert torch.equal(code, encoder()(images))
    assert torch.equal(code, encoder().train()(images)), "dropout would move it"
    assert not torch.allclose(code, encoder().eval()(-images), atol=1e-3)


def test_only_the_rows_of_a_group_depend_on_it(images):
    """With a group's last layer at zero its rows are the base code's, and no other row moves."""
    network, start, taps = copy.deepcopy(encoder()), 1, encoder().swin_model(images)
    network.swin_model.forward = lambda images: taps  # the dear part, which no group changes
    base, code = network(images)[:, :1], network(images)
    for group, rows in GROUPS.items():
        network.get_submodule(f"cross_att_{group}").forward = lambda queries, tokens: 0 * queries
        without = network(images)
        torch.testing.assert_close(without[:, start : start + rows], base.expand(-1, rows, -1))
        kept = [k for k in range(start + rows, 14)]
        torch.testing.assert_close(without[:, kept], code[:, kept])
        start += rows
    assert start == 14


def test_a_summary_is_a_mixture_of_tokens_plus_their_maximum(rng):
    tokens, mix = torch.randn(2, 5, 7, generator=rng), torch.nn.Linear(5, 3)
    found = summary(tokens, mix, torch.nn.Identity())
    for n in range(2):
        for row in range(3):
            for channel in range(7):
                mixed = sum(mix.weight[row, t] * tokens[n, t, channel] for t in range(5)) + mix.bias[row]
                highest = max(tokens[n, t, channel].item() for t in range(5))
                assert found[n, row, channel].item() == pytest.approx(mixed.item() + highest, abs=1e-5)


def test_finer_tokens_build_on_coarser_ones(rng):
    """By explicit sums over weights: each level adds its own tap and the level above, expanded."""
    network = encoder()
    coarse, mid, fine = (torch.randn(1, t, c, generator=rng) for t, c in ((256, 512), (1024, 256), (4096, 128)))
    tokens = network.pyramid(coarse, mid, fine)

    def layer(x, prefix):
        state = network.state_dict()
        y = torch.einsum("ntc,oc->nto", x, state[f"{prefix}.weight"]) + state[f"{prefix}.bias"]
        return torch.where(y > 0, y, 0.01 * y)

    own = layer(mid, "mapper_mid_channel.0")
    above = layer(layer(tokens["coarse"].mT, "mapper_coarse_to_mid_spatial.0"), "mapper_coarse_to_mid_spatial.2").mT
    torch.testing.assert_close(tokens["mid"], own + above, atol=1e-4, rtol=1e-4)
    own = layer(layer(fine, "mapper_fine_channel.0"), "mapper_fine_channel.2")
    above = layer(layer(tokens["mid"].mT, "mapper_mid_to_fine_spatial.0"), "mapper_mid_to_fine_spatial.2").mT
    torch.testing.assert_close(tokens["fine"], own + above, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens["coarse"], layer(coarse, "mapper_coarse_channel.0"), atol=1e-4, rtol=1e-4)


def test_cross_attention_equals_a_loop_over_heads(rng):
    block = CrossAttention().requires_grad_(False)
    queries, tokens = torch.randn(1, 3, 512, generator=rng), torch.randn(1, 9, 512, generator=rng)
    attention = block.multihead_attn
    attention.in_proj_bias.normal_()
    q, k, v = (
        x @ w.T + b
        for x, w, b in zip(
            (queries, tokens, tokens), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True
        )
    )
    parts = []
    for h in range(4):
        own = slice(128 * h, 128 * (h + 1))
        parts.append((q[..., own] @ k[..., own].mT / 128**0.5).softmax(-1) @ v[..., own])
    x = queries + attention.out_proj(torch.cat(parts, -1))
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    expected = x + block.linear2(block.linear1(x).clamp(min=0))
    torch.testing.assert_close(block(queries, tokens), expected, atol=1e-5, rtol=1e-4)


# --- the backbone against torchvision's ---


@pytest.mark.parametrize(("size", "window", "shifted"), [(12, 4, False), (12, 4, True), (4, 4, True), (8, 4, True)])
def test_a_block_equals_torchvisions(size, window, shifted, rng):
    block = swin.SwinBlock(24, size, 3, window, pretrained=window, shifted=shifted).requires_grad_(False)
    shift = window // 2 if shifted else 0
    theirs = SwinTransformerBlockV2(24, 3, [window] * 2, [shift] * 2).requires_grad_(False).eval()
    for parameter in block.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.3)
    own = {"norm1": block.norm1, "norm2": block.norm2, "mlp.0": block.mlp.fc1, "mlp.3": block.mlp.fc2}
    own |= {"attn.proj": block.attn.proj, "attn.cpb_mlp": block.attn.cpb_mlp}
    for name, module in own.items():
        theirs.get_submodule(name).load_state_dict(module.state_dict())
    theirs.attn.logit_scale.copy_(block.attn.logit_scale)
    theirs.attn.qkv.weight.copy_(block.attn.qkv.weight)
    theirs.attn.qkv.bias.copy_(torch.cat([block.attn.q_bias, torch.randn(24), block.attn.v_bias]))
    torch.testing.assert_close(block.attn.relative_coords_table, theirs.attn.relative_coords_table)
    assert torch.equal(block.attn.relative_position_index.flatten(), theirs.attn.relative_position_index)
    x = torch.randn(2, size * size, 24, generator=rng)
    expected = theirs(x.view(2, size, size, 24)).flatten(1, 2)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-4)


def test_merging_equals_torchvisions(rng):
    merging, theirs = swin.PatchMerging(6, 8), PatchMergingV2(6)
    theirs.load_state_dict(merging.state_dict())
    x = torch.randn(2, 64, 6, generator=rng)
    torch.testing.assert_close(merging(x), theirs(x.view(2, 8, 8, 6)).flatten(1, 2))


def test_distances_are_scaled_for_the_window_of_the_pretraining():
    """Offset 3 of a window of 16, pretrained at 12: sign * log2(1 + 8 * 3 / 11) / log2(8)."""
    table = swin.log_distances(16, pretrained=12)
    assert table[0, 15 + 3, 15 - 3].tolist() == pytest.approx([0.5566, -0.5566], abs=1e-3)


def test_windows_come_back_together(rng):
    x = torch.randn(2, 12, 12, 3, generator=rng)
    windows = swin.to_windows(x, 4)
    assert torch.equal(windows[1].view(4, 4, 3), x[0, :4, 4:8])
    assert torch.equal(swin.from_windows(windows, 12), x)


# --- the file ---


@pytest.mark.parametrize("zipped", [True, False])
def test_the_released_file_loads_strictly_through_the_restricted_reader(zipped, tmp_path, monkeypatch, images):
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(GuideError, match=r"encoder_FFHQ.pt yourself .* python -m guide_lib convert encoder_FFHQ.pt"):
        load_goae()
    source = tmp_path / "encoder_FFHQ.pt"
    torch.save(encoder().state_dict(), source, _use_new_zipfile_serialization=zipped)
    convert(source)
    source.unlink()
    loaded, w_avg = load_goae(), torch.randn(1, 14, 512)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    expected = encoder().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    if not zipped:
        return  # the same weights draw the same
    torch.testing.assert_close(loaded.latents(images, w_avg), w_avg + encoder()(images))
    assert loaded.latents(F.interpolate(images, 64), w_avg).shape == (1, 14, 512)


def test_another_file_under_its_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path))
    torch.save({"swin_model.norm.weight": torch.zeros(3)}, tmp_path / "encoder_FFHQ.pt")
    with pytest.raises(GuideError, match="holds another network, with tensors such as swin_model.norm.weight"):
        convert(tmp_path / "encoder_FFHQ.pt")
    save_file({"swin_model.norm.weight": torch.zeros(3)}, converted_path("goae-ffhq"))  # by an older version
    with pytest.raises(GuideError, match="is not GOAE's encoder for FFHQ; convert encoder_FFHQ.pt again"):
        load_goae()
