"""Directions recovered from synthetic people whose measures are known, and the geometry of the measures."""

import numpy as np
import pytest
import torch
from project import ships
from tiny import TinyGenerator

from guide_lib.experiment import sample_person
from guide_lib.generators import load_generator
from guide_lib.generators.directions import (
    ATTRIBUTES_FILE,
    FILE,
    UNITS,
    adults,
    cost_of_moves,
    least_change,
    load_directions,
    measure_faces,
    move,
    ridge,
)
from guide_lib.metrics.identity import render
from guide_lib.perception.detection import find_landmarks

FACE = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.58, 0.5], [-0.4, 1.0, 0.0], [0.4, 1.0, 0.0]])  # x, y, depth


def seen(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, size: float = 60.0) -> np.ndarray:
    """The mask, turned (degrees), seen from far away: [1,5,2] px. x to the right, y down, depth to the viewer."""
    a, b, c = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    lean = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (FACE @ (lean @ turn @ nod).T)[None, :, :2] * size + 128


def people(rng: torch.Generator, count: int = 400, dim: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """w [N, D] with very unequal variances, and a true gradient [D, 3]."""
    scales = torch.logspace(0.5, -1.5, dim)
    return torch.randn(count, dim, generator=rng) * scales + 3, torch.randn(dim, 3, generator=rng)


@pytest.mark.parametrize("angle", [-25.0, -5.0, 0.0, 10.0, 30.0])
def test_the_turned_mask_is_measured_in_degrees(angle):
    assert measure_faces(seen(yaw=angle))["yaw"][0] == pytest.approx(angle, abs=1e-9)
    assert measure_faces(seen(pitch=angle))["pitch"][0] == pytest.approx(angle, abs=1e-9)


def test_measures_do_not_depend_on_place_size_and_roll():
    plain, other = measure_faces(seen(12, 0)), measure_faces(seen(12, 0, roll=20, size=11) + 500)
    assert all(plain[name] == pytest.approx(other[name], abs=1e-9) for name in plain)
    assert plain["smile"][0] == pytest.approx(0.8)  # both lines lie in the plane that turns


def test_a_wider_mouth_is_more_of_a_smile_and_a_missing_face_is_nan():
    wide, missing = seen(), np.full((1, 5, 2), np.nan)
    wide[0, 3, 0] -= 6
    assert measure_faces(wide)["smile"][0] == pytest.approx(0.9)
    assert all(np.isnan(values[0]) for values in measure_faces(missing).values())


def test_a_linear_measure_is_recovered(rng):
    w, truth = people(rng)
    fit = ridge(w, w @ truth + 7, [1.0, 1e-9])
    assert fit.penalty == 1e-9
    assert torch.allclose(fit.gradient, truth.double(), atol=1e-3)
    assert (fit.explained > 0.999).all()


def test_a_measure_of_pure_noise_explains_nothing(rng):
    w, _ = people(rng, count=60)
    assert ridge(w, torch.randn(60, 1, generator=rng)).explained.item() < 0.2


def test_explained_is_what_a_loop_over_left_out_faces_finds(rng):
    w, truth = people(rng, count=30)
    y = w @ truth[:, :1] + torch.randn(30, 1, generator=rng)
    x, error = w.double(), 0.0
    for i in range(30):
        rest = torch.arange(30) != i
        mean, level = x[rest].mean(0), y[rest].double().mean(0)
        centred = x[rest] - mean
        # The penalty is relative to the variance of all thirty; a left-out face does not change it.
        strength = 0.1 * (x - x.mean(0)).square().sum() / 24
        b = torch.linalg.solve(centred.T @ centred + strength * torch.eye(24), centred.T @ (y[rest].double() - level))
        error += (y[i].double() - level - (x[i] - mean) @ b).square().sum()
    expected = 1 - error / (y.double() - y.double().mean()).square().sum()
    assert ridge(w, y, [0.1]).explained.item() == pytest.approx(expected.item(), abs=1e-9)


def test_fewer_faces_than_dimensions_still_give_a_finite_gradient(rng):
    w, truth = people(rng, count=10)
    assert ridge(w, w @ truth).gradient.isfinite().all()


def test_a_move_changes_its_own_measure_by_one_and_no_other_at_the_least_cost(rng):
    w, truth = people(rng)
    gradients, cost = truth.double(), cost_of_moves(w, w @ torch.randn(24, 8, generator=rng))
    moves = least_change(gradients, cost)
    assert torch.allclose(gradients.T @ moves, torch.eye(3).double(), atol=1e-9)
    for k in range(3):
        least = moves[:, k] @ cost @ moves[:, k]
        for _ in range(20):  # any other way to the same change costs more
            sideways = torch.randn(24, dtype=torch.float64, generator=rng)
            sideways -= gradients @ torch.linalg.lstsq(gradients, sideways[:, None]).solution[:, 0]
            other = moves[:, k] + 0.1 * sideways
            assert other @ cost @ other > least


def test_the_cost_of_becoming_a_stranger_is_one_for_each_term(rng):
    w, truth = people(rng, count=4000)
    difference = (w[::2] - w[1::2]).double()
    for identity, expected in ((0.0, 1.0), (1.0, 2.0)):
        cost = cost_of_moves(w, w @ truth, identity)
        mean = ((difference @ cost) * difference).sum(1).mean().item()
        assert expected * 0.5 < mean <= expected * 1.05  # SHRINK makes the rarest differences cheaper


def test_identity_is_spared_where_there_is_another_way(rng):
    """The measure can be had through w_0, which the embedding sees, or through w_1, which it does not."""
    w = torch.randn(2000, 2, generator=rng)
    gradients = torch.ones(2, 1, dtype=torch.float64)
    free, spared = (least_change(gradients, cost_of_moves(w, w[:, :1], identity=k))[:, 0] for k in (0.0, 100.0))
    assert free == pytest.approx([0.5, 0.5], abs=0.05)
    assert spared == pytest.approx([0.0, 1.0], abs=0.05)


def test_move_adds_the_direction_to_the_rows_asked_for(rng):
    generator = TinyGenerator()
    ws, direction = generator.sample(2, rng), torch.arange(6.0)
    before = ws.clone()
    everywhere, some = move(ws, direction, 2.0), move(ws, direction, torch.tensor([1.0, -3.0]), rows=range(1, 3))
    assert torch.equal(ws, before)
    for n, amount in enumerate((1.0, -3.0)):
        for row in range(3):
            assert torch.allclose(everywhere[n, row], ws[n, row] + 2 * direction)
            assert torch.allclose(some[n, row], ws[n, row] + (amount * direction if row else 0))


def test_a_move_and_its_opposite_cancel(rng):
    ws, direction = torch.randn(1, 23, 512, generator=rng), torch.randn(512, generator=rng)
    assert torch.allclose(move(move(ws, direction, 1.5), direction, -1.5), ws, atol=1e-5)


@pytest.mark.skipif(not ships(FILE), reason="the directions do not ship")
def test_the_shipped_directions_turn_generated_faces_by_about_what_they_say():
    generator, directions = load_generator(resolution=256), load_directions()
    assert directions.keys() == UNITS.keys() and all(d.shape == (512,) for d in directions.values())
    people = generator.sample(6, torch.Generator().manual_seed(64_000_006), truncation=0.7)

    def measured(name: str, amount: float) -> np.ndarray:
        landmarks, _ = find_landmarks(render(generator, move(people, directions[name], amount)))
        return measure_faces(landmarks)[name]

    for name in ("yaw", "pitch"):
        turned = np.nanmean(measured(name, 8.0) - measured(name, -8.0))
        assert 8 < turned < 24
    assert np.nanmean(measured("smile", 1.0) - measured("smile", -1.0)) > 0


@pytest.mark.skipif(not ships(ATTRIBUTES_FILE), reason="the readings do not ship")
def test_seeds_that_draw_children_are_no_adults():
    """Seeds 1 to 8, looked at: the fourth draws a toddler, the seventh a girl, the others draw adults."""
    generator = load_generator(resolution=128)
    people = torch.cat([sample_person(generator, seed) for seed in range(1, 9)])
    assert adults(people, generator).tolist() == [seed not in (4, 7) for seed in range(1, 9)]
