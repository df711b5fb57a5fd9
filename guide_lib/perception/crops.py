"""Squares cut out of pictures: by a constant map, differentiably and on every device; by five points out of any photo.

>>> chip = fixed_crop(photo, np.array([[0.5, 0, 0], [0, 0.5, 0]]), size=8)     # an affine map, [2,3]
>>> small = area_resized(photo, 4)                       # each pixel the mean of those that it covers
>>> list(chip.shape), list(small.shape)
([1, 3, 8, 8], [1, 3, 4, 4])

Points are in pixels, (x, y), with the centre of the top left pixel at (0, 0). An affine map is a 2x3 matrix that takes
points of the input picture to points of the output picture.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from guide_lib.generators.alignment import FFHQ, Alignment
from guide_lib.runtime import full_precision

WHOLE = 2048  # px, the longest side: up to here a photo is warped whole; out of a part, last bits come out otherwise


def rescale_input(matrix: np.ndarray, designed_for: int, size: int) -> np.ndarray:
    """The same crop for an input of `size` px where `matrix` expects `designed_for` px.

    Pixel centres are half a pixel inside: x_designed = (x + 0.5) designed_for / size - 0.5.

    >>> rescale_input(np.array([[1.0, 0, 0], [0, 1.0, 0]]), designed_for=512, size=256)
    array([[2. , 0. , 0.5],
           [0. , 2. , 0.5]])
    """
    ratio = designed_for / size
    to_designed = np.array([[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2], [0, 0, 1]])
    return np.asarray(matrix) @ to_designed


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


def to_uint8(images: Tensor) -> np.ndarray:
    """[N,3,H,W] in [-1,1] -> [N,H,W,3] uint8.

    >>> to_uint8(torch.tensor([-1.0, 0.2, 1.5]).view(1, 3, 1, 1))
    array([[[[  0, 153, 255]]]], dtype=uint8)
    """
    levels = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return levels.round().byte().permute(0, 2, 3, 1).cpu().numpy()


def from_pil(picture: Image.Image) -> Tensor:
    """A picture as [1,3,H,W] in [-1,1].

    >>> from_pil(Image.new("RGB", (1, 1), (0, 153, 255))).flatten().tolist()
    [-1.0, 0.2, 1.0]
    """
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1


def cut_out(photo: Image.Image, landmarks: np.ndarray, size: int, alignment: Alignment = FFHQ) -> Tensor:
    """The square of one face, [1,3,size,size] in [-1,1]; what lies outside the photo is filled by reflection.

    landmarks: [5,2] px. Of a large photo only the part that is shown is looked at, so memory goes with the crop.
    """
    matrix = alignment.matrix(landmarks, size)
    if max(photo.size) > WHOLE:
        photo, matrix = _part(photo, matrix, size)
    return fixed_crop(from_pil(photo), matrix, size, padding_mode="reflection")


def _part(photo: Image.Image, matrix: np.ndarray, size: int) -> tuple[Image.Image, np.ndarray]:
    """What a crop shows of a photo, reflected at its edges and brought nearer to the crop's size if it is much larger;
    and the map for it."""
    corners = np.array([[-1, -1], [size, -1], [size, size], [-1, size]]) - matrix[:, 2]
    corners = corners @ np.linalg.inv(matrix[:, :2]).T
    shrink = max(1, int(1 / np.sqrt(np.linalg.det(matrix[:, :2])) / 2))  # leaves the warp something to smooth
    low, high = np.floor(corners.min(0) - 1).astype(int), np.ceil(corners.max(0) + 2).astype(int)
    high += (low - high) % shrink
    columns, rows = (_reflected(np.arange(*ends), extent) for *ends, extent in zip(low, high, photo.size, strict=True))
    near = photo.crop((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).convert("RGB")
    part = np.asarray(near)[rows - rows.min()][:, columns - columns.min()]
    middle = low + (shrink - 1) / 2
    to_photo = np.array([[shrink, 0, middle[0]], [0, shrink, middle[1]], [0, 0, 1]])
    return Image.fromarray(part).reduce(shrink), matrix @ to_photo


def _reflected(places: np.ndarray, extent: int) -> np.ndarray:
    """Which of the pixels 0 to extent - 1 is seen at each place, were there a mirror at both edges."""
    places = places % (2 * extent)
    return np.minimum(places, 2 * extent - 1 - places)
