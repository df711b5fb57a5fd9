"""The grid of two pixels that LPIPS does not see and eyes do, locally, so that a loss can see it.

>>> columns = torch.tensor([1.0, -1.0]).repeat(8)
>>> grid_difference(photo + 0.1 * columns, photo)            # 0.1 squared, in one of the three patterns
tensor([0.003])
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SQUARE = 8  # pairs of pixels along a side of the squares: averaged over one a face cancels, a grid does not


def local_grid(images: Tensor) -> Tensor:
    """By how much even rows are brighter than odd ones, even columns, and the fields of a chessboard, in squares of
    16 px: [N, 3, S, S] -> [N, 9, S/16, S/16], in single precision.

    >>> local_grid(torch.ones(1, 3, 64, 64)).abs().max(), list(local_grid(torch.ones(1, 3, 64, 64)).shape)
    (tensor(0.), [1, 9, 4, 4])
    """
    images = images.float()
    top_left, top_right, low_left, low_right = (images[..., y::2, x::2] for y in (0, 1) for x in (0, 1))
    rows = top_left + top_right - low_left - low_right
    columns = top_left - top_right + low_left - low_right
    chessboard = top_left - top_right - low_left + low_right
    return F.avg_pool2d(torch.cat([rows, columns, chessboard], 1) / 4, min(SQUARE, rows.shape[-1]))


def grid_difference(images_a: Tensor, images_b: Tensor) -> Tensor:
    """The mean square difference of the local grids of N pairs [N, 3, S, S]: [N], 0 where both are woven alike."""
    return (local_grid(images_a) - local_grid(images_b)).square().mean((1, 2, 3))
