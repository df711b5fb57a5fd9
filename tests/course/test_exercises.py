"""Right answers pass, each usual mistake is named, an empty function is told so."""

import math
import re

import numpy as np
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


def loss_of(p, x, c, way, anchor=lambda way: (way**2).mean()):
    """The loss of an inversion, photo by photo."""
    return torch.stack([p[i] + 0.3 * x[i] + 0.3 * (1 - c[i]) + 0.01 * anchor(way[i]) for i in range(len(c))])


def from_w(ws, at=lambda w: w.mean(0)):
    return torch.stack([torch.stack([torch.dist(row, at(w)) for row in w]).mean() for w in ws])


def slope(x, y):
    return np.polyfit(x.numpy(), y.numpy(), 1)[0]


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


def loop(parameter, loss_of, steps, rate, clear=True, move=True, keep=True):
    optimizer = torch.optim.Adam([parameter], lr=rate)
    for _ in range(steps):
        if not keep:
            optimizer = torch.optim.Adam([parameter], lr=rate)
        if clear:
            parameter.grad = None
        loss = loss_of()
        loss.backward()
        if move:
            optimizer.step()
        yield loss.item()


def hasty(parameter, loss_of, steps, rate):
    """Hands out each loss before its step."""
    optimizer = torch.optim.Adam([parameter], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        yield loss.item()
        optimizer.step()


def all_at_once(*task):
    yield from [*loop(*task)]


def on_a_copy(parameter, loss_of, steps, rate):
    """Hands out the right losses, and leaves the parameter where the first step led."""
    losses = loop(parameter, loss_of, steps, rate)
    yield next(losses)
    there = parameter.detach().clone()
    yield from [*losses]
    parameter.data = there


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


def descend(loss_of, starts, steps, rate, clear=True, keep=True, sign=1):
    """Where each start ends, one after another: Adam treats every number by itself."""
    ends = []
    for start in starts:
        code = torch.nn.Parameter(start[None].clone())
        optimizer = torch.optim.Adam([code], lr=rate)
        for _ in range(steps):
            if not keep:
                optimizer = torch.optim.Adam([code], lr=rate)
            if clear:
                code.grad = None
            (sign * loss_of(code)[0]).backward()
            optimizer.step()
        ends.append(code.data[0])
    return torch.stack(ends)


def best(loss_of, found):
    return min(found, key=lambda code: loss_of(code[None]).item())


def searched(loss_of, starts, steps, rate, **how):
    return best(loss_of, descend(loss_of, starts, steps, rate, **how))


def stale(loss_of, starts, steps, rate):
    losses = loss_of(descend(loss_of, starts, steps - 1, rate))
    return descend(loss_of, starts, steps, rate)[losses.argmin()]


def passed(loss_of, starts, steps, rate, later=0):
    """The best code of all steps but the last; later: how many steps after its loss it is taken."""
    looks = [(loss_of(descend(loss_of, starts, n, rate)), n) for n in range(steps)]
    losses, n = min(looks, key=lambda look: look[0].min().item())
    return descend(loss_of, starts, n + later, rate)[losses.argmin()]


def in_place(loss_of, starts, steps, rate):
    starts.copy_(descend(loss_of, starts, steps, rate))
    return best(loss_of, starts).clone()


def gaps(person, untouched, strangers):
    luck = [max(row) for row in strangers.tolist()]
    return max(untouched.tolist()) - max(person.tolist()), max(person.tolist()) - sum(luck) / len(luck)


def partial(u, a, rows, d):
    return rows_from(u, moved(a, a - u, scale_to_rows(d, 5)).expand_as(u), rows)


def summary(v, middle=torch.mean, factor=1.96):
    return middle(v), factor * math.sqrt(((v - v.mean()) ** 2).sum() / (len(v) - 1) / len(v))


def before(curve, steps):
    """The look before the one at these steps; the first, if there is none."""
    return max((n for n, _ in curve if n < steps), default=0)


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
    ex.check_partial_target: partial,
    ex.check_forgetting: lambda p, others: min(others.tolist()) - p.item(),
    ex.check_kernel_distance: mmd,
    ex.check_cost: first_accepted,
    ex.check_rank: lambda scores, index: sum(s >= scores[index] for k, s in enumerate(scores) if k != index),
    ex.check_reader: reader,
    ex.check_layer: layer,
    ex.check_summary: summary,
    ex.check_inversion_loss: loss_of,
    ex.check_distance_from_w: from_w,
    ex.check_gain: slope,
    ex.check_search: searched,
    ex.check_gaps: gaps,
}

