"""StyleGAN2's primitives against reference values, and its layers against plain arithmetic."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from project import GOLDEN
from safetensors.torch import load_file

from guide_lib.generators import stylegan2
from guide_lib.generators.convolution import convolve
from guide_lib.generators.stylegan2_ffhq import StyleGAN2, StyleGAN2Config
from guide_lib.runtime import mixed_precision

OPS = load_file(GOLDEN / "stylegan2-ops.safetensors")
ARGUMENTS = json.loads((GOLDEN / "stylegan2-ops.json").read_text())
KERNEL = stylegan2.binomial_filter()


def close(found: torch.Tensor, name: str) -> None:
    """Within 1e-5 of the reference tensor's own scale."""
    expected = OPS[name]
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_low_pass_filter():
    close(KERNEL, "setup_filter")


@pytest.mark.parametrize("case", ["id", "pad1", "flip", "down2"])
def test_filtering(case):
    """A flipped filter is passed flipped, a gain multiplies it, and resampling down is a stride of the result."""
    options = {k.rsplit("/", 1)[1]: v for k, v in ARGUMENTS.items() if k.startswith(f"upfirdn2d/{case}/kw/")}
    padding = options.get("padding", 0)
    kernel = OPS[f"upfirdn2d/{case}/f"] * options.get("gain", 1)
    kernel = kernel.flip((0, 1)) if options.get("flip_filter") else kernel
    padding = [padding] * 4 if isinstance(padding, int) else padding  # left, right, top, bottom
    found = stylegan2.filter_2d(F.pad(OPS[f"upfirdn2d/{case}/x"], padding), kernel)
    step = options.get("down", 1)
    close(found[..., ::step, ::step], f"upfirdn2d/{case}/y")


def test_filtering_is_a_convolution_not_a_correlation(rng):
    """The reference filter is symmetric; this one is not. One output value by its definition."""
    x, kernel = torch.randn(1, 1, 4, 4, generator=rng), torch.randn(4, 4, generator=rng)
    expected = sum(x[0, 0, i, j] * kernel[3 - i, 3 - j] for i in range(4) for j in range(4))
    torch.testing.assert_close(stylegan2.filter_2d(x, kernel)[0, 0, 0, 0], expected)


def test_upsampling(rng):
    close(stylegan2.upsample_2d(OPS["upfirdn2d/up2/x"], OPS["upfirdn2d/up2/f"]), "upfirdn2d/up2/y")
    close(stylegan2.upsample_2d(OPS["upsample2d/x"], KERNEL), "upsample2d/y")
    x, kernel = torch.randn(2, 3, 5, 6, generator=rng), torch.randn(4, 4, generator=rng)
    spread = torch.zeros(2, 3, 10, 12)
    spread[..., ::2, ::2] = x  # zeros between the pixels, then a filter of any shape
    expected = stylegan2.filter_2d(F.pad(spread, (2, 1, 2, 1)), 4 * kernel)
    torch.testing.assert_close(stylegan2.upsample_2d(x, kernel), expected)


def test_second_moment():
    close(stylegan2.unit_second_moment(OPS["normalize_2nd_moment/x"]), "normalize_2nd_moment/y")


@pytest.mark.parametrize("case", ["plain", "up"])
def test_convolution_without_styles(case):
    weight, x = OPS[f"conv2d_resample/{case}/w"], OPS[f"conv2d_resample/{case}/x"]
    ones = torch.ones(len(x), weight.shape[1])
    found = stylegan2.modulated_conv2d(x, weight, ones, demodulate=False, up=KERNEL if case == "up" else None)
    close(found, f"conv2d_resample/{case}/y")


@pytest.mark.parametrize("form", ["fused=True", "fused=False"])
@pytest.mark.parametrize("case", ["plain", "noise", "up", "nodemod"])
def test_modulated_convolution(case, form):
    name = f"modulated_conv2d/{case}/{form}"
    x, weight, styles = (OPS[f"{name}/{part}"] for part in ("x", "weight", "styles"))
    up = OPS.get(f"{name}/kw/resample_filter")
    found = stylegan2.modulated_conv2d(x, weight, styles, demodulate=case != "nodemod", up=up)
    close(found + OPS.get(f"{name}/kw/noise", 0), f"{name}/y")


