"""Where the erased person is sent: the target latent w_t (step 2 of GUIDE).

    w_t = ufo_target(w_u, generator.w_avg)

All latents are [1, rows, w_dim]; ||.||_F is the norm over the whole latent, all rows together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

PAPER_ROWS = 14  # EG3D-FFHQ's W+; the paper's distances d = 30 and alpha_max = 15 belong to this many rows


def scale_to_rows(distance: float, rows: int) -> float:
    """A distance stated for the paper's 14 rows, carried to a latent of `rows` rows with the same length per row."""
    return distance * math.sqrt(rows / PAPER_ROWS)


def distance_from_mean(w_u: Tensor, w_avg: Tensor) -> Tensor:
    """||w_u - w_avg||_F in the paper's scale, one number: at d = minus this, UFO's line passes through the person."""
    return (w_u - w_avg).norm() / scale_to_rows(1.0, w_u.shape[1])


def ufo_target(w_u: Tensor, w_avg: Tensor, d: float = 30.0) -> Tensor:
    """UFO, un-identifying face on latent space: w_t = w_avg - d * w_id / ||w_id||_F with w_id = w_u - w_avg.

    The target lies on the far side of the mean face as seen from the person. `d` is in the paper's scale
    (see `scale_to_rows`); d = 0 gives the mean face itself. Source: Seo et al. 2024, section on UFO.
    """
    w_id = w_u - w_avg
    return w_avg - scale_to_rows(d, w_u.shape[1]) * w_id / w_id.norm()


def average_target(w_u: Tensor, w_avg: Tensor) -> Tensor:
    """The baseline's target: the mean face, whoever is erased."""
    return w_avg.expand_as(w_u).clone()


def partial_target(w_u: Tensor, w_avg: Tensor, rows: Sequence[int], d: float = 30.0) -> Tensor:
    """UFO's target in the given rows, the person in the others; d belongs to the whole target, in the paper's scale."""
    target = w_u.clone()
    target[:, list(rows)] = ufo_target(w_u, w_avg, d)[:, list(rows)]
    return target
