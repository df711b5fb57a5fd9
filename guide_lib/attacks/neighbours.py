"""The person at a distance from w_u: how far does the erasure reach?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.attacks.chance import attack_rng
from guide_lib.generators import Generator
from guide_lib.losses import adjacency_offsets
from guide_lib.metrics.identity import identity_similarity, render
from guide_lib.perception.identity import Embedder


@dataclass(frozen=True)
class Neighbours:
    """Judge cosines to the person G_s(w_u) at one distance, means over the directions.

    student: of G_u(w_u + delta); generator: of G_s(w_u + delta), what an untouched generator would show there.
    student_max: the worst direction. distance: in the paper's scale.
    """

    distance: float
    student: float
    student_max: float
    generator: float


def neighbour_curve(
    student: Generator,
    generator: Generator,
    w_u: Tensor,
    judge: Embedder,
    *,
    distances: tuple[float, ...] = (0.0, 5.0, 10.0, 15.0, 22.5, 30.0),
    kind: str = "mapped",
    count: int = 6,
    seed: int = 0,
) -> Iterator[Neighbours]:
    """How far from w_u [1, rows, w_dim] the person hides, along `count` directions, the same at every distance.

    kind: "mapped" goes toward other people's codes, as the adjacency loss does; "random" in any direction of W+.

    Raises:
        ValueError: another kind.

    >>> for point in neighbour_curve(student, generator, w_u, judge, distances=(0.0, 5.0)):
    ...     print(f"{point.distance:g}: G_s {point.generator:.1f}, G_u {point.student:.1f}")
    0: G_s 1.0, G_u -0.5
    5: G_s 0.3, G_u -0.5
    """
    rng = attack_rng(seed)
    if kind == "mapped":
        toward = generator.sample(count, rng)
    elif kind == "random":
        toward = w_u + torch.randn(count, generator.rows, generator.w_dim, generator=rng).to(w_u)
    else:
        raise ValueError(f"kind is 'mapped' or 'random', not {kind!r}")
    person = render(generator, w_u).expand(count, -1, -1, -1)
    for distance in distances:
        ws = w_u + adjacency_offsets(w_u, toward, torch.full((count,), distance).to(w_u))
        after, before = (identity_similarity(judge, render(g, ws), person)[0] for g in (student, generator))
        yield Neighbours(distance, after.mean().item(), after.max().item(), before.mean().item())
