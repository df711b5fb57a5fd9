"""Checks of notebooks 01 and 04: arithmetic with latents."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from guide_lib.checks.base import Answer, compare, first_fault, fresh_rng
from guide_lib.generators.directions import mix
from guide_lib.targets import distance_from_mean, scale_to_rows, ufo_target


def check_truncate(answer: Answer) -> str:
    """`answer(ws [N, rows, w_dim], w_avg [1, rows, w_dim], t)` pulls ws toward w_avg; t = 1 leaves them alone."""
    ws, w_avg = torch.randn(2, 5, 4, generator=fresh_rng()), torch.linspace(-1, 1, 4).expand(1, 5, 4)

    def verdicts() -> Iterator[str]:
        for t in (0.3, 0.8):
            given, mean = ws.clone(), w_avg.clone()
            mistakes = {
                "t works the wrong way round; at t = 1 the person must stay": torch.lerp(ws, w_avg.expand_as(ws), t),
                "the codes shrink toward zero; the middle of W is w_avg": t * ws,
                "w_avg is missing; only the difference to it is multiplied by t": t * (ws - w_avg),
                "only the difference to w_avg is multiplied by t, not all of ws": w_avg + t * ws,
                "`t` made no difference": torch.lerp(w_avg.expand_as(ws), ws, 0.3),
            }
            expected = torch.lerp(w_avg.expand_as(ws), ws, t)
            yield compare(answer(given, mean, t), expected, mistakes, {"ws": (given, ws), "w_avg": (mean, w_avg)})

    return first_fault(verdicts())


def check_mix(answer: Answer) -> str:
    """`answer(ws_a, ws_b [N, rows, w_dim], rows)` is a with these rows of b; a and b are left as they are.

    >>> check_mix(lambda a, b, rows: b)
    'Not yet: everything came from b.'
    """
    a, b = torch.randn(2, 2, 5, 4, generator=fresh_rng())
    given, rows = (a.clone(), b.clone()), [1, 3]
    mistakes = {
        "nothing came from b": a,
        "everything came from b": b,
        "the rows came from a and the rest from b": mix(b, a, rows),
        "all rows are averages; take whole rows": (a + b) / 2,
    }
    kept = {"ws_a": (given[0], a), "ws_b": (given[1], b)}
    return compare(answer(*given, rows), mix(a, b, rows), mistakes, kept)


def check_person_distance(answer: Answer) -> str:
    """`answer(w_u, w_avg [1, rows, w_dim])` is ||w_u - w_avg|| in the paper's scale, one number."""
    w_avg = torch.linspace(-1, 1, 4).expand(1, 5, 4)
    w_u = w_avg + torch.randn(1, 5, 4, generator=fresh_rng())
    given, here, scale = w_u.clone(), (w_u - w_avg).norm(), scale_to_rows(1.0, 5)
    mistakes = {
        "it is in this generator's scale; divide by scale_to_rows(1.0, rows)": here,
        "scale_to_rows leads from the paper's scale to ours; go the other way": here * scale,
        "measure from w_avg, not from zero": w_u.norm() / scale,
        "it is the norm over the whole latent, not the mean of the rows'": (w_u - w_avg).norm(dim=2).mean() / scale,
        "this latent has 5 rows, and not 23; ask its shape": here / scale_to_rows(1.0, 23),
    }
    return compare(answer(given, w_avg), distance_from_mean(w_u, w_avg), mistakes, {"w_u": (given, w_u)})


def check_target(answer: Answer) -> str:
    """`answer(w_u, w_avg [1, rows, w_dim], d)` is UFO's target."""
    w_avg = torch.linspace(-1, 1, 4).expand(1, 5, 4)
    w_u = w_avg + torch.randn(1, 5, 4, generator=fresh_rng())
    way, row_norms = w_u - w_avg, (w_u - w_avg).norm(dim=2, keepdim=True)

    def verdicts() -> Iterator[str]:
        for d in (30.0, 12.0):
            step, given = scale_to_rows(d, 5), w_u.clone()
            mistakes = {
                "it lies on the person's own side of the mean face; go the other way": w_avg + step * way / way.norm(),
                "d is in the scale of 14 rows; carry it over with scale_to_rows": w_avg - d * way / way.norm(),
                "one norm belongs to the whole latent, not one to each row": w_avg - step * way / row_norms,
                "the step is not divided by its norm": w_avg - step * way,
                "start from w_avg, not from the person": w_u - step * way / way.norm(),
                "the direction is from w_avg to the person, not w_u itself": w_avg - step * w_u / w_u.norm(),
                "w_avg is missing": -step * way / way.norm(),
                "`d` made no difference; it is the length of the step": ufo_target(w_u, w_avg, 30.0),
                "this latent has 5 rows, and not 23; ask its shape": w_avg - scale_to_rows(d, 23) * way / way.norm(),
            }
            yield compare(answer(given, w_avg, d), ufo_target(w_u, w_avg, d), mistakes, {"w_u": (given, w_u)})

    return first_fault(verdicts())
