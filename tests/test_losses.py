"""Each loss against an explicit loop over its formula in method order, one latent and one term at a time."""

import pytest
import torch
import torch.nn.functional as F
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.generators import Rendering, View
from guide_lib.losses import (
    Distance,
    DistanceWeights,
    MeanSquare,
    adjacency_loss,
    adjacency_offsets,
    local_loss,
    observe_teacher,
    preservation_loss,
)

PERCEPTUAL, EMBEDDER = TinyPerceptual(), TinyEmbedder()


@pytest.fixture
def world():
    teacher = TinyGenerator(0)
    student = TinyGenerator(5)
    rng = torch.Generator().manual_seed(3)
    w_u, w_t = teacher.sample(1, rng), teacher.sample(1, rng)
    return teacher, student, w_u, w_t, rng


def formula(a: Rendering, b: Rendering) -> float:
    """D of the paper for one pair, spelled out."""
    mse = ((a.features - b.features) ** 2).sum() / a.features.numel()
    cosine = F.cosine_similarity(EMBEDDER.embed(a.image), EMBEDDER.embed(b.image))
    return (0.01 * mse + 1.0 * PERCEPTUAL(a.image, b.image)[0] + 0.1 * (1 - cosine[0])).item()


def test_distance_is_the_formula_for_every_pair_of_a_batch(world):
    teacher, student, *_, rng = world
    ws = teacher.sample(4, rng)
    distance = Distance(PERCEPTUAL, EMBEDDER)
    got = distance(distance.observe(student.synthesis(ws)), distance.observe(teacher.synthesis(ws)))
    for k in range(4):
        assert got[k].item() == pytest.approx(
            formula(student.synthesis(ws[k : k + 1]), teacher.synthesis(ws[k : k + 1])), rel=1e-4
        )


def test_the_mean_square_and_its_gradient():
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.testing.assert_close(MeanSquare.apply(x), x.square().mean((1, 2, 3)))
    assert torch.autograd.gradcheck(MeanSquare.apply, x)


def test_the_mean_square_of_rounded_numbers_is_summed_in_single_precision():
    x = torch.randn(2, 64, 32, 32, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    got = MeanSquare.apply(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, x.float().square().mean((1, 2, 3)), rtol=1e-5, atol=0.0)
    (3 * got).sum().backward()
    torch.testing.assert_close(x.grad.float(), 6 * x.float() / x[0].numel(), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("term", ["features", "perceptual", "identity"])
def test_each_term_of_the_distance_counts_with_its_weight(world, term):
    teacher, student, w_u, *_ = world
    pair = student.synthesis(w_u), teacher.synthesis(w_u)

    def value(**weights: float) -> float:
        distance = Distance(PERCEPTUAL, EMBEDDER, DistanceWeights(**weights))
        return distance(*map(distance.observe, pair)).item()

    base = dict(features=0.01, perceptual=1.0, identity=0.1)
    doubled = value(**(base | {term: 2 * base[term]})) - value(**base)
    assert doubled == pytest.approx(value(**dict.fromkeys(base, 0.0) | {term: base[term]}), rel=1e-4)
    assert doubled > 1e-4


def test_local_loss_compares_the_student_at_w_u_with_the_teacher_at_w_t(world):
    teacher, student, w_u, w_t, _ = world
    distance, view = Distance(PERCEPTUAL, EMBEDDER), View(yaw=7.0)
    got = local_loss(student, w_u, observe_teacher(teacher, w_t, view, distance), view, distance)
    assert got.item() == pytest.approx(formula(student.synthesis(w_u, view), teacher.synthesis(w_t, view)), rel=1e-4)


def test_adjacency_loss_is_a_sum_over_neighbours_with_the_same_offset_on_both_sides(world):
    teacher, student, w_u, w_t, rng = world
    distance, view = Distance(PERCEPTUAL, EMBEDDER), View()
    delta = torch.randn(3, 3, 6, generator=rng)
    got = adjacency_loss(student, teacher, w_u, w_t, delta, view, distance)
    expected = sum(
        formula(student.synthesis(w_u + d), teacher.synthesis(w_t + d)) for d in delta.split(1)
    )  # a sum, not a mean
    assert got.item() == pytest.approx(expected, rel=1e-4)


def test_preservation_loss_is_a_sum_of_lpips_at_the_same_latents(world):
    teacher, student, *_, rng = world
    ws = teacher.sample(3, rng)
    got = preservation_loss(student, teacher, ws, View(), PERCEPTUAL)
    expected = sum(PERCEPTUAL(student.synthesis(w).image, teacher.synthesis(w).image) for w in ws.split(1))
    assert got.item() == pytest.approx(expected.item(), rel=1e-4)
    assert preservation_loss(teacher, teacher, ws, View(), PERCEPTUAL).item() == 0.0


def test_offsets_have_the_stated_length_over_the_whole_latent_and_point_to_the_neighbours(world):
    teacher, _, w_u, _, rng = world
    neighbours, alpha = teacher.sample(5, rng), torch.tensor([0.0, 1.0, 5.0, 10.0, 15.0])
    delta = adjacency_offsets(w_u, neighbours, alpha)
    for d, w_k, a in zip(delta, neighbours, alpha, strict=True):
        assert d.norm().item() == pytest.approx(a.item() * (3 / 14) ** 0.5, rel=1e-4)
        toward = w_k - w_u[0]
        assert (d * toward).sum().item() == pytest.approx((d.norm() * toward.norm()).item(), rel=1e-4, abs=1e-6)


def test_gradients_reach_the_student_only_and_agree_with_finite_differences(world):
    teacher, _, w_u, w_t, rng = world
    teacher, w_u, w_t = teacher.double(), w_u.double(), w_t.double()
    student = teacher.student()
    distance, view = Distance(PERCEPTUAL.double(), TinyEmbedder().double()), View()
    delta, ws = torch.randn(2, 3, 6, generator=rng, dtype=torch.float64), w_u + 0.3
    weight = student.backbone.weight
    weight.data += 0.1 * torch.randn(weight.shape, generator=rng, dtype=torch.float64)

    def total() -> torch.Tensor:
        target = observe_teacher(teacher, w_t, view, distance)
        return (
            local_loss(student, w_u, target, view, distance)
            + adjacency_loss(student, teacher, w_u, w_t, delta, view, distance)
            + preservation_loss(student, teacher, ws, view, distance.perceptual)
        )

    total().backward()
    step = 1e-5
    for index in ((0, 0), (17, 3), (79, 17)):
        with torch.no_grad():
            weight[index] += step
            above = total().item()
            weight[index] -= 2 * step
            below = total().item()
            weight[index] += step
        assert weight.grad[index].item() == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-8)
    assert all(p.grad is None for p in teacher.parameters())
    assert student.head.weight.grad is None


def test_a_neighbour_who_is_the_person_gives_no_offset():
    w_u = torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(0))
    neighbours = torch.cat([w_u, w_u * (1 + 1e-6), w_u + 1, w_u * 1.001])
    delta = adjacency_offsets(w_u, neighbours, torch.full((4,), 5.0))
    assert torch.equal(delta[:2], torch.zeros(2, 3, 6)), "rounding is no direction"
    assert delta[2:].flatten(1).norm(dim=1).min() > 1
