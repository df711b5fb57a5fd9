"""The local grid against explicit loops and patterns whose answer is known."""

import pytest
import torch

from guide_lib.perception.grid import grid_difference, local_grid


@pytest.fixture
def pictures(rng: torch.Generator) -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=rng) * 2 - 1


@pytest.mark.parametrize("pattern", [lambda y, x: y, lambda y, x: x, lambda y, x: x + y])
def test_it_equals_a_sum_over_the_pixels_of_each_square(pictures, pattern):
    signs = torch.tensor([[(-1.0) ** pattern(y, x) for x in range(32)] for y in range(32)])
    kind = [pattern(1, 0), pattern(0, 1), pattern(1, 1)]
    place = [[1, 0, 1], [0, 1, 1], [1, 1, 2]].index(kind)
    found = local_grid(pictures)
    for row in range(2):
        for column in range(2):
            square = (slice(None), slice(None), slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))
            expected = (pictures * signs)[square].mean((2, 3))
            torch.testing.assert_close(found[:, 3 * place : 3 * place + 3, row, column], expected)


def test_an_even_grid_costs_the_square_of_its_strength_wherever_it_changes_its_sign(pictures):
    stripes = torch.tensor([1.0, -1.0]).repeat(16)
    turned = torch.cat([stripes[:16], -stripes[16:]])
    for grid in (stripes, turned, stripes[:, None]):
        found = grid_difference(pictures + 0.1 * grid, pictures)
        torch.testing.assert_close(found, torch.full((2,), 0.1**2 / 3))
    assert torch.equal(grid_difference(pictures, pictures), torch.zeros(2))


def test_smooth_pictures_have_none():
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    assert local_grid(ramp).abs().max() < 0.02
