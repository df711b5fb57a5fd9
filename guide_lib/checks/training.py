"""Checks of notebooks 05 and 06: the losses, the loop, the learning rate."""

from __future__ import annotations

import torch
from torch import Tensor

from guide_lib.checks.base import NOTHING, Answer, as_tensors, compare, fresh_rng
from guide_lib.losses import adjacency_offsets
from guide_lib.targets import scale_to_rows
from guide_lib.unlearning import UnlearningSettings


def check_distance(answer: Answer) -> str:
    """`answer(features_a, features_b [N, C, h, w], lpips [N], cosine [N])` is D, one number for each pair."""
    a, b = torch.randn(2, 3, 4, 5, 5, generator=fresh_rng())
    lpips, cosine = torch.rand(2, 3, generator=fresh_rng())
    squares = (a - b).square()
    expected = 0.01 * squares.mean((1, 2, 3)) + lpips + 0.1 * (1 - cosine)
    mistakes = {
        "the mean runs over all pairs; each pair has its own": 0.01 * squares.mean() + lpips + 0.1 * (1 - cosine),
        "the first term is a sum; take the mean": 0.01 * squares.sum((1, 2, 3)) + lpips + 0.1 * (1 - cosine),
        "the identity term rewards strangers; it is 1 - cosine": expected + 0.1 * (2 * cosine - 1),
        "the weights are missing": squares.mean((1, 2, 3)) + lpips + 1 - cosine,
        "the features are missing": lpips + 0.1 * (1 - cosine),
    }
    return compare(answer(a, b, lpips, cosine), expected, mistakes)


def check_offsets(answer: Answer) -> str:
    """`answer(w_u [1, rows, w_dim], neighbours [N, rows, w_dim], alpha [N])`: steps toward the neighbours."""
    w_u, others = (
        torch.randn(1, 5, 4, generator=fresh_rng()),
        torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1)),
    )
    alpha = torch.tensor([2.0, 5.0, 9.0])
    expected = adjacency_offsets(w_u, others, alpha)
    way, scale = others - w_u, scale_to_rows(1.0, 5)
    rows = way.norm(dim=2, keepdim=True)
    mistakes = {
        "they lead away from the neighbours": -expected,
        "alpha is in the scale of 14 rows; carry it over with scale_to_rows": expected / scale,
        "this is the neighbour's place; the offset starts at 0, without w_u": w_u + expected,
        "each neighbour has one norm, over all of its rows": scale * alpha[:, None, None] * way / rows,
        "all neighbours are divided by one norm; each has its own": scale * alpha[:, None, None] * way / way.norm(),
        "the way is not divided by its norm": scale * alpha[:, None, None] * way,
    }
    return compare(answer(w_u, others, alpha), expected, mistakes)


def check_losses(local: Answer, adjacency: Answer, preserve: Answer) -> str:
    """The three losses, on stand-ins: `student(ws)`, `teacher(ws)` draw; `distance(a, b)`, `lpips(a, b)` give [N].

    local(student, teacher, w_u, w_t, distance), adjacency(student, teacher, w_u, w_t, delta, distance),
    preserve(student, teacher, ws, lpips).
    """
    w_u, w_t = torch.randn(2, 1, 5, 4, generator=fresh_rng())
    delta, ws = torch.randn(2, 3, 5, 4, generator=fresh_rng())

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - 2 * b).square().mean((1, 2))  # lopsided, so that an exchange of the two shows

    def pairs(offset: Tensor, by: tuple[Answer, Answer] = (torch.sin, torch.exp)) -> Tensor:
        return distance(by[0](w_u + offset), by[1](w_t + offset))

    swapped = (torch.exp, torch.sin)
    near = pairs(delta)
    tasks = {
        "local": (
            local(torch.sin, torch.exp, w_u, w_t, distance),
            pairs(0 * w_u).sum(),
            {"student and teacher are exchanged": pairs(0 * w_u, swapped).sum()},
        ),
        "adjacency": (
            adjacency(torch.sin, torch.exp, w_u, w_t, delta, distance),
            near.sum(),
            {
                "it is a sum over the neighbours, not a mean": near.mean(),
                "student and teacher are exchanged": pairs(delta, swapped).sum(),
                "the same offset belongs to the target, too": distance(torch.sin(w_u + delta), torch.exp(w_t)).sum(),
            },
        ),
        "global": (
            preserve(torch.sin, torch.exp, ws, distance),
            distance(torch.sin(ws), torch.exp(ws)).sum(),
            {
                "it is a sum over the people, not a mean": distance(torch.sin(ws), torch.exp(ws)).mean(),
                "student and teacher are exchanged": distance(torch.exp(ws), torch.sin(ws)).sum(),
            },
        ),
    }
    for name, (got, expected, mistakes) in tasks.items():
        if (verdict := compare(got, expected, mistakes)) != "Right.":
            return f"{name}: {verdict}"
    return "Right."


def check_rate(answer: Answer) -> str:
    """`answer(index, steps, walk, rate)` is the learning rate of step `index`, counted from 1."""
    s = UnlearningSettings(steps=20, learning_rate=2.0, walk=0.6, decay=True)
    got = [answer(i, s.steps, s.walk, s.learning_rate) for i in range(1, 21)]
    if any(value is None or value is ... for value in got):
        return NOTHING
    no_walk, late = UnlearningSettings(steps=20, learning_rate=2.0, decay=True), range(2, 22)
    mistakes = {
        "the rate falls from the first step on; it must wait for the target": [no_walk.rate(i) for i in range(1, 21)],
        "the rate never falls": [2.0] * 20,
        "steps count from 1, and the first step after the arrival has the full rate still": [s.rate(i) for i in late],
    }
    return compare(
        torch.tensor([float(v) for v in got]), torch.tensor([s.rate(i) for i in range(1, 21)]), as_tensors(mistakes)
    )


def check_loop(answer: Answer) -> str:
    """`answer(parameter, loss_of, steps, rate)` trains with Adam and yields the loss before each step."""
    start = torch.tensor([3.0, -2.0, 1.0])

    def path(steps: int, clear: bool = True) -> list[float]:
        x = start.clone().requires_grad_()
        optimizer, losses = torch.optim.Adam([x], lr=0.1), []
        for _ in range(steps):
            if clear:
                optimizer.zero_grad()
            loss = x.square().sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    x = start.clone().requires_grad_()
    got = answer(x, lambda: x.square().sum(), 12, 0.1)
    if got is None or got is ...:
        return NOTHING
    losses = [float(value) for value in got]
    if len(losses) != 12:
        return f"Not yet: it yields {len(losses)} losses in 12 steps."
    mistakes = {
        "the gradients of earlier steps are still there; clear them first": path(12, clear=False),
        "nothing moves; after loss.backward() comes optimizer.step()": [start.square().sum().item()] * 12,
        "the loss is the one after the step; yield the one that the step started from": path(13)[1:],
    }
    return compare(torch.tensor(losses), torch.tensor(path(12)), as_tensors(mistakes))
