"""Is the person gone from every side? ID over views, ID_others, acceptance by the judge, identity collapse.

>>> directions = {name: torch.randn(6, generator=rng) / 10 for name in ("yaw", "pitch", "smile")}
>>> result = measure_forgetting(student, generator, w_u, directions, judge)
>>> f"ID {result.id:.1f}, ID_others {result.id_others:.1f}", result.accepted < 1
('ID 0.4, ID_others 0.3', True)

A generator in three dimensions has cameras: its views are `judging_views()`. A flat one has none: its views are moves
along the yaw direction in W (`guide_lib.generators.directions`), and other pictures of the same person are moves along
pitch and smile. The judge's verdicts on such moves are part of the directions' evidence (data/results/directions.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.generators import Generator
from guide_lib.generators.directions import move
from guide_lib.metrics.identity import identity_similarity, render
from guide_lib.metrics.thresholds import ACCEPTANCE
from guide_lib.perception.identity import Embedder

YAWS = tuple(range(-15, 16, 3))  # degrees, the 11 views of the paper's ID
# Other pictures of the same person: degrees of yaw and pitch, standard deviations of smile.
OTHER_PICTURES = (
    {"pitch": -10.0},
    {"pitch": 10.0},
    {"smile": -1.5},
    {"smile": 1.5},
    {"yaw": -8.0, "smile": 1.0},
    {"yaw": 8.0, "pitch": 6.0},
)


@dataclass(frozen=True)
class Forgetting:
    """Judge cosines between G_s and G_u, and the share of pictures in which the judge still accepts the person.

    id, accepted: over the 11 views of w_u. id_others, accepted_others: over other pictures of the person; None if
    there are none.
    undetected: in how many pictures no face was found.
    """

    id: float
    id_others: float | None
    accepted: float
    accepted_others: float | None
    undetected: int


def yaw_views(w: Tensor, directions: Mapping[str, Tensor]) -> Tensor:
    """One code [1, rows, w_dim] turned to each of `YAWS`: [11, rows, w_dim].

    >>> views = yaw_views(w_u, {"yaw": torch.ones(6)})
    >>> (views - w_u)[:, 0, 0]                            # degrees, with a direction of ones
    tensor([-15., -12.,  -9.,  -6.,  -3.,   0.,   3.,   6.,   9.,  12.,  15.])
    """
    return move(w.expand(len(YAWS), -1, -1), directions["yaw"], torch.tensor(YAWS, dtype=torch.float32))


def other_pictures(w: Tensor, directions: Mapping[str, Tensor]) -> Tensor:
    """Codes of other pictures of the person of `w` [1, rows, w_dim]: one for each of `OTHER_PICTURES`.

    >>> list(other_pictures(w_u, {"yaw": torch.ones(6), "pitch": torch.ones(6), "smile": torch.ones(6)}).shape)
    [6, 3, 6]
    """
    moved = []
    for amounts in OTHER_PICTURES:
        picture = w
        for name, amount in amounts.items():
            picture = move(picture, directions[name], amount)
        moved.append(picture)
    return torch.cat(moved)


def measure_forgetting(
    student: Generator,
    generator: Generator,
    w_u: Tensor,
    directions: Mapping[str, Tensor] | None,
    judge: Embedder,
    others: Tensor | None = None,
    threshold: float = ACCEPTANCE,
) -> Forgetting:
    """Compare G_u (`student`) with G_s (`generator`) at the views of w_u [1, rows, w_dim] and at other pictures.

    directions: name -> [w_dim], for a generator without cameras; None looks through the generator's cameras.
    others: [N, rows, w_dim], the inversions of other photos of the person; left out, moves of w_u stand for them.

    >>> result = measure_forgetting(generator, generator, w_u, None, judge)   # nobody was erased
    >>> round(result.id, 3), result.accepted, result.id_others
    (1.0, 1.0, None)
    """
    if directions is not None:
        w_u, others = yaw_views(w_u, directions), other_pictures(w_u, directions) if others is None else others
    at_views = _cosines(student, generator, w_u, judge)
    elsewhere = None if others is None else _cosines(student, generator, others, judge)
    means, shares, undetected = [], [], 0
    for seen in (at_views, elsewhere):
        means.append(None if seen is None else seen[0].mean().item())
        shares.append(None if seen is None else (seen[0] >= threshold).float().mean().item())
        undetected += 0 if seen is None else seen[1]
    return Forgetting(*means, *shares, undetected)


def _cosines(student: Generator, generator: Generator, codes: Tensor, judge: Embedder) -> tuple[Tensor, int]:
    """Judge cosine of G_s and G_u for each code and camera, [codes x cameras]; and the faces that were not found."""
    before, after = (
        torch.cat([render(network, codes, view) for view in generator.judging_views()])
        for network in (generator, student)
    )
    return identity_similarity(judge, before, after)


def acceptance_threshold(impostors: Tensor, rate: float = 1e-3) -> float:
    """The smallest cosine at which at most the share `rate` of the impostor scores [N] is accepted (score >= it).

    Raises:
        ValueError: there are too few scores to see a share that small.

    >>> threshold = acceptance_threshold(torch.arange(10) / 10, rate=0.2)
    >>> (torch.arange(10) / 10 >= threshold).sum()        # 2 of 10
    tensor(2)
    >>> acceptance_threshold(torch.arange(10) / 10, rate=0.01)
    Traceback (most recent call last):
    ValueError: 10 scores cannot show a rate of 0.01; give at least 100
    """
    _check_rate(len(impostors), rate)
    kept = int(len(impostors) * rate)
    highest = impostors.sort(descending=True).values
    return torch.nextafter(highest[kept], highest.new_tensor(float("inf"))).item()


def rejection_threshold(genuine: Tensor, rate: float = 1 / 25) -> float:
    """The largest cosine at which at most the share `rate` of the genuine scores [N] is rejected (score < it).

    Raises:
        ValueError: there are too few scores to see a share that small.

    >>> threshold = rejection_threshold(torch.arange(10) / 10, rate=0.2)
    >>> (torch.arange(10) / 10 < threshold).sum()         # 2 of 10
    tensor(2)
    """
    _check_rate(len(genuine), rate)
    return genuine.sort().values[int(len(genuine) * rate)].item()


def _check_rate(scores: int, rate: float) -> None:
    if scores * rate < 1:
        raise ValueError(f"{scores} scores cannot show a rate of {rate}; give at least {round(1 / rate)}")


def impostor_cosines(embeddings: Tensor, people: Tensor | None = None) -> Tensor:
    """The cosines of all pairs of different people, [pairs]; embeddings: [N, D], unit; people: [N], who is who.

    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    >>> impostor_cosines(embeddings), impostor_cosines(embeddings, people=torch.tensor([0, 0, 1]))
    (tensor([1.000, 0.600, 0.600]), tensor([0.600, 0.600]))
    """
    people = torch.arange(len(embeddings)) if people is None else people
    first, second = torch.triu_indices(len(embeddings), len(embeddings), offset=1)
    cosines = embeddings @ embeddings.T
    different = people[first] != people[second]
    return cosines[first[different], second[different]]


def identity_collapse(embeddings: Tensor) -> float:
    """Do erased people become one face? The mean cosine between what every two of them became; [K >= 2, D], unit.

    >>> identity_collapse(torch.eye(3)), identity_collapse(torch.eye(3)[[0, 0, 0]])   # three faces; one
    (0.0, 1.0)
    """
    return impostor_cosines(embeddings).mean().item()
