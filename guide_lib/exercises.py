"""Checks of the exercises of notebooks 01, 03, 04, 05, 06 and 10, with `guide_lib.checks.compare`.

    verdict = check_truncate(my_truncate)                    # "Right.", or a sentence that says what is wrong

Each calls the reader's function on random inputs. Errors inside it are left to Python, which points at the line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from guide_lib.checks import NOTHING, compare
from guide_lib.directions import mix
from guide_lib.losses import adjacency_offsets
from guide_lib.metrics import accept_rates
from guide_lib.perception.identity import identity_cosine
from guide_lib.targets import distance_from_mean, scale_to_rows, ufo_target
from guide_lib.unlearning import UnlearningSettings

Answer = Callable[..., Any]


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def check_truncate(answer: Answer) -> str:
    """`answer(ws [N, rows, w_dim], w_avg [1, rows, w_dim], t)` pulls ws toward w_avg; t = 1 leaves them alone."""
    ws, w_avg = torch.randn(2, 5, 4, generator=_rng()), torch.linspace(-1, 1, 4).expand(1, 5, 4)
    mistakes = {
        "t works the wrong way round; at t = 1 the person must stay": torch.lerp(ws, w_avg.expand_as(ws), 0.3),
        "the codes shrink toward zero; the middle of W is w_avg": 0.3 * ws,
        "w_avg is missing; only the difference to it is multiplied by t": 0.3 * (ws - w_avg),
        "only the difference to w_avg is multiplied by t, not all of ws": w_avg + 0.3 * ws,
    }
    return compare(answer(ws.clone(), w_avg, 0.3), torch.lerp(w_avg.expand_as(ws), ws, 0.3), mistakes)


def check_mix(answer: Answer) -> str:
    """`answer(ws_a, ws_b [N, rows, w_dim], rows)` is a with these rows of b; a and b are left as they are."""
    a, b = torch.randn(2, 2, 5, 4, generator=_rng())
    given, rows = (a.clone(), b.clone()), [1, 3]
    got = answer(*given, rows)
    mistakes = {
        "nothing came from b": a,
        "everything came from b": b,
        "the rows came from a and the rest from b": mix(b, a, rows),
        "all rows are averages; take whole rows": (a + b) / 2,
    }
    verdict = compare(got, mix(a, b, rows), mistakes)
    if verdict == "Right." and not (torch.equal(given[0], a) and torch.equal(given[1], b)):
        return "Not yet: the answer is right, but a code that was handed in changed; work on a clone."
    return verdict


def check_cosines(answer: Answer) -> str:
    """`answer(a [N, D], b [M, D])` is the cosine of every a with every b, [N, M]."""
    a, b = 3 * torch.randn(3, 6, generator=_rng()), torch.randn(4, 6, generator=_rng())
    expected = torch.stack([identity_cosine(a, row.expand_as(a)) for row in b], dim=1)
    mistakes = {
        "the vectors have their lengths still; divide each by its norm": a @ b.T,
        "only one of the two is divided by its norm": a @ torch.nn.functional.normalize(b, dim=1).T,
        "only one of the two is divided by its norm, the first": torch.nn.functional.normalize(a, dim=1) @ b.T,
        "the whole table is divided by one norm; each vector has its own": a @ b.T / (a.norm() * b.norm()),
    }
    return compare(answer(a, b), expected, mistakes)


def check_rates(answer: Answer) -> str:
    """`answer(same, different, threshold)` is the two shares that are accepted, (true, false)."""
    same, different = torch.linspace(0.1, 0.9, 8), torch.linspace(-0.5, 0.5, 21)
    got = answer(same, different, 0.45)
    if got is None or got is ...:
        return NOTHING
    if not isinstance(got, tuple | list) or len(got) != 2:
        return "Not yet: two numbers are expected, the true and the false accepts."
    true, false = accept_rates(same, different, 0.45)
    mistakes = {
        "the two are swapped; the same pairs come first": (false, true),
        "these are the rejected shares; count what is at or above the threshold": (1 - true, 1 - false),
        "these are counts; divide by the number of pairs": (true * len(same), false * len(different)),
        "each share is of its own group, not of all pairs": (true * 8 / 29, false * 21 / 29),
    }
    return compare(torch.tensor([float(x) for x in got]), torch.tensor([true, false]), _tensors(mistakes))


def check_person_distance(answer: Answer) -> str:
    """`answer(w_u, w_avg [1, rows, w_dim])` is ||w_u - w_avg|| in the paper's scale."""
    w_avg = torch.linspace(-1, 1, 4).expand(1, 5, 4)
    w_u = w_avg + torch.randn(1, 5, 4, generator=_rng())
    here, scale = (w_u - w_avg).norm(), scale_to_rows(1.0, 5)
    mistakes = {
        "it is in this generator's scale; divide by scale_to_rows(1.0, rows)": here,
        "scale_to_rows leads from the paper's scale to ours; go the other way": here * scale,
        "measure from w_avg, not from zero": w_u.norm() / scale,
        "it is the norm over the whole latent, not the mean of the rows'": (w_u - w_avg).norm(dim=2).mean() / scale,
    }
    return compare(answer(w_u, w_avg), distance_from_mean(w_u, w_avg), mistakes)


def check_target(answer: Answer) -> str:
    """`answer(w_u, w_avg [1, rows, w_dim], d)` is UFO's target."""
    w_avg = torch.linspace(-1, 1, 4).expand(1, 5, 4)
    w_u = w_avg + torch.randn(1, 5, 4, generator=_rng())
    way, d = w_u - w_avg, 30.0
    step = scale_to_rows(d, 5)
    mistakes = {
        "it lies on the person's own side of the mean face; go the other way": w_avg + step * way / way.norm(),
        "d is in the scale of 14 rows; carry it over with scale_to_rows": w_avg - d * way / way.norm(),
        "one norm belongs to the whole latent, not one to each row": w_avg - step * way / way.norm(dim=2, keepdim=True),
        "the step is not divided by its norm": w_avg - step * way,
        "start from w_avg, not from the person": w_u - step * way / way.norm(),
        "the direction is from w_avg to the person, not w_u itself": w_avg - step * w_u / w_u.norm(),
        "w_avg is missing": -step * way / way.norm(),
    }
    return compare(answer(w_u, w_avg, d), ufo_target(w_u, w_avg, d), mistakes)


def check_distance(answer: Answer) -> str:
    """`answer(features_a, features_b [N, C, h, w], lpips [N], cosine [N])` is D, one number for each pair."""
    a, b = torch.randn(2, 3, 4, 5, 5, generator=_rng())
    lpips, cosine = torch.rand(2, 3, generator=_rng())
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
        torch.randn(1, 5, 4, generator=_rng()),
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
    w_u, w_t = torch.randn(2, 1, 5, 4, generator=_rng())
    delta, ws = torch.randn(2, 3, 5, 4, generator=_rng())

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
        torch.tensor([float(v) for v in got]), torch.tensor([s.rate(i) for i in range(1, 21)]), _tensors(mistakes)
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
    return compare(torch.tensor(losses), torch.tensor(path(12)), _tensors(mistakes))


def _tensors(mistakes: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.tensor(values) for name, values in mistakes.items()}
