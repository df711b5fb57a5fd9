"""Which triangles cover which pixels, and what a texture shows at a place: a z-buffer in plain PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.heads.pack import Surface

FAR = 1e9  # the depth of a pixel that nothing covers


@dataclass(frozen=True)
class Fragments:
    """One entry for each pixel of each triangle that covers it.

    triangle, pixel: [K] indices, pixels row by row. shares: [K, 3], how much each corner counts, in perspective, sum 1.
    depth: [K], along the camera's axis.
    """

    triangle: Tensor
    pixel: Tensor
    shares: Tensor
    depth: Tensor

    def __getitem__(self, keep: Tensor) -> Fragments:
        """Those that a mask [K] or indices name."""
        return Fragments(self.triangle[keep], self.pixel[keep], self.shares[keep], self.depth[keep])

    def at(self, values: Tensor, faces: Tensor) -> Tensor:
        """What lies between the corners' values [V, C] of triangles [F, 3]: [K, C]."""
        return (values[faces[self.triangle]] * self.shares[..., None]).sum(1)

    def uv(self, surface: Surface) -> Tensor:
        """Places in a surface's texture, [K, 2]."""
        return self.at(surface.uv, surface.uv_faces)


def cover(points: Tensor, faces: Tensor, size: int, one_sided: bool) -> Fragments:
    """The fragments of triangles [F, 3] in a square picture of `size` pixels a side.

    points: [V, 3], x and y in pixels (centres at halves) and depth. one_sided: leave out triangles seen from behind.

    >>> corner = torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 4.0, 1.0]])
    >>> cover(corner, torch.tensor([[0, 1, 2]]), size=4, one_sided=False).pixel.tolist()
    [0, 1, 2, 3, 4, 5, 6, 8, 9, 12]
    """
    corners = points[faces]
    x, y = corners[..., 0], corners[..., 1]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    seen = ((-area if one_sided else area.abs()) > 1e-9).nonzero()[:, 0]
    low_x, high_x = _span(x[seen], size)
    low_y, high_y = _span(y[seen], size)
    width, height = (high_x - low_x + 1).clamp(min=0), (high_y - low_y + 1).clamp(min=0)
    count = width * height
    which = torch.repeat_interleave(torch.arange(len(seen)), count)
    nth = torch.arange(len(which)) - torch.repeat_interleave(count.cumsum(0) - count, count)
    px, py = low_x[which] + nth % width[which], low_y[which] + nth // width[which]
    which = seen[which]
    (xa, xb, xc), (ya, yb, yc) = x[which].T, y[which].T
    cx, cy = px + 0.5, py + 0.5
    second = ((cx - xa) * (yc - ya) - (xc - xa) * (cy - ya)) / area[which]
    third = ((xb - xa) * (cy - ya) - (cx - xa) * (yb - ya)) / area[which]
    flat = torch.stack([1 - second - third, second, third], dim=1)
    inside = (flat >= 0).all(1).nonzero()[:, 0]
    which, pixel = which[inside], (py * size + px)[inside]
    nearness = flat[inside] / corners[which][..., 2]
    depth = 1 / nearness.sum(1)
    return Fragments(which, pixel, nearness * depth[:, None], depth)


def _span(places: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel whose centre lies between the smallest and the largest of places [F, 3]."""
    first = (places.amin(1) - 0.5).ceil().clamp(min=0)
    return first.long(), (places.amax(1) - 0.5).floor().clamp(max=size - 1).long()


def nearest(depths: Tensor, fragments: Fragments) -> Tensor:
    """Depths [P] of a picture after the fragments were put in front of what was there."""
    return depths.scatter_reduce(0, fragments.pixel, fragments.depth, "amin")


def look_up(texture: Tensor, uv: Tensor) -> Tensor:
    """The texture [H, W, C] at uv [K, 2], v upward, bilinear: [K, C]."""
    height, width = texture.shape[:2]
    x, y = (uv[:, 0] % 1) * width - 0.5, ((1 - uv[:, 1]) % 1) * height - 0.5
    left, top = x.floor(), y.floor()
    dx, dy = (x - left)[:, None], (y - top)[:, None]
    columns = [(left.long() + step).clamp(0, width - 1) for step in (0, 1)]
    rows = [(top.long() + step).clamp(0, height - 1) for step in (0, 1)]
    above, below = (texture[row, columns[0]] * (1 - dx) + texture[row, columns[1]] * dx for row in rows)
    return above * (1 - dy) + below * dy


def opacity(texture: Tensor, uv: Tensor) -> Tensor:
    """The fourth channel of the texture [H, W, 4] at the texel nearest to uv [K, 2]: [K]."""
    height, width = texture.shape[:2]
    column = ((uv[:, 0] % 1) * width).long().clamp(0, width - 1)
    row = (((1 - uv[:, 1]) % 1) * height).long().clamp(0, height - 1)
    return texture[row, column, 3]