# As right as those above, in another type.
RIGHT_TOO = [
    (ex.check_person_distance, lambda u, a: math.sqrt(14 / 5) * math.dist(u.flatten().tolist(), a.flatten().tolist())),
    (ex.check_person_distance, lambda u, a: (u - a).norm(dim=(1, 2)) / scale_to_rows(1, 5)),
    (ex.check_kernel_distance, lambda a, b: mmd(a, b).item()),
    (ex.check_cost, lambda c, t: None if (n := first_accepted(c, t)) is None else torch.tensor(n)),
    (ex.check_rank, lambda scores, i: (scores >= scores[i]).sum() - 1),
    (ex.check_rates, lambda s, d, t: torch.stack([(s >= t).float().mean(), (d >= t).float().mean()])),
    (ex.check_summary, lambda v: [value.item() for value in map(torch.as_tensor, summary(v))]),
    (ex.check_forgetting, lambda p, others: torch.min(others - p)),
    (ex.check_rate, lambda *task: torch.tensor(rate(*task))),
    (ex.check_loop, lambda *task: map(torch.tensor, loop(*task))),
    (ex.check_gain, lambda x, y: torch.tensor([slope(x, y)])),
    (ex.check_gaps, lambda p, g, s: torch.stack([g.max() - p.max(), p.max() - s.amax(1).mean()])),
]

