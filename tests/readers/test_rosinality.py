"""StyleGAN2 under the names of stylegan2-pytorch: the converted network draws what the original would draw.

The original is written down here plainly, picture by picture and layer by layer, from its definition.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from guide_lib.assets import official
from guide_lib.errors import GuideError
from guide_lib.generators import load_generator

SIZE, WIDTH, Z, LAYERS = 16, 6, 5, 3
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
FILTER = torch.outer(TAPS, TAPS) / 64


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    """A random network of 16 px, as `g_ema` holds it."""
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    def styled(name: str, up: bool) -> dict[str, torch.Tensor]:
        conv = {"weight": draw(1, WIDTH, WIDTH, 3, 3), "modulation.weight": draw(WIDTH, Z)}
        conv |= {"modulation.bias": 1 + draw(WIDTH)} | ({"blur.kernel": 4 * FILTER} if up else {})
        rest = {f"{name}.noise.weight": draw(1), f"{name}.activate.bias": draw(WIDTH)}
        return {f"{name}.conv.{key}": tensor for key, tensor in conv.items()} | rest

    def head(name: str, up: bool) -> dict[str, torch.Tensor]:
        conv = {"weight": draw(1, 3, WIDTH, 1, 1), "modulation.weight": draw(WIDTH, Z), "modulation.bias": draw(WIDTH)}
        rest = {f"{name}.bias": draw(1, 3, 1, 1)} | ({f"{name}.upsample.kernel": 4 * FILTER} if up else {})
        return {f"{name}.conv.{key}": tensor for key, tensor in conv.items()} | rest

    found = {f"style.{i}.{part}": 100 * draw(*shape) for i in range(1, LAYERS + 1)
             for part, shape in (("weight", (Z, Z)), ("bias", (Z,)))}  # fmt: skip
    found |= {"input.input": draw(1, WIDTH, 4, 4)} | styled("conv1", False) | head("to_rgb1", False)
    for k in range(2):
        found |= styled(f"convs.{2 * k}", True) | styled(f"convs.{2 * k + 1}", False) | head(f"to_rgbs.{k}", True)
    sizes = [4, 8, 8, 16, 16]
    return found | {f"noises.noise_{i}": draw(1, 1, size, size) for i, size in enumerate(sizes)}


def mapping(s: dict[str, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for i in range(1, LAYERS + 1):
        x = F.linear(x, s[f"style.{i}.weight"] * (0.01 / math.sqrt(Z)), s[f"style.{i}.bias"] * 0.01)
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    return x


def enlarged(x: torch.Tensor) -> torch.Tensor:
    """Zeros between the pixels, then the filter, four times as strong."""
    spread = torch.zeros(len(x), 2 * x.shape[1], 2 * x.shape[2])
    spread[:, ::2, ::2] = x
    padded = F.pad(spread, (2, 1, 2, 1))
    return F.conv2d(padded[:, None], 4 * FILTER[None, None])[:, 0]


def convolved(s: dict, name: str, x: torch.Tensor, w: torch.Tensor, demodulate: bool = True) -> torch.Tensor:
    """x [C, h, w], with a kernel that the style scales."""
    weight = s[f"{name}.conv.weight"][0]
    style = s[f"{name}.conv.modulation.weight"] @ w / math.sqrt(Z) + s[f"{name}.conv.modulation.bias"]
    kernel = weight * style[:, None, None] / math.sqrt(weight[0].numel())
    if demodulate:
        kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if f"{name}.conv.blur.kernel" not in s:
        return F.conv2d(x[None], kernel, padding=weight.shape[-1] // 2)[0]
    wide = F.conv_transpose2d(x[None], kernel.transpose(0, 1), stride=2)[0]
    return F.conv2d(F.pad(wide, (1, 1, 1, 1))[:, None], 4 * FILTER[None, None])[:, 0]


def styled(s: dict, name: str, x: torch.Tensor, w: torch.Tensor, noise: int) -> torch.Tensor:
    x = convolved(s, name, x, w) + s[f"{name}.noise.weight"] * s[f"noises.noise_{noise}"][0]
    return F.leaky_relu(x + s[f"{name}.activate.bias"][:, None, None], 0.2) * math.sqrt(2)


def picture(s: dict[str, torch.Tensor], ws: torch.Tensor) -> torch.Tensor:
    """ws [rows, Z] -> [3, 16, 16]."""
    x = styled(s, "conv1", s["input.input"][0], ws[0], 0)
    image = convolved(s, "to_rgb1", x, ws[1], demodulate=False) + s["to_rgb1.bias"][0]
    for k in range(2):
        x = styled(s, f"convs.{2 * k}", x, ws[2 * k + 1], 2 * k + 1)
        x = styled(s, f"convs.{2 * k + 1}", x, ws[2 * k + 2], 2 * k + 2)
        drawn = convolved(s, f"to_rgbs.{k}", x, ws[2 * k + 3], demodulate=False) + s[f"to_rgbs.{k}.bias"][0]
        image = enlarged(image) + drawn
    return image


@pytest.fixture
def draws_the_same(tmp_path):
    """Convert what torch.save wrote of a tree, load it, compare pictures and codes with the original's."""

    def compare(tree: object, original: dict[str, torch.Tensor]):
        torch.save(tree, tmp_path / "some.pt")
        generator = load_generator(str(official.convert(tmp_path / "some.pt")))
        z = torch.randn(2, Z)
        assert (generator.resolution, generator.rows) == (SIZE, 6)
        torch.testing.assert_close(generator.mapping(z)[:, 3], mapping(original, z), atol=1e-5, rtol=1e-4)
        ws = torch.randn(2, 6, Z)
        expected = torch.stack([picture(original, code) for code in ws])
        torch.testing.assert_close(generator.synthesis(ws).image, expected, atol=1e-4, rtol=1e-4)
        return generator

    return compare


