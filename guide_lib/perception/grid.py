"""The grid that LPIPS does not see and eyes do: how strong it is, and where, so that a loss can see it.

>>> columns = torch.tensor([1.0, -1.0]).repeat(8)
>>> grid_difference(photo + 0.1 * columns, photo)            # 0.1 squared, in one of the three patterns
tensor([0.003])

A generator that is pushed to where it was never trained weaves: a grid of two or four pixels lies over the face, since
each up-sampling has weights of its own for even and odd pixels and nothing keeps the two alike. Networks that look at
pictures in strides hardly notice. In the spectrum the grid stands alone, at the frequencies 1/2 and 1/4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PERIODS = (2, 4)  # px: what the last two up-samplings can leave
WIDTH = 1  # bins to both sides that a line takes under the window
BESIDE = (3, 9)  # bins away from it: past the window's blur, yet with about the power of a picture without a grid
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


def weave(images: Tensor) -> Tensor:
    """The power at the frequencies of a pixel grid over the power beside them, [N]; images: [N, C, S, S], S >= 64.

    About 1 where nothing is woven. Brightness, contrast, quarter turns and mirrors do not change it. Of the two periods
    the stronger counts, of both axes the sum.

    >>> face, columns = torch.randn(1, 3, 64, 64, generator=rng), torch.tensor([1.0, -1.0]).repeat(32)
    >>> weave(face).item() < 2 < 10 < weave(face + 0.5 * columns).item()
    True
    """
    grey = images.double().mean(1)
    size = grey.shape[-1]
    window = torch.hann_window(size, periodic=False, dtype=grey.dtype, device=grey.device)  # a picture's ends differ
    grey = (grey - grey.mean((1, 2), keepdim=True)) * window[:, None] * window
    power = torch.fft.fft2(grey).abs().square()
    along = (power + power.mT)[..., torch.arange(-WIDTH, WIDTH + 1)].mean(-1)  # [N, S]: constant across, any period
    return torch.stack([_peak(along, size // period) for period in PERIODS]).amax(0)


def _peak(power: Tensor, place: int) -> Tensor:
    """How far one bin of a spectrum [N, S] stands out of those beside it, [N]; 0 in an empty picture."""
    away = torch.arange(*BESIDE)
    beside = power[:, torch.cat([place - away, place + away]) % power.shape[1]].mean(1)
    return power[:, place] / beside.clamp(min=torch.finfo(power.dtype).tiny)