WRONG = [
    (ex.check_truncate, "wrong way round", lambda ws, a, t: ws + t * (a - ws)),
    (ex.check_truncate, "toward zero", lambda ws, a, t: t * ws),
    (ex.check_truncate, "w_avg is missing", lambda ws, a, t: t * (ws - a)),
    (ex.check_truncate, "`t` made no difference", lambda ws, a, t: a + 0.3 * (ws - a)),
    (ex.check_truncate, "`ws` itself was changed", lambda ws, a, t: ws.sub_(a).mul_(t).add_(a)),
    (ex.check_mix, "nothing came from b", lambda a, b, rows: a.clone()),
    (ex.check_mix, "the rest from b", lambda a, b, rows: rows_from(b, a, rows)),
    (ex.check_mix, "`ws_a` itself was changed", lambda a, b, rows: a.copy_(rows_from(a, b, rows))),
    (ex.check_person_distance, "this generator's scale", lambda u, a: (u - a).norm()),
    (ex.check_person_distance, "not from zero", lambda u, a: u.norm() / scale_to_rows(1, 5)),
    (ex.check_person_distance, "go the other way", lambda u, a: (u - a).norm() * scale_to_rows(1, 5)),
    (ex.check_person_distance, "ask its shape", lambda u, a: (u - a).norm() / scale_to_rows(1, 23)),
    (ex.check_person_distance, "`w_u` itself", lambda u, a: u.sub_(a).norm() / scale_to_rows(1, 5)),
    (ex.check_target, "`d` made no difference", lambda u, a, d: moved(a, a - u, scale_to_rows(30, 5)).expand_as(u)),
    (ex.check_target, "ask its shape", lambda u, a, d: moved(a, a - u, scale_to_rows(d, 23)).expand_as(u)),
    (ex.check_target, "own side", lambda u, a, d: moved(a, u - a, scale_to_rows(d, 5))),
    (ex.check_target, "scale of 14 rows", lambda u, a, d: moved(a, a - u, d)),
    (ex.check_target, "not divided by its norm", lambda u, a, d: a - scale_to_rows(d, 5) * (u - a)),
    (ex.check_target, "w_avg is missing", lambda u, a, d: moved(0 * a, a - u, scale_to_rows(d, 5))),
    (ex.check_cosines, "lengths still", lambda a, b: a @ b.T),
    (ex.check_cosines, "`a` itself", lambda a, b: a.div_(a.norm(dim=1, keepdim=True)) @ F.normalize(b, dim=1).T),
    (ex.check_cosines, "one of the two", lambda a, b: F.normalize(a, dim=1) @ b.T),
    (ex.check_cosines, "shape", lambda a, b: F.cosine_similarity(a, b[:3])),
    (ex.check_rates, "swapped", lambda s, d, t: ((d >= t).float().mean(), (s >= t).float().mean())),
    (ex.check_rates, "rejected", lambda s, d, t: ((s < t).float().mean(), (d < t).float().mean())),
    (ex.check_rates, "exactly at", lambda s, d, t: ((s > t).float().mean(), (d > t).float().mean())),
    (ex.check_rates, "two numbers", lambda s, d, t: 0.5),
    (ex.check_rates, "made no difference", lambda s, d, t: RIGHT[ex.check_rates](s, d, 0.375)),
    (ex.check_rates, "a str came back", lambda s, d, t: ("all", "none")),
    (ex.check_distance, "each pair has its own", lambda a, b, p, c: 0.01 * F.mse_loss(a, b) + p + 0.1 * (1 - c)),
    (ex.check_distance, "rewards strangers", lambda a, b, p, c: d_of(a, b, p, 1 - c)),
    (ex.check_distance, "weights are missing", lambda a, b, p, c: d_of(a, b, p, c, (1, 1, 1))),
    (ex.check_distance, "features are missing", lambda a, b, p, c: p + 0.1 * (1 - c)),
    (ex.check_distance, "`features_a` itself", lambda a, b, p, c: d_of(a, b, p, c) + 0 * a.sub_(b).mean()),
    (ex.check_offsets, "away from", lambda u, o, a: offsets(u, o, -a)),
    (ex.check_offsets, "scale of 14 rows", lambda u, o, a: offsets(u, o, a / scale_to_rows(1, 5))),
    (ex.check_offsets, "without w_u", lambda u, o, a: u + offsets(u, o, a)),
    (ex.check_offsets, "`w_u` itself", lambda u, o, a: offsets(u, o, a) + 0 * u.add_(1).mean()),
    (ex.check_rate, "`rate` made no", lambda i, n, walk, top: rate(i, n, walk, 1.0)),
    (ex.check_rate, "must wait", lambda i, n, walk, top: rate(i, n, 0.0, top)),
    (ex.check_rate, "never falls", lambda i, n, walk, top: top),
    (ex.check_rate, "count from 1", lambda i, n, walk, top: rate(i + 1, n, walk, top)),
    (ex.check_loop, "clear them first", lambda *task: loop(*task, clear=False)),
    (ex.check_loop, "nothing moves", lambda *task: loop(*task, move=False)),
    (ex.check_loop, "yields 11", lambda p, f, n, r: loop(p, f, n - 1, r)),
    (ex.check_loop, "a list came back", lambda *task: [*loop(*task)]),
    (ex.check_loop, "before its step", hasty),
    (ex.check_loop, "before the first loss", all_at_once),
    (ex.check_loop, "holds its graph", lambda *task: map(torch.tensor(1.0, requires_grad=True).mul, loop(*task))),
    (ex.check_loop, "made anew", lambda *task: loop(*task, keep=False)),
    (ex.check_loop, "not where they lead", on_a_copy),
    (ex.check_partial_target, "`d` made no difference", lambda u, a, rows, d: partial(u, a, rows, 30.0)),
    (ex.check_partial_target, "`w_u` itself", lambda u, a, rows, d: u.copy_(partial(u, a, rows, d))),
    (ex.check_partial_target, "wrong rows", lambda u, a, rows, d: rows_from(partial(u, a, range(5), d), u, rows)),
    (ex.check_partial_target, "all rows moved", lambda u, a, rows, d: partial(u, a, range(5), d)),
    (ex.check_forgetting, "mean of the others", lambda p, others: others.mean() - p),
    (ex.check_forgetting, "sign is turned", lambda p, others: p - others.min()),
    (ex.check_forgetting, "best of the others", lambda p, others: others.max() - p),
    (ex.check_forgetting, "do not take its size", lambda p, others: others.min() - abs(p)),
    (ex.check_forgetting, "cut it off at 0", lambda p, others: others.min() - p.clamp(min=0)),
    (ex.check_kernel_distance, "diagonals are in it", lambda a, b: mmd(a, b, diagonal=True)),
    (ex.check_kernel_distance, "count twice", lambda a, b: mmd(a, b, across=1)),
    (ex.check_kernel_distance, "not divided by the number", lambda a, b: mmd(math.sqrt(5) * a, math.sqrt(5) * b)),
    (ex.check_cost, "None is the answer", lambda c, t: first_accepted(c, t) or 20),
    (ex.check_cost, "place in the list", lambda c, t: next((i for i, (_, x) in enumerate(c) if x >= t), None)),
    (ex.check_cost, "equals the threshold", lambda c, t: next((n for n, x in c if x > t), None)),
    (ex.check_cost, "a tuple came back", lambda c, t: c[-1]),
    (ex.check_cost, "costs 0 steps", lambda c, t: first_accepted(c, t) or None),
    (ex.check_cost, "not at the last", lambda c, t: max((n for n, x in c if x >= t), default=None)),
    (
        ex.check_cost,
        "not at the best",
        lambda c, t: max((x, n) for n, x in c)[1] if first_accepted(c, t) is not None else None,
    ),
    (ex.check_cost, "last step before", lambda c, t: None if (n := first_accepted(c, t)) is None else before(c, n)),
    (ex.check_cost, "that is the cosine", lambda c, t: next((x for _, x in c if x >= t), None)),
    (ex.check_cost, "differs", lambda c, t: 10**6 if (n := first_accepted(c, t)) == 20 else n),
    (ex.check_rank, "candidate itself", lambda scores, i: (scores >= scores[i]).sum()),
    (ex.check_rank, "tie counts", lambda scores, i: (scores > scores[i]).sum()),
    (ex.check_rank, "less suspect", lambda scores, i: (scores < scores[i]).sum()),
    (ex.check_rank, "and the ties", lambda scores, i: (scores <= scores[i]).sum() - 1),
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
    (ex.check_layer, "has to go", lambda a, b, P, m: (a @ P, b + a @ m)),
    (ex.check_layer, "has to come back", lambda a, b, P, m: (a @ P, b - a @ P @ m)),
    (ex.check_layer, "`bias` itself", lambda a, b, P, m: (a @ P, b.add_(a @ m - a @ P @ m))),
    (ex.check_layer, "old bias is missing", lambda a, b, P, m: (a @ P, a @ m - a @ P @ m)),
    (ex.check_summary, "whole width", lambda v: summary(v, factor=3.92)),
    (ex.check_summary, "divide by the root of n", lambda v: (v.mean(), 1.96 * v.std())),
    (ex.check_summary, "not by n", lambda v: (v.mean(), 1.96 * v.std() / len(v))),
    (ex.check_summary, "of a sample", lambda v: (v.mean(), 1.96 * v.std(correction=0) / len(v) ** 0.5)),
    (ex.check_summary, "1.96 is missing", lambda v: summary(v, factor=1)),
    (ex.check_summary, "not always 9", lambda v: (v.mean(), 1.96 * v.std() / 3)),
    (ex.check_summary, "this is the median", lambda v: summary(v, lambda v: v.quantile(0.5))),
    (ex.check_summary, "differs", lambda v: summary(v, lambda v: (v.min() + v.max()) / 2)),
    (ex.check_summary, "two numbers", lambda v: v.mean()),
    (ex.check_inversion_loss, r"shape is \[\]", lambda *parts: loss_of(*parts).mean()),
    (ex.check_inversion_loss, "anchor is missing", lambda *parts: loss_of(*parts, lambda way: 0)),
    (ex.check_inversion_loss, "anchor is a sum", lambda *parts: loss_of(*parts, lambda way: (way**2).sum())),
    (ex.check_inversion_loss, "each has its own way", lambda *p: loss_of(*p, lambda _: (p[-1] ** 2).mean())),
    (ex.check_inversion_loss, "square it", lambda *parts: loss_of(*parts, torch.mean)),
    (ex.check_inversion_loss, "rewards strangers", lambda p, x, c, way: loss_of(p, x, 1 - c, way)),
    (ex.check_inversion_loss, "weights are missing", lambda p, x, c, way: p + x + 1 - c + way.square().mean((1, 2))),
    (ex.check_distance_from_w, "from 0", lambda ws: from_w(ws, lambda w: 0 * w[0])),
    (ex.check_distance_from_w, "a mean of its own", lambda ws: from_w(ws, lambda w: ws.mean((0, 1)))),
    (
        ex.check_distance_from_w,
        "not over the numbers of a row",
        lambda ws: (ws - ws.mean(2, keepdim=True)).norm(dim=2).mean(1),
    ),
    (ex.check_distance_from_w, "one over all rows", lambda ws: (ws - ws.mean(1, keepdim=True)).norm(dim=(1, 2))),
    (ex.check_distance_from_w, "take the mean", lambda ws: 5 * from_w(ws)),
    (ex.check_distance_from_w, "these are squares", lambda ws: ws.var(1, correction=0).sum(1)),
    (ex.check_distance_from_w, "`ws` itself", lambda ws: from_w(ws.sub_(ws.mean(1, keepdim=True)))),
    (ex.check_distance_from_w, r"shape is \[\]", lambda ws: from_w(ws).mean()),
    (ex.check_gain, "exchanged", lambda x, y: slope(y, x)),
    (ex.check_gain, "subtract the mean", lambda x, y: x @ y / (x @ x)),
    (ex.check_gain, "correlation", lambda x, y: torch.corrcoef(torch.stack([x, y]))[0, 1]),
    (ex.check_gain, "first and the last", lambda x, y: (y[-1] - y[0]) / (x[-1] - x[0])),
    (ex.check_gain, "covariance", lambda x, y: torch.cov(torch.stack([x, y]), correction=0)[0, 1]),
    (ex.check_search, "nothing moves", lambda f, s, n, r: best(f, s)),
    (ex.check_search, "clear them first", lambda *task: searched(*task, clear=False)),
    (ex.check_search, "made anew", lambda *task: searched(*task, keep=False)),
    (ex.check_search, "it climbs", lambda *task: searched(*task, sign=-1)),
    (ex.check_search, "ends worst", lambda f, *task: best(lambda code: -f(code), descend(f, *task))),
    (ex.check_search, "began best", lambda f, s, *t: descend(f, best(f, s)[None], *t)[0]),
    (ex.check_search, "first start", lambda *task: descend(*task)[0]),
    (ex.check_search, "last start", lambda *task: descend(*task)[-1]),
    (ex.check_search, "starts were averaged", lambda f, s, *t: descend(f, s.mean(0, keepdim=True), *t)[0]),
    (ex.check_search, "that were found are averaged", lambda *task: descend(*task).mean(0)),
    (ex.check_search, "too few", lambda f, s, n, r: searched(f, s, n - 1, r)),
    (ex.check_search, "too many", lambda f, s, n, r: searched(f, s, n + 1, r)),
    (ex.check_search, "before the last step", stale),
    (ex.check_search, "keep one that the last step leaves", lambda *task: passed(*task)),
    (ex.check_search, "not the one whose loss", lambda *task: passed(*task, later=1)),
    (ex.check_search, "`starts` itself", in_place),
    (ex.check_search, "shape is", descend),
    (ex.check_search, "differs", lambda f, s, n, r: searched(f, s, 12, 0.1)),
    (ex.check_search, "detach it", lambda *task: torch.nn.Parameter(searched(*task))),
    (ex.check_gaps, "means over the starts", lambda p, g, s: (g.mean() - p.mean(), p.mean() - s.mean())),
    (ex.check_gaps, "of each stranger", lambda p, g, s: (g.max() - p.max(), p.max() - s.mean())),
    (ex.check_gaps, "luckiest stranger", lambda p, g, s: (g.max() - p.max(), p.max() - s.max())),
    (ex.check_gaps, "exchanged", lambda *task: gaps(*task)[::-1]),
    (ex.check_gaps, "both signs", lambda *task: [-gap for gap in gaps(*task)]),
    (ex.check_gaps, "the person less the strangers", lambda *task: (gaps(*task)[0], -gaps(*task)[1])),
    (ex.check_gaps, "untouched generator's best less", lambda *task: (-gaps(*task)[0], gaps(*task)[1])),
    (ex.check_gaps, "a gap may be negative", lambda *task: [max(gap, 0.0) for gap in gaps(*task)]),
    (ex.check_gaps, "withheld may be negative", lambda *task: (max(gaps(*task)[0], 0.0), gaps(*task)[1])),
    (ex.check_gaps, "choose first", lambda p, g, s: ((g - p).max(), gaps(p, g, s)[1])),
    (ex.check_gaps, "sought in the student", lambda p, g, s: (gaps(p, g, s)[0], gaps(g, g, s)[1])),
    (ex.check_gaps, "two numbers", lambda p, g, s: p.max() - s.max()),
]


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_right_answers_are_right(check):
    assert check(RIGHT[check]) == "Right."


