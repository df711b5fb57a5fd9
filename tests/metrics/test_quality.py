"""The two measures of what replaces the person, against pictures whose grid and texture are known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import TinyPerceptual

from guide_lib.metrics.quality import CHUNK, strangeness
from guide_lib.perception.grid import weave

SIZE = 128
COLUMNS = torch.arange(SIZE)
PERCEPTUAL, CPU = TinyPerceptual(), torch.device("cpu")


def smooth(count: int = 3, seed: int = 0) -> torch.Tensor:
    """Coloured noise whose power falls with the square of the frequency, as a photo's does; [count, 3, SIZE, SIZE]."""
    rng = torch.Generator().manual_seed(seed)
    f = torch.fft.fftfreq(SIZE)
    fall = (f.square()[:, None] + f.square() + 1 / SIZE**2).rsqrt()
    noise = torch.fft.ifft2(torch.fft.fft2(torch.randn(count, 3, SIZE, SIZE, generator=rng)) * fall).real
    return 0.3 * noise / noise.std()


def waves(period: float) -> torch.Tensor:
    """Stripes [SIZE] of amplitude 1."""
    return torch.cos(2 * torch.pi * COLUMNS / period)


def stretch_at(row: np.ndarray, frequency: float) -> float:
    """Power of one frequency in a windowed row of numbers, by the sum that defines it."""
    angle = 2 * np.pi * frequency * np.arange(len(row))
    windowed = row * np.hanning(len(row))
    return (windowed @ np.cos(angle)) ** 2 + (windowed @ np.sin(angle)) ** 2


@pytest.mark.parametrize("period", [2, 4])
def test_a_grid_is_measured_as_strong_as_it_was_added(period):
    """Ten times the amplitude, a hundred times the power, once the grid outweighs the picture."""
    faces = smooth()
    plain, weak, strong = (weave(faces + amplitude * waves(period)) for amplitude in (0.0, 0.1, 1.0))
    assert (plain < 3).all() and (weak > 30).all()
    assert torch.allclose(strong / weak, torch.full((3,), 100.0, dtype=torch.float64), rtol=0.2)


def test_stripes_of_one_picture_agree_with_the_sum_that_defines_a_spectrum():
    """Columns of noise, the same in every row: one axis alone has power, and it is that of a row of numbers."""
    rng = np.random.default_rng(3)
    row = rng.normal(size=SIZE) + waves(2).numpy()
    centred = row - row.mean()
    power = {k: stretch_at(centred, k / SIZE) for k in range(SIZE)}
    beside = np.mean([power[64 + way * away] for way in (-1, 1) for away in range(3, 9)])
    found = weave(torch.tensor(row).expand(1, 3, SIZE, SIZE))
    assert found.item() == pytest.approx(power[64] / beside, rel=0.02)


@pytest.mark.parametrize("period", [3, 2.6, 8, 32])
def test_other_stripes_are_no_grid(period):
    assert torch.allclose(weave(smooth() + 0.2 * waves(period)), weave(smooth()), rtol=0.35)


def test_slanted_stripes_and_those_of_colour_alone_are_no_grid():
    faces = smooth()
    slanted = torch.cos(torch.pi * COLUMNS + 2 * torch.pi * 6 / SIZE * COLUMNS[:, None])
    against = torch.tensor([1.0, -1.0, 0.0])[:, None, None] * waves(2)
    assert torch.allclose(weave(faces + 0.2 * slanted), weave(faces), rtol=0.1)
    assert torch.allclose(weave(faces + 0.2 * against), weave(faces), rtol=1e-3)


def test_neither_light_nor_contrast_nor_turning_nor_mirrors_count():
    woven = smooth() + 0.05 * waves(2)
    for same in (0.2 * woven + 0.7, woven.rot90(1, (2, 3)), woven.rot90(2, (2, 3)), woven.flip(3), woven.mT):
        assert torch.allclose(weave(same), weave(woven), rtol=1e-3)


def test_each_picture_is_measured_by_itself_and_an_empty_one_has_no_grid():
    woven = smooth() + torch.tensor([0.0, 0.1, 0.3])[:, None, None, None] * waves(2)
    together = weave(woven)
    assert torch.allclose(together, torch.cat([weave(picture[None]) for picture in woven]))
    assert together.argsort().tolist() == [0, 1, 2]
    assert weave(torch.full((1, 3, SIZE, SIZE), 0.4)).item() == 0


def test_strangeness_equals_a_loop_over_pairs():
    own, others = smooth(CHUNK + 3), smooth(2, seed=1) * 1.5 + 0.2

    def look(picture: torch.Tensor) -> np.ndarray:
        colours, steps = picture.numpy(), np.diff(picture.numpy(), axis=-1)
        return np.concatenate([colours.mean((1, 2)), steps.mean((1, 2))])

    seen = [look(picture) for picture in own]
    usual = [min(np.linalg.norm(a - b) for j, b in enumerate(seen) if j != i) for i, a in enumerate(seen)]
    middle = sorted(usual)[len(usual) // 2]
    expected = [min(np.linalg.norm(look(picture) - b) for b in seen) / middle for picture in others]
    assert strangeness(others, own, PERCEPTUAL, CPU).tolist() == pytest.approx(expected, rel=1e-4)


def test_where_things_are_in_the_picture_does_not_matter():
    own = smooth(6)
    moved = F.pad(own[:1], (0, 0, 5, 0), mode="circular")[..., :SIZE, :]
    assert strangeness(moved, own, PERCEPTUAL, CPU).item() < 0.1
