"""Right answers pass, each usual mistake is named, an empty function is told so."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from guide_lib import checks as ex
from guide_lib.checks.base import NOTHING
from guide_lib.targets import scale_to_rows


def moved(start, way, length):
    return start + length * way / math.sqrt((way**2).sum())


def step(w_u, w_avg, d):
    return scale_to_rows(d, w_u.shape[1]), w_u - w_avg


def rows_from(a, b, rows):
    return torch.stack([b[:, i] if i in rows else a[:, i] for i in range(a.shape[1])], dim=1)


def d_of(fa, fb, lpips, cosine, weights=(0.01, 1.0, 0.1)):
    mean = torch.stack([((x - y) ** 2).sum() / x.numel() for x, y in zip(fa, fb, strict=True)])
    return weights[0] * mean + weights[1] * lpips + weights[2] * (1 - cosine)


def offsets(w_u, others, alpha):
    return torch.cat(
        [moved(0 * w_u, o[None] - w_u, a * scale_to_rows(1, 5)) for o, a in zip(others, alpha, strict=True)]
    )


def local(student, teacher, w_u, w_t, distance):
    return distance(student(w_u), teacher(w_t)).sum()


def adjacency(student, teacher, w_u, w_t, delta, distance):
    return sum(local(student, teacher, w_u + one, w_t + one, distance) for one in delta[:, None])


def preserve(student, teacher, ws, lpips):
    return lpips(student(ws), teacher(ws)).sum()


def rate(i, steps, walk, top):
    return (
        top
        if i - 1 <= walk * steps
        else top * math.cos(math.pi / 2 * (i - 1 - walk * steps) / (steps - walk * steps)) ** 2
    )


def loop(parameter, loss_of, steps, rate, clear=True, move=True):
    optimizer = torch.optim.Adam([parameter], lr=rate)
    for _ in range(steps):
        if clear:
            parameter.grad = None
        loss = loss_of()
        loss.backward()
        if move:
            optimizer.step()
        yield loss.item()


def mmd(a, b, diagonal=False, across=2):
    """Squared MMD by loops; with `diagonal` every feature meets itself, too."""

    def mean(x, y, same):
        values = [
            ((p @ q) / x.shape[1] + 1) ** 3 for i, p in enumerate(x) for j, q in enumerate(y) if not same or i != j
        ]
        return torch.stack(values).mean()

    return mean(a, a, not diagonal) + mean(b, b, not diagonal) - across * mean(a, b, False)


def first_accepted(curve, threshold):
    return next((steps for steps, cosine in curve if cosine >= threshold), None)


def reader(v, moment):
    """By Lagrange's conditions as one system: S s = lambda v and v^T s = 1."""
    size = len(v)
    system, right = torch.zeros(size + 1, size + 1).to(v), torch.zeros(size + 1).to(v)
    system[:size, :size], system[:size, size], system[size, :size], right[size] = moment, -v, v, 1
    return torch.linalg.solve(system, right)[:size]


def layer(weight, bias, P, mean):
    """Read off what the layer gives at 0 and at the unit vectors."""
    at = [weight @ (mean + P @ (w - mean)) + bias for w in (torch.zeros_like(mean), *torch.eye(len(mean)))]
    return torch.stack([value - at[0] for value in at[1:]], dim=1), at[0]


RIGHT = {
    ex.check_truncate: lambda ws, w_avg, t: t * ws + (1 - t) * w_avg,
    ex.check_mix: rows_from,
    ex.check_person_distance: lambda u, a: math.sqrt(14 / 5) * (u - a).square().sum().sqrt(),
    ex.check_target: lambda u, a, d: moved(a, a - u, scale_to_rows(d, 5)).expand_as(u),
    ex.check_cosines: lambda a, b: F.cosine_similarity(a[:, None], b[None], dim=2),
    ex.check_rates: lambda s, d, t: [sum(x >= t for x in group.tolist()) / len(group) for group in (s, d)],
    ex.check_distance: d_of,
    ex.check_offsets: offsets,
    ex.check_rate: rate,
    ex.check_loop: loop,
    ex.check_partial_target: lambda u, a, rows: rows_from(u, moved(a, a - u, scale_to_rows(30, 5)).expand_as(u), rows),
    ex.check_forgetting: lambda p, others: min(others.tolist()) - p.item(),
    ex.check_kernel_distance: mmd,
    ex.check_cost: first_accepted,
    ex.check_rank: lambda scores, index: sum(s >= scores[index] for k, s in enumerate(scores) if k != index),
    ex.check_reader: reader,
    ex.check_layer: layer,
    ex.check_summary: lambda v: (v.mean(), 1.96 * math.sqrt(((v - v.mean()) ** 2).sum() / 8) / 3),
}