@pytest.mark.parametrize(("check", "answer"), RIGHT_TOO, ids=[check.__name__ for check, _ in RIGHT_TOO])
def test_other_kinds_of_numbers_are_right_too(check, answer):
    assert check(answer) == "Right."


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_every_check_sees_through_three_wrong_answers(check):
    assert sum(of is check for of, *_ in WRONG) >= 3


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
    alone = ex.check_losses(local, lambda s, t, u, v, e, d: preserve(s, t, e, d), preserve)
    assert alone.startswith("adjacency: ") and "offsets alone" in alone


@pytest.mark.parametrize(
    "without_gradient",
    [torch.no_grad(), lambda loss: lambda *task: loss(*task).detach(), lambda loss: lambda *task: loss(*task).item()],
    ids=["no_grad", "detach", "item"],
)
def test_a_loss_without_a_gradient_is_wrong(without_gradient):
    """Nothing could be trained on it."""
    for name, spoilt in (
        ("adjacency", [local, without_gradient(adjacency), preserve]),
        ("global", [local, adjacency, without_gradient(preserve)]),
    ):
        verdict = ex.check_losses(*spoilt)
        assert verdict.startswith(f"{name}: ") and "no gradient" in verdict


def test_every_check_is_tested_here():
    assert {check.__name__ for check in RIGHT} | {"check_losses"} == set(ex.__all__)
