"""Checks of notebooks 05 and 06: the losses, the loop, the learning rate."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from guide_lib.checks.base import NOTHING, RIGHT, Answer, compare, compare_numbers, first_fault, fresh_rng, is_nothing
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
        "the first term is squared; absolute values are not": 0.01 * squares.sqrt().mean((1, 2, 3))
        + lpips
        + 0.1 * (1 - cosine),
        "the identity term rewards strangers; it is 1 - cosine": expected + 0.1 * (2 * cosine - 1),
        "the weights are missing": squares.mean((1, 2, 3)) + lpips + 1 - cosine,
        "the features are missing": lpips + 0.1 * (1 - cosine),
    }
    given = a.clone(), b.clone(), lpips.clone(), cosine.clone()
    return compare(answer(*given), expected, mistakes, {"features_a": (given[0], a), "lpips": (given[2], lpips)})


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
    given = w_u.clone(), others.clone()
    return compare(
        answer(*given, alpha), expected, mistakes, {"w_u": (given[0], w_u), "neighbours": (given[1], others)}
    )


def check_losses(local: Answer, adjacency: Answer, preserve: Answer) -> str:
    """The three losses, on stand-ins: `student(ws)`, `teacher(ws)` draw; `distance(a, b)`, `lpips(a, b)` give [N].

    local(student, teacher, w_u, w_t, distance), adjacency(student, teacher, w_u, w_t, delta, distance),
    preserve(student, teacher, ws, lpips). Each must have a gradient with respect to the student.
    """
    w_u, w_t = torch.randn(2, 1, 5, 4, generator=fresh_rng())
    delta, ws = torch.randn(2, 3, 5, 4, generator=fresh_rng())
    weight, teacher = torch.ones((), requires_grad=True), torch.exp

    def student(latents: Tensor) -> Tensor:
        return torch.sin(weight * latents)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - 2 * b).square().mean((1, 2))  # lopsided, so that an exchange of the two shows

    def pairs(offset: Tensor, by: tuple[Answer, Answer] = (student, teacher)) -> Tensor:
        return distance(by[0](w_u + offset), by[1](w_t + offset))

    swapped = (teacher, student)
    near = pairs(delta)
    tasks = {
        "local": (
            local(student, teacher, w_u, w_t, distance),
            pairs(0 * w_u).sum(),
            {"student and teacher are exchanged": pairs(0 * w_u, swapped).sum()},
        ),
        "adjacency": (
            adjacency(student, teacher, w_u, w_t, delta, distance),
            near.sum(),
            {
                "it is a sum over the neighbours, not a mean": near.mean(),
                "student and teacher are exchanged": pairs(delta, swapped).sum(),
                "the same offset belongs to the target, too": distance(student(w_u + delta), teacher(w_t)).sum(),
                "the offset belongs to the person, too": distance(student(w_u), teacher(w_t + delta)).sum(),
                "that compares at the offsets alone; add them to w_u and w_t": distance(
                    student(delta), teacher(delta)
                ).sum(),
            },
        ),
        "global": (
            preserve(student, teacher, ws, distance),
            distance(student(ws), teacher(ws)).sum(),
            {
                "it is a sum over the people, not a mean": distance(student(ws), teacher(ws)).mean(),
                "student and teacher are exchanged": distance(teacher(ws), student(ws)).sum(),
            },
        ),
    }
    for name, (got, expected, mistakes) in tasks.items():
        verdict = compare(got, expected, mistakes)
        if verdict == RIGHT and not (isinstance(got, Tensor) and got.requires_grad):
            verdict = "Not yet: no gradient reaches the student; leave out no_grad, detach and item."
        if verdict != RIGHT:
            return f"{name}: {verdict}"
    return RIGHT


def check_rate(answer: Answer) -> str:
    """`answer(index, steps, walk, rate)` is the learning rate of step `index`, counted from 1."""

    def verdicts() -> Iterator[str]:
        for steps, top, walk in ((20, 2.0, 0.6), (15, 5.0, 0.0)):
            s = UnlearningSettings(steps=steps, learning_rate=top, walk=walk, decay=True)
            hasty = UnlearningSettings(steps=steps, learning_rate=top, decay=True)
            indices = range(1, steps + 1)
            mistakes = {
                "the rate falls from the first step on; it must wait for the target": [hasty.rate(i) for i in indices],
                "the rate never falls": [top] * steps,
                "steps count from 1, and the first step after the arrival has the full rate still": [
                    s.rate(i + 1) for i in indices
                ],
                "`rate` made no difference": [s.rate(i) / top for i in indices],
            }
            got = [answer(i, steps, walk, top) for i in indices]
            yield compare_numbers(got, [s.rate(i) for i in indices], mistakes)

    return first_fault(verdicts())


def check_loop(answer: Answer) -> str:
    """`answer(parameter, loss_of, steps, rate)` trains with Adam and yields the loss before each step, after it.

    >>> check_loop(lambda parameter, loss_of, steps, rate: [0.0] * steps)
    'Not yet: a list came back; `yield` each loss, so that somebody can look in between.'
    """
    start, steps, rate = torch.tensor([3.0, -2.0, 1.0]), 12, 0.1

    def path(count: int, clear: bool = True, keep: bool = True) -> tuple[list[float], Tensor]:
        """The losses of these steps and where they end. clear: the gradients of earlier ones. keep: Adam's memory."""
        x, losses = start.clone().requires_grad_(), []
        optimizer = torch.optim.Adam([x], lr=rate)
        for _ in range(count):
            optimizer = optimizer if keep else torch.optim.Adam([x], lr=rate)
            if clear:
                optimizer.zero_grad()
            loss = x.square().sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, x.detach()

    x = start.clone().requires_grad_()
    got = answer(x, lambda: x.square().sum(), steps, rate)
    if is_nothing(got):
        return NOTHING
    if not isinstance(got, Iterator):
        return f"Not yet: a {type(got).__name__} came back; `yield` each loss, so that somebody can look in between."
    losses = [next(got, None)]
    after_one = x.detach().clone()
    losses = [value for value in (*losses, *got) if value is not None]
    if any(isinstance(value, Tensor) and value.requires_grad for value in losses):
        return "Not yet: a loss that is handed out still holds its graph in memory; hand out loss.item()."
    if len(losses) != steps:
        return f"Not yet: it yields {len(losses)} losses in {steps} steps."
    mistakes = {
        "the gradients of earlier steps are still there; clear them first": path(steps, clear=False)[0],
        "nothing moves; after loss.backward() comes optimizer.step()": [start.square().sum().item()] * steps,
        "the loss is the one after the step; yield the one that the step started from": path(steps + 1)[0][1:],
        "Adam is made anew in every step and forgets; make it once, before the loop": path(steps, keep=False)[0],
    }
    verdict = compare_numbers(losses, path(steps)[0], mistakes)
    if verdict == RIGHT and torch.equal(after_one, start):
        return "Not yet: the loss is handed out before its step; whoever stops there has lost it."
    if verdict == RIGHT and not torch.allclose(after_one, path(1)[1], atol=1e-5):
        return "Not yet: all steps are taken before the first loss is handed out; `yield` inside the loop."
    if verdict == RIGHT and not torch.allclose(x.detach(), path(steps)[1], atol=1e-5):
        return "Not yet: the losses are right, and the parameter is not where they lead; move `parameter` itself."
    return verdict