def test_half_precision_stays_finite_and_near_single(rng):
    """Such styles and weights would overflow half precision without the scale that demodulation undoes."""
    x, styles = torch.randn(2, 64, 8, 8, generator=rng), 5000 * torch.randn(2, 64, generator=rng)
    weight = 10_000 * torch.randn(8, 64, 3, 3, generator=rng)
    single = stylegan2.modulated_conv2d(x, weight, styles)
    half = stylegan2.modulated_conv2d(x.half(), weight, styles)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), single, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("case, lr", [("lin", 1.0), ("b1", 1.0), ("lrelu", 0.01)])
def test_fully_connected(case, lr):
    weight, bias = OPS[f"fc/{case}/weight"], OPS[f"fc/{case}/bias"]
    layer = stylegan2.FullyConnected(6, 4, lr)
    layer.load_state_dict({"weight": weight, "bias": bias})
    found = layer(OPS[f"fc/{case}/x"])
    close(stylegan2.activate(found) if case == "lrelu" else found, f"fc/{case}/y")


def test_a_styled_convolution_adds_its_offset_then_activates_with_the_gain_then_clamps(rng):
    conv = stylegan2.StyledConv(4, 5, 3, 6, clamp=0.7).requires_grad_(False)
    stylegan2.initialise(conv, rng)
    conv.noise_strength.fill_(0.3)
    conv.bias.copy_(torch.randn(5, generator=rng))
    x, w = torch.randn(2, 4, 6, 6, generator=rng), torch.randn(2, 3, generator=rng)
    linear = stylegan2.modulated_conv2d(x, conv.weight, conv.affine(w))
    linear = linear + conv.bias[:, None, None] + 0.3 * conv.noise_const
    expected = (math.sqrt(2) * torch.where(linear > 0, linear, 0.2 * linear)).clamp(-0.7, 0.7)
    assert 0.1 < (expected.abs() == 0.7).float().mean() < 0.9
    torch.testing.assert_close(conv(x, w), expected)


def small_network(seed: int = 0) -> StyleGAN2:
    network = StyleGAN2(StyleGAN2Config(32, z_dim=6, w_dim=8, mapping_layers=3, channel_base=128, channel_max=8))
    stylegan2.initialise(network, torch.Generator().manual_seed(seed))
    return network.requires_grad_(False).eval()


