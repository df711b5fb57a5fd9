"""The three losses of latent target unlearning, LTU (step 3 of GUIDE; Seo et al. 2024).

Notation: `student` is G_u, being trained; `teacher` is G_s, frozen; `view` the camera c that all terms of a step
share. Every loss is a SUM over its latents, as in the authors' formulas, and returns a scalar.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from guide_lib.generators import Generator, Rendering, View
from guide_lib.perception.grid import local_grid
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS
from guide_lib.targets import scale_to_rows

SAME_PERSON = 1e-4  # relative distance: one latent mapped in batches of two sizes differs by a tenth of this


@dataclass(frozen=True)
class DistanceWeights:
    """How much each term of D counts; the paper's values.

    features, perceptual, identity: factors of the mean square, of LPIPS, and of 1 - cosine.
    """

    features: float = 1e-2
    perceptual: float = 1.0
    identity: float = 0.1


@dataclass(frozen=True)
class Observation:
    """What the distance D looks at in N pictures, so that a picture that stays the same is looked at once.

    features: [N, C, h, w]; perceptual: LPIPS features; identity: [N, D], unit vectors; grid: [N, 9, h, w], or None
    where D does not ask for it.
    """

    features: Tensor
    perceptual: list[Tensor]
    identity: Tensor
    grid: Tensor | None = None


class MeanSquare(torch.autograd.Function):
    """The mean of x^2 over all but the first dimension: [N, C, h, w] -> [N], in single precision or better.

    Autograd's own way keeps and passes copies of x in single precision, which is half of what this term costs.

    >>> MeanSquare.apply(torch.full((2, 3, 4, 4), 0.5))
    tensor([0.25, 0.25])
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        # Over the channels first, as long sums lose digits.
        lengths = torch.linalg.vector_norm(x, dim=1, dtype=torch.promote_types(x.dtype, torch.float32))
        return lengths.square().mean((1, 2)) / x.shape[1]

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x * (2 / x[0].numel() * gradient).to(x.dtype)[:, None, None, None]


class Distance:
    """D(w, w') = 1e-2 MSE(P(w), P(w')) + 1.0 LPIPS(I(w), I(w')) + 0.1 (1 - cos(A(I(w)), A(I(w')))).

    >>> distance = Distance(perceptual, embedder)
    >>> person, target = (distance.observe(generator.synthesis(w)) for w in (w_u, w_t))
    >>> abs(distance(person, person).item()) < 1e-6, distance(person, target).item() > 0.1
    (True, True)
    """

    def __init__(
        self, perceptual: LPIPS, embedder: Embedder, weights: DistanceWeights | None = None, grid: float = 0.0
    ) -> None:
        """grid: weight of a fourth term, which the paper lacks: how differently the pictures are woven."""
        self.perceptual, self.embedder, self.grid = perceptual, embedder, grid
        self.weights = weights or DistanceWeights()

    def observe(self, rendering: Rendering) -> Observation:
        """Look at N pictures and their features once, to compare them as often as needed."""
        return self.observed(rendering, self.perceptual.features(rendering.image))

    def observed(self, rendering: Rendering, perceptual: list[Tensor]) -> Observation:
        """The same where LPIPS has looked already."""
        grid = local_grid(rendering.image) if self.grid else None
        return Observation(rendering.features, perceptual, self.embedder.embed(rendering.image), grid)

    def __call__(self, a: Observation, b: Observation) -> Tensor:
        """One distance for each of the N pairs: [N]."""
        return self.weighted(a, b, self.perceptual.distance(a.perceptual, b.perceptual))

    def weighted(self, a: Observation, b: Observation, perceptual: Tensor) -> Tensor:
        """The same from an LPIPS that is known already, [N]."""
        features = MeanSquare.apply(a.features - b.features)
        identity = 1 - (a.identity * b.identity).sum(1)
        weights = self.weights
        stated = weights.features * features + weights.perceptual * perceptual + weights.identity * identity
        return stated + self.grid * (a.grid - b.grid).square().mean((1, 2, 3)) if self.grid else stated


@torch.no_grad()
def observe_teacher(teacher: Generator, ws: Tensor, view: View, distance: Distance) -> Observation:
    """What the student is asked to show: the frozen generator's pictures of `ws` [N, rows, w_dim]."""
    return distance.observe(teacher.synthesis(ws, view))