WRONG = [
    (ex.check_truncate, "wrong way round", lambda ws, a, t: ws + t * (a - ws)),
    (ex.check_truncate, "toward zero", lambda ws, a, t: t * ws),
    (ex.check_truncate, "w_avg is missing", lambda ws, a, t: t * (ws - a)),
    (ex.check_mix, "nothing came from b", lambda a, b, rows: a.clone()),
    (ex.check_mix, "the rest from b", lambda a, b, rows: rows_from(b, a, rows)),
    (ex.check_mix, "handed in changed", lambda a, b, rows: a.copy_(rows_from(a, b, rows))),
    (ex.check_person_distance, "this generator's scale", lambda u, a: (u - a).norm()),
    (ex.check_person_distance, "not from zero", lambda u, a: u.norm() / scale_to_rows(1, 5)),
    (ex.check_target, "own side", lambda u, a, d: moved(a, u - a, scale_to_rows(d, 5))),
    (ex.check_target, "scale of 14 rows", lambda u, a, d: moved(a, a - u, d)),
    (ex.check_target, "not divided by its norm", lambda u, a, d: a - scale_to_rows(d, 5) * (u - a)),
    (ex.check_target, "w_avg is missing", lambda u, a, d: moved(0 * a, a - u, scale_to_rows(d, 5))),
    (ex.check_cosines, "lengths still", lambda a, b: a @ b.T),
    (ex.check_cosines, "shape", lambda a, b: F.cosine_similarity(a, b[:3])),
    (ex.check_rates, "swapped", lambda s, d, t: ((d >= t).float().mean(), (s >= t).float().mean())),
    (ex.check_rates, "rejected", lambda s, d, t: ((s < t).float().mean(), (d < t).float().mean())),
    (ex.check_rates, "exactly at", lambda s, d, t: ((s > t).float().mean(), (d > t).float().mean())),
    (ex.check_rates, "two numbers", lambda s, d, t: 0.5),
    (ex.check_distance, "each pair has its own", lambda a, b, p, c: 0.01 * F.mse_loss(a, b) + p + 0.1 * (1 - c)),
    (ex.check_distance, "rewards strangers", lambda a, b, p, c: d_of(a, b, p, 1 - c)),
    (ex.check_distance, "weights are missing", lambda a, b, p, c: d_of(a, b, p, c, (1, 1, 1))),
    (ex.check_offsets, "away from", lambda u, o, a: offsets(u, o, -a)),
    (ex.check_offsets, "scale of 14 rows", lambda u, o, a: offsets(u, o, a / scale_to_rows(1, 5))),
    (ex.check_offsets, "without w_u", lambda u, o, a: u + offsets(u, o, a)),
    (ex.check_rate, "must wait", lambda i, n, walk, top: rate(i, n, 0.0, top)),
    (ex.check_rate, "never falls", lambda i, n, walk, top: top),
    (ex.check_rate, "count from 1", lambda i, n, walk, top: rate(i + 1, n, walk, top)),
    (ex.check_loop, "clear them first", lambda *task: loop(*task, clear=False)),
    (ex.check_loop, "nothing moves", lambda *task: loop(*task, move=False)),
    (ex.check_loop, "yields 11", lambda p, f, n, r: loop(p, f, n - 1, r)),
    (ex.check_partial_target, "all rows moved", lambda u, a, rows: RIGHT[ex.check_partial_target](u, a, range(5))),
    (ex.check_forgetting, "mean of the others", lambda p, others: others.mean() - p),
    (ex.check_forgetting, "sign is turned", lambda p, others: p - others.min()),
    (ex.check_kernel_distance, "diagonals are in it", lambda a, b: mmd(a, b, diagonal=True)),
    (ex.check_kernel_distance, "count twice", lambda a, b: mmd(a, b, across=1)),
    (ex.check_kernel_distance, "not divided by the number", lambda a, b: mmd(math.sqrt(5) * a, math.sqrt(5) * b)),
    (ex.check_cost, "None is the answer", lambda c, t: first_accepted(c, t) or 20),
    (ex.check_cost, "place in the list", lambda c, t: next((i for i, (_, x) in enumerate(c) if x >= t), None)),
    (ex.check_cost, "equals the threshold", lambda c, t: next((n for n, x in c if x > t), None)),
    (ex.check_cost, "not at the last", lambda c, t: max((n for n, x in c if x >= t), default=None)),
    (ex.check_cost, "a float came back", lambda c, t: 10.0),
    (ex.check_rank, "candidate itself", lambda scores, i: (scores >= scores[i]).sum()),
    (ex.check_rank, "tie counts", lambda scores, i: (scores > scores[i]).sum()),
    (ex.check_rank, "less suspect", lambda scores, i: (scores < scores[i]).sum()),
    (ex.check_reader, "sign is turned", lambda v, s: -reader(v, s)),
    (ex.check_reader, "reads no 1 in v", lambda v, s: s.inverse() @ v),
    (ex.check_reader, "not by its root", lambda v, s: s.inverse() @ v / (v @ s.inverse() @ v).sqrt()),
    (ex.check_reader, "not by the length", lambda v, s: F.normalize(s.inverse() @ v, dim=0)),
    (ex.check_reader, "here it is v", lambda v, s: s.inverse() @ v / v.square().sum()),
    (ex.check_reader, "its inverse does", lambda v, s: reader(v, s.inverse())),
    (ex.check_reader, "population took no part", lambda v, s: reader(v, torch.eye(len(v)).to(v))),
    (ex.check_reader, "v itself", lambda v, s: v),
    (ex.check_layer, "two tensors", lambda a, b, P, m: a @ P),
    (ex.check_layer, "weight: .*stayed", lambda a, b, P, m: (a, layer(a, b, P, m)[1])),
    (ex.check_layer, "transposed", lambda a, b, P, m: layer(a, b, P.T, m)),
    (ex.check_layer, "bias: .*stayed", lambda a, b, P, m: (a @ P, b)),
    (ex.check_layer, "bias: .*sign", lambda a, b, P, m: (a @ P, 2 * b - layer(a, b, P, m)[1])),
    (ex.check_layer, "what P leaves", lambda a, b, P, m: (a @ P, b + a @ P @ m)),
    (ex.check_layer, "the old weight", lambda a, b, P, m: (a @ P, b + a @ P @ m - a @ P @ P @ m)),
    (ex.check_layer, "old bias is missing", lambda a, b, P, m: (a @ P, a @ m - a @ P @ m)),
    (ex.check_summary, "whole width", lambda v: (v.mean(), 2 * 1.96 * v.std() / 3)),
    (ex.check_summary, "divide by the root of n", lambda v: (v.mean(), 1.96 * v.std())),
]


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_right_answers_are_right(check):
    assert check(RIGHT[check]) == "Right."


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_an_empty_function_is_told_so(check):
    assert check(lambda *_: None) == NOTHING


@pytest.mark.parametrize(("check", "sentence", "answer"), WRONG, ids=[f"{c.__name__}: {s}" for c, s, _ in WRONG])
def test_each_mistake_is_named(check, sentence, answer):
    verdict = check(answer)
    assert re.match(r"(\w+: )?Not yet: ", verdict) and re.search(sentence, verdict), verdict


def test_the_three_losses_are_told_apart():
    assert ex.check_losses(local, adjacency, preserve) == "Right."
    mean = ex.check_losses(local, lambda s, t, u, v, e, d: d(s(u + e), t(v + e)).mean(), preserve)
    assert mean.startswith("adjacency: ") and "not a mean" in mean
    source_only = ex.check_losses(local, lambda s, t, u, v, e, d: d(s(u + e), t(v)).sum(), preserve)
    assert "same offset" in source_only
    swapped = ex.check_losses(local, adjacency, lambda s, t, ws, p: preserve(t, s, ws, p))
    assert swapped.startswith("global: ") and "exchanged" in swapped


def test_every_check_is_tested_here():
    assert {check.__name__ for check in RIGHT} | {"check_losses", "check_move", "check_inversion_loss"} == set(
        ex.__all__
    )  # the last two: test_checks