def test_noise_modes(rng):
    """`const` adds strength times the stored map, `none` nothing, a generator fresh normal numbers."""
    conv = stylegan2.StyledConv(4, 5, 3, 6).requires_grad_(False)
    stylegan2.initialise(conv, rng)
    conv.noise_strength.fill_(0.3)
    x, w = torch.randn(2, 4, 6, 6, generator=rng), torch.randn(2, 3, generator=rng)
    linear = {mode: F.leaky_relu(conv(x, w, mode) / math.sqrt(2), 5) for mode in ("none", "const")}  # invert the ReLU
    torch.testing.assert_close(linear["const"] - linear["none"], (0.3 * conv.noise_const).expand(2, 5, -1, -1))
    one, same, other = (conv(x, w, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    drawn = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    added = F.leaky_relu(one / math.sqrt(2), 5) - linear["none"]
    torch.testing.assert_close(added, (0.3 * drawn).expand(2, 5, -1, -1))


def test_rows_act_on_their_own_layers(rng):
    """Row 0 is the first convolution's; block k's head shares its row with the next block's first convolution."""
    network = small_network()
    ws = torch.randn(1, network.rows, 8, generator=rng)
    seen: dict[str, torch.Tensor] = {}
    for name, module in network.backbone.synthesis.named_modules():
        if name.endswith("affine"):
            module.register_forward_hook(lambda _, args, __, name=name: seen.update({name: args[0]}))
    network.synthesis(ws)
    order = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1", "b32.conv0", "b32.conv1"]
    heads = {"b4.torgb": 1, "b8.torgb": 3, "b16.torgb": 5, "b32.torgb": 7}
    for layer, row in {**{layer: row for row, layer in enumerate(order)}, **heads}.items():
        assert torch.equal(seen[f"{layer}.affine"], ws[:, row]), layer
    assert network.rows == 8 and len(seen) == 11


def test_the_flat_generator_obeys_the_interface(rng):
    network = small_network()
    z = torch.randn(3, 6, generator=rng)
    ws = network.mapping(z)
    rendering = network.synthesis(ws)
    assert 0.1 < ws.std() < 3, "fresh weights must keep the scale of what passes through them"
    assert rendering.image.shape == (3, 3, 32, 32) and rendering.features.shape == (3, 4, 32, 32)
    torch.testing.assert_close(network.synthesis(ws[1:2]).image, rendering.image[1:2], atol=1e-4, rtol=1e-4)
    network.backbone.mapping.w_avg.copy_(ws[:, 0].mean(0))
    half = network.mapping(z, 0.5)
    torch.testing.assert_close(half, (ws + network.w_avg) / 2)
    student = network.student()
    student.synthesis(ws).image.square().mean().backward()
    trained = student.trainable_parameters()
    assert all(p.grad is not None for p in trained.values())
    assert {name for name, p in student.named_parameters() if p.requires_grad} == set(trained)


@pytest.mark.parametrize("resolution, base, millions, rows", [(256, 16384, 24.77, 14), (1024, 32768, 30.37, 18)])
def test_full_size_networks_have_the_published_size(resolution, base, millions, rows):
    """30.37 million is what configuration F has at 1024 px; 24.77 what the half as wide one for 256 px has."""
    with torch.device("meta"):
        network = StyleGAN2(StyleGAN2Config(resolution, channel_base=base))
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions
    assert network.rows == rows
    names = set(network.backbone.state_dict())
    assert {"synthesis.b4.const", f"synthesis.b{resolution}.torgb.bias", "mapping.fc7.weight", "mapping.w_avg"} <= names
    assert not any(".embed." in name or ".conv0." in name and ".b4." in name for name in names)


@pytest.mark.parametrize("doubles", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_with_a_constant_weight_has_the_same_gradient_and_keeps_no_input(groups, doubles, rng):
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=rng, requires_grad=True)
    weight = torch.randn(4, 4 // groups, 3, 3, dtype=torch.float64, generator=rng)
    options = dict(padding=0 if doubles else 1, groups=groups, doubles=doubles)
    constant, learning = weight.clone(), weight.clone().requires_grad_()
    kept = {}
    for name, kernel in (("constant", constant), ("learning", learning)):
        shapes = kept.setdefault(name, [])
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, shapes=shapes: shapes.append(t.shape) or t, lambda t: t
        ):
            convolve(x, kernel, **options)
    assert x.shape in kept["learning"] and x.shape not in kept["constant"]
    torch.testing.assert_close(convolve(x, constant, **options), convolve(x, learning, **options))
    assert torch.autograd.gradcheck(lambda x: convolve(x, constant, **options), x)
    assert torch.autograd.gradcheck(lambda w: convolve(x, w, **options), learning)


def test_a_constant_convolution_in_mixed_precision(rng):
    x = torch.randn(1, 4, 6, 6, generator=rng, requires_grad=True)
    weight = torch.randn(4, 4, 3, 3, generator=rng)
    (exact,) = torch.autograd.grad(convolve(x, weight, padding=1).square().sum(), x)
    with mixed_precision(torch.device("cpu")):
        coarse = convolve(x, weight, padding=1)
    assert coarse.dtype == torch.bfloat16
    (rounded,) = torch.autograd.grad(coarse.square().sum(), x)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.02 * exact.abs().max().item())