def local_loss(student: Generator, w_u: Tensor, target: Observation, view: View, distance: Distance) -> Tensor:
    """D(w_u, w_t): at the person's latent the student must draw the target. `target` is the teacher's w_t.

    >>> distance = Distance(perceptual, embedder)
    >>> target = observe_teacher(generator, w_t, View(), distance)
    >>> at_first = local_loss(generator, w_u, target, View(), distance)
    >>> local_loss(student, w_u, target, View(), distance).item() < 0.5 * at_first.item()
    True
    """
    return distance(distance.observe(student.synthesis(w_u, view)), target).sum()


def adjacency_offsets(w_u: Tensor, neighbours: Tensor, alpha: Tensor) -> Tensor:
    """delta_k = alpha_k (w_k - w_u) / ||w_k - w_u||_F: steps of length alpha_k toward other people.

    w_u: [1, rows, w_dim]; neighbours w_k: [N_a, rows, w_dim]; alpha: [N_a], in the paper's scale. Or many w_u and one
    neighbour for all. Toward a neighbour who is the person, up to rounding, there is no direction: the offset is 0.

    >>> neighbours = torch.cat([generator.sample(1, rng), w_u])
    >>> delta = adjacency_offsets(w_u, neighbours, torch.tensor([15.0, 15.0]))
    >>> delta.flatten(1).norm(dim=1) / scale_to_rows(1.0, rows=3)
    tensor([15.,  0.])
    """
    direction = neighbours - w_u
    apart = direction.flatten(1).norm(dim=1)
    somebody_else = apart > SAME_PERSON * neighbours.flatten(1).norm(dim=1)
    length = scale_to_rows(1.0, w_u.shape[1]) * alpha / torch.where(somebody_else, apart, torch.inf)
    return length[:, None, None] * direction


def adjacency_loss(
    student: Generator,
    teacher: Generator,
    w_u: Tensor,
    w_t: Tensor,
    delta: Tensor,
    view: View,
    distance: Distance,
) -> Tensor:
    """Sum over k of D(w_u + delta_k, w_t + delta_k): the person's neighbours move along. delta: [N_a, rows, w_dim].

    >>> delta = adjacency_offsets(w_u, generator.sample(2, rng), torch.tensor([5.0, 10.0]))
    >>> distance = Distance(perceptual, embedder)
    >>> both = adjacency_loss(generator, generator, w_u, w_t, delta, View(), distance)
    >>> each = [adjacency_loss(generator, generator, w_u, w_t, d[None], View(), distance) for d in delta]
    >>> torch.allclose(both, sum(each))
    True
    """
    target = observe_teacher(teacher, w_t + delta, view, distance)
    return distance(distance.observe(student.synthesis(w_u + delta, view)), target).sum()


def preservation_loss(student: Generator, teacher: Generator, ws: Tensor, view: View, perceptual: LPIPS) -> Tensor:
    """Sum over k of LPIPS(I_u(w_k), I_s(w_k)): everybody else stays. ws: [N_g, rows, w_dim].

    >>> ws = generator.sample(2, rng)
    >>> preservation_loss(generator, generator, ws, View(), perceptual).item()
    0.0
    >>> preservation_loss(student, generator, ws, View(), perceptual).item() > 0
    True
    """
    with torch.no_grad():
        kept = teacher.picture(ws, view)
    return perceptual(student.picture(ws, view), kept).sum()


def joint_distances(
    student: Generator,
    teacher: Generator,
    starts: Tensor,
    ends: Tensor,
    others: Tensor,
    view: View,
    distance: Distance,
) -> tuple[Tensor, Tensor]:
    """What the three losses sum, from one pass of each network: D of each pair [N], LPIPS at each of the others [M].

    starts, ends: [N >= 1, rows, w_dim], w_u and w_t, with and without the offsets. others: [M >= 0, rows, w_dim].

    >>> distance, ws = Distance(perceptual, embedder), generator.sample(2, rng)
    >>> near, far = joint_distances(student, generator, w_u, w_t, ws, View(), distance)
    >>> target = observe_teacher(generator, w_t, View(), distance)
    >>> torch.allclose(near.sum(), local_loss(student, w_u, target, View(), distance))
    True
    >>> torch.allclose(far.sum(), preservation_loss(student, generator, ws, View(), perceptual))
    True
    """
    count = len(starts)

    def look(generator: Generator, ws: Tensor) -> Observation:
        rendering = generator.synthesis(torch.cat([ws, others]), view)
        near = rendering[:count]
        perceptual = distance.perceptual.features(rendering.image)
        return distance.observed(near, perceptual)

    with torch.no_grad():
        kept = look(teacher, ends)
    seen = look(student, starts)
    perceptual = distance.perceptual.distance(seen.perceptual, kept.perceptual)
    return distance.weighted(seen, kept, perceptual[:count]), perceptual[count:]
