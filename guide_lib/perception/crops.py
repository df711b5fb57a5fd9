"""Pictures cut and made smaller without aliasing, with a gradient, on every device.

>>> chip = fixed_crop(photo, np.array([[0.5, 0, 0], [0, 0.5, 0]]), size=8)     # an affine map, [2,3]
>>> small = area_resized(photo, 4)                       # each pixel the mean of those that it covers
>>> list(chip.shape), list(small.shape)
([1, 3, 8, 8], [1, 3, 4, 4])

A point is (x, y) in pixels, the centre of the top left pixel being (0, 0).
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from guide_lib.runtime import full_precision


def fixed_crop(images: Tensor, matrix: np.ndarray | Tensor, size: int, padding_mode: str = "border") -> Tensor:
    """Warp pictures by an affine map, differentiably and without aliasing.

    images: [N,3,H,W]. matrix: [2,3] for all or [N,2,3], input pixels to output pixels. Returns
    [N,3,size,size]. When the map shrinks by s, each output pixel is the mean of ceil(s)^2 bilinear samples.

    >>> ramp = torch.arange(4.0).expand(1, 3, 4, 4)
    >>> fixed_crop(ramp, np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]]), size=2)[0, 0].tolist()      # the middle
    [[1.0, 2.0], [1.0, 2.0]]
    """
    forward = torch.as_tensor(np.asarray(matrix), dtype=torch.float64).reshape(-1, 2, 3)
    shrink = torch.linalg.det(forward[:, :, :2]).abs().rsqrt()
    factors = (shrink - 1e-6).ceil().int().clamp(min=1)
    if len(factors.unique()) == 1:
        return _warp(images, forward, size, int(factors[0]), padding_mode)
    # One by one: what is cut out of a picture must not depend on the others of its batch.
    pairs = zip(images.split(1), forward.split(1), factors.tolist(), strict=True)
    return torch.cat([_warp(image, own, size, factor, padding_mode) for image, own, factor in pairs])


def _warp(images: Tensor, forward: Tensor, size: int, factor: int, padding_mode: str) -> Tensor:
    """forward: [1 or N,2,3]; factor: samples of an output pixel along each axis."""
    extent = images.shape[3], images.shape[2]
    if len(forward) == 1 and not images.is_cpu:  # the constant crop of every step: its grid is already there
        grid = _kept_grid(tuple(forward.flatten().tolist()), size, factor, extent, images.device, images.dtype)
    else:
        grid = _grid(forward, size, factor, extent).to(images)
    grid = grid.expand(len(images), -1, -1, -1)
    samples = F.grid_sample(images, grid, mode="bilinear", padding_mode=padding_mode, align_corners=False)
    return F.avg_pool2d(samples, factor)


def _grid(forward: Tensor, size: int, factor: int, extent: tuple[int, int]) -> Tensor:
    """Where `grid_sample` looks in pictures of `extent` (width, height): [1 or N, size factor, size factor, 2]."""
    inverse = torch.linalg.inv(forward[:, :, :2])
    steps = (torch.arange(size * factor, dtype=torch.float64) + 0.5) / factor - 0.5
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([x, y], dim=-1) - forward[:, None, None, :, 2]
    sources = torch.einsum("nij,nhwj->nhwi", inverse, points)
    return (2 * sources + 1) / torch.tensor(extent, dtype=torch.float64) - 1


@lru_cache(maxsize=8)
def _kept_grid(
    matrix: tuple[float, ...],
    size: int,
    factor: int,
    extent: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    forward = torch.tensor(matrix, dtype=torch.float64).view(1, 2, 3)
    return _grid(forward, size, factor, extent).to(device, dtype)


def area_resized(images: Tensor, size: int) -> Tensor:
    """[N,C,H,W] -> [N,C,size,size], as F.interpolate(mode="area") does.

    Apple's GPU averages only between sizes that divide each other; for others two fixed matrices do the same there.

    >>> area_resized(torch.arange(4.0).expand(1, 3, 4, 4), 2)[0, 0].tolist()
    [[0.5, 2.5], [0.5, 2.5]]
    """
    divide = all(max(length, size) % min(length, size) == 0 for length in images.shape[2:])
    if divide or images.device.type != "mps":
        return F.interpolate(images, size=(size, size), mode="area")
    rows, columns = (_averaging(length, size).to(images) for length in images.shape[2:])
    with full_precision(images.device):
        return rows @ images @ columns.T


@lru_cache(maxsize=16)
def _averaging(length: int, size: int) -> Tensor:
    """The matrix [size, length] that averages a line of `length` pixels down, or repeats them up, to `size`."""
    return F.adaptive_avg_pool1d(torch.eye(length), size).T.contiguous()
