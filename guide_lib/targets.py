"""Where the erased person is sent: the target latent w_t (step 2 of GUIDE).

>>> w_t = ufo_target(w_u, generator.w_avg)
>>> list(w_t.shape)                                       # as w_u: [1, rows, w_dim]
[1, 3, 6]

||.||_F is the norm over the whole latent, all rows together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

PAPER_ROWS = 14  # EG3D-FFHQ's W+; the paper's distances d = 30 and alpha_max = 15 belong to this many rows


def scale_to_rows(distance: float, rows: int) -> float:
    """A distance stated for the paper's 14 rows, carried to a latent of `rows` rows with the same length per row.

    >>> scale_to_rows(30.0, rows=14), scale_to_rows(30.0, rows=23)     # EG3D, MobileStyleGAN
    (30.0, 38.452)
    """
    return distance * math.sqrt(rows / PAPER_ROWS)


def distance_from_mean(w_u: Tensor, w_avg: Tensor) -> Tensor:
    """||w_u - w_avg||_F in the paper's scale, one number: at d = minus this, UFO's line passes through the person.

    >>> away = distance_from_mean(w_u, generator.w_avg).item()
    >>> torch.allclose(ufo_target(w_u, generator.w_avg, d=-away), w_u, atol=1e-5)
    True
    """
    return (w_u - w_avg).norm() / scale_to_rows(1.0, w_u.shape[1])


def ufo_target(w_u: Tensor, w_avg: Tensor, d: float = 30.0) -> Tensor:
    """UFO, un-identifying face on latent space: w_t = w_avg - d * w_id / ||w_id||_F with w_id = w_u - w_avg.

    The target lies on the far side of the mean face as seen from the person. `d` is in the paper's scale
    (see `scale_to_rows`); d = 0 gives the mean face itself. Source: Seo et al. 2024, section on UFO.

    >>> w_t = ufo_target(w_u, generator.w_avg, d=30.0)
    >>> distance_from_mean(w_t, generator.w_avg).item()
    30.0
    >>> torch.cosine_similarity((w_t - generator.w_avg).flatten(), (w_u - generator.w_avg).flatten(), dim=0).item()
    -1.000
    """
    w_id = w_u - w_avg
    return w_avg - scale_to_rows(d, w_u.shape[1]) * w_id / w_id.norm()


def average_target(w_u: Tensor, w_avg: Tensor) -> Tensor:
    """The baseline's target: the mean face, whoever is erased.

    >>> torch.equal(average_target(w_u, generator.w_avg), generator.w_avg)
    True
    """
    return w_avg.expand_as(w_u).clone()


def partial_target(w_u: Tensor, w_avg: Tensor, rows: Sequence[int], d: float = 30.0) -> Tensor:
    """UFO's target in the given rows, the person in the others; d belongs to the whole target, in the paper's scale.

    >>> w_p = partial_target(w_u, generator.w_avg, rows=[0])
    >>> [torch.equal(w_p[:, row], w_u[:, row]) for row in range(generator.rows)]
    [False, True, True]
    """
    target = w_u.clone()
    target[:, list(rows)] = ufo_target(w_u, w_avg, d)[:, list(rows)]
    return target
