import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guide_lib.targets import average_target, distance_from_mean, partial_target, scale_to_rows, ufo_target

sizes = st.integers(1, 30)


def latents(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(1, rows, 8, generator=rng), torch.randn(1, 1, 8, generator=rng).expand(1, rows, 8)


def test_ufo_on_a_case_worked_by_hand():
    w_avg = torch.zeros(1, 14, 2)
    w_u = torch.zeros(1, 14, 2)
    w_u[0, 0, 0] = 4.0  # the whole latent has norm 4
    target = ufo_target(w_u, w_avg, d=30.0)
    assert target[0, 0, 0].item() == pytest.approx(-30.0)
    assert target.abs().sum().item() == pytest.approx(30.0)


@given(rows=sizes, seed=st.integers(0, 1000), d=st.floats(0.5, 60))
def test_ufo_lies_on_the_far_side_of_the_mean_at_distance_d(rows, seed, d):
    w_u, w_avg = latents(rows, seed)
    person, target = w_u - w_avg, ufo_target(w_u, w_avg, d) - w_avg
    cosine = (person * target).sum() / (person.norm() * target.norm())
    assert cosine.item() == pytest.approx(-1.0, abs=1e-4)
    assert target.norm().item() == pytest.approx(d * math.sqrt(rows / 14), rel=1e-4)


@given(rows=sizes, seed=st.integers(0, 1000), stretch=st.floats(0.1, 10))
def test_ufo_depends_on_the_direction_of_the_person_only(rows, seed, stretch):
    w_u, w_avg = latents(rows, seed)
    stretched = w_avg + stretch * (w_u - w_avg)
    torch.testing.assert_close(ufo_target(stretched, w_avg), ufo_target(w_u, w_avg), rtol=1e-3, atol=1e-3)


def test_d_of_zero_and_the_baseline_give_the_mean_face():
    w_u, w_avg = latents(23, 0)
    torch.testing.assert_close(ufo_target(w_u, w_avg, d=0.0), w_avg)
    torch.testing.assert_close(average_target(w_u, w_avg), w_avg)


def test_the_paper_distance_is_8_02_per_row_on_any_number_of_rows():
    for rows in (14, 18, 23):
        w_u, w_avg = latents(rows, rows)
        w_u = w_u[:, :1].expand(1, rows, 8)
        per_row = (ufo_target(w_u, w_avg) - w_avg).norm(dim=2)
        torch.testing.assert_close(per_row, torch.full((1, rows), 8.018), rtol=0, atol=1e-3)
    assert scale_to_rows(15.0, 14) == 15.0


def test_the_person_lies_on_ufos_line_at_minus_their_distance():
    w_u, w_avg = latents(23, 0)
    distance = distance_from_mean(w_u, w_avg).item()
    assert torch.allclose(ufo_target(w_u, w_avg, -distance), w_u, atol=1e-5)


def test_a_partial_target_moves_its_rows_only():
    w_u, w_avg = latents(6, 1)
    target = partial_target(w_u, w_avg, [0, 4])
    moved = (target != w_u).any(2)[0].tolist()
    assert moved == [True, False, False, False, True, False]
    assert torch.equal(target[:, 4], ufo_target(w_u, w_avg)[:, 4])
