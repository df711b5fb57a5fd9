"""Checks of notebooks 01 and 04: arithmetic with latents."""

from __future__ import annotations

import torch

from guide_lib.checks.base import Answer, compare, fresh_rng
from guide_lib.generators.directions import mix
from guide_lib.targets import distance_from_mean, scale_to_rows, ufo_target


def check_truncate(answer: Answer) -> str:
    """`answer(ws [N, rows, w_dim], w_avg [1, rows, w_dim], t)` pulls ws toward w_avg; t = 1 leaves them alone."""
    ws, w_avg = torch.randn(2, 5, 4, generator=fresh_rng()), torch.linspace(-1, 1, 4).expand(1, 5, 4)
    mistakes = {
        "t works the wrong way round; at t = 1 the person must stay": torch.lerp(ws, w_avg.expand_as(ws), 0.3),
        "the codes shrink toward zero; the middle of W is w_avg": 0.3 * ws,
        "w_avg is missing; only the difference to it is multiplied by t": 0.3 * (ws - w_avg),
        "only the difference to w_avg is multiplied by t, not all of ws": w_avg + 0.3 * ws,
    }
    return compare(answer(ws.clone(), w_avg, 0.3), torch.lerp(w_avg.expand_as(ws), ws, 0.3), mistakes)


def check_mix(answer: Answer) -> str:
    """`answer(ws_a, ws_b [N, rows, w_dim], rows)` is a with these rows of b; a and b are left as they are.

    >>> check_mix(lambda a, b, rows: b)
    'Not yet: everything came from b.'
    """
    a, b = torch.randn(2, 2, 5, 4, generator=fresh_rng())
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


def check_person_distance(answer: Answer) -> str:
    """`answer(w_u, w_avg [1, rows, w_dim])` is ||w_u - w_avg|| in the paper's scale."""
    w_avg = torch.linspace(-1, 1, 4).expand(1, 5, 4)
    w_u = w_avg + torch.randn(1, 5, 4, generator=fresh_rng())
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
    w_u = w_avg + torch.randn(1, 5, 4, generator=fresh_rng())
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