def test_a_checkpoint_with_its_mean_latent(draws_the_same):
    mean = torch.randn(Z)
    generator = draws_the_same({"g_ema": state(), "latent_avg": mean}, state())
    assert torch.equal(generator.w_avg[0, 0], mean) and generator.config.clamp is None


def test_of_a_training_state_the_moving_average_is_taken(draws_the_same):
    """The mean latent, which such a file lacks, is that of the mapping."""
    optimiser = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]}
    generator = draws_the_same({"g": state(1), "d": {"convs.0.weight": torch.ones(2)}, "g_ema": state(2),
                                "g_optim": optimiser, "iteration": 7}, state(2))  # fmt: skip
    z = torch.randn(4000, Z, generator=torch.Generator().manual_seed(1))
    spread = mapping(state(2), z).std(0)
    off = (generator.w_avg[0, 0] - mapping(state(2), z).mean(0)).abs()
    assert (off < 0.1 * spread).all()


def test_the_decoder_inside_an_encoders_checkpoint(draws_the_same):
    """pSp and e4e: the decoder beside the encoder, the mean once for each row."""
    inner = {f"decoder.{name}": tensor for name, tensor in state().items()} | {
        "encoder.input_layer.0.weight": torch.ones(2)
    }
    generator = draws_the_same({"state_dict": inner, "latent_avg": torch.arange(Z).float().repeat(6, 1)}, state())
    assert generator.w_avg[0, 2].tolist() == list(range(Z))


def test_a_state_alone_in_parallel_or_in_half_precision(draws_the_same):
    draws_the_same({f"module.{name}": tensor for name, tensor in state().items()}, state())
    brief = {name: tensor.bfloat16() for name, tensor in state().items()}
    draws_the_same(brief, {name: tensor.float() for name, tensor in brief.items()})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"noises.noise_3": None}, "noises.noise_3 is missing"),
        ({"to_rgb1.bias": None}, "to_rgb1.bias is missing"),
        ({"convs.2.conv.blur.kernel": torch.ones(4, 4)}, "convs.2 has another filter"),
        ({"convs.1.conv.weight": torch.ones(1, WIDTH, WIDTH, 1, 1)}, "synthesis.b8.conv1.weight has the shape"),
        ({"convs.1.noise.weight": torch.ones(2)}, "cannot reshape"),
        ({"style.1.weight": None}, "style.1.weight is missing"),
    ],
)
def test_another_make_is_refused_before_anything_is_written(change, reason, tmp_path):
    changed = {name: tensor for name, tensor in (state() | change).items() if tensor is not None}
    torch.save({"g_ema": changed, "latent_avg": torch.zeros(Z)}, tmp_path / "some.pt")
    with pytest.raises(GuideError, match=reason):
        official.convert(tmp_path / "some.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["some.pt"]
