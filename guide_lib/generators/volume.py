"""Volume rendering of a radiance field: a coarse pass, a second one where the first found matter (NeRF, EG3D).

>>> def wall(points):                                         # matter from z = 0 downward, all of it white
...     return torch.where(points[..., 2] < 0, 100.0, -100.0), torch.ones(len(points), 3, points.shape[1])
>>> origins, directions = torch.tensor([[[0.0, 0.0, 2.7]]]), torch.tensor([[[0.0, 0.0, -1.0]]])
>>> colours, depth = render(wall, origins, directions, Sampling())
>>> colours[0, :, 0], depth                                   # colours in [-1, 1]
(tensor([1., 1., 1.]), tensor([[2.711]]))

A field is a function: points [N, M, 3] -> density [N, M], before its softplus, and colours [N, C, M] in [0, 1].
Nothing here knows where the field comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from guide_lib.runtime import device_memory

T = TypeVar("T")
Field: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
RAY_BYTES = 75_000  # forward and back, 96 samples of 32 features; measured between 1,024 and 16,384 rays


@dataclass(frozen=True)
class Sampling:
    """Where a ray is looked at; EG3D-FFHQ's values.

    near, far: depths along the ray between which the coarse samples lie, in scene units. coarse, fine: how many
    samples. rays_at_once: bounds the memory of one pass, not the result; None leaves it to the device.
    recompute: compute samples again for the way back instead of keeping them, which bounds the memory of a training.

    >>> Sampling().pass_size(torch.zeros(1, 4096, 3))
    1024
    """

    near: float = 2.25
    far: float = 3.3
    coarse: int = 48
    fine: int = 48
    rays_at_once: int | None = None
    recompute: bool = True

    def pass_size(self, rays: Tensor) -> int:
        """How many of `rays` [N, R, 3] are looked at together; a GPU takes as many as an eighth of its memory holds."""
        at_most = device_memory(rays.device) // 8 // RAY_BYTES // max(len(rays), 1)
        return self.rays_at_once or max(at_most, 1024)


@dataclass(frozen=True)
class Jitter:
    """Uniform draws in [0, 1] that place the samples; two generators that are compared must share them.

    coarse, fine: [N, R, S] and [N, R, S'] for N pictures of R rays; N or R may be 1.
    """

    coarse: Tensor
    fine: Tensor

    @classmethod
    def middle(cls, sampling: Sampling) -> Jitter:
        """No chance: coarse samples in the middle of their intervals, fine ones at even steps of probability.

        >>> Jitter.middle(Sampling(coarse=2, fine=3)).fine
        tensor([[[0.0, 0.5, 1.0]]])
        """
        return cls(torch.full((1, 1, sampling.coarse), 0.5), torch.linspace(0, 1, sampling.fine).view(1, 1, -1))

    @classmethod
    def draw(cls, sampling: Sampling, rays: int, rng: torch.Generator) -> Jitter:
        """Fresh draws for each ray, the same for all pictures of a batch, so that a batch equals its pictures."""
        coarse = torch.rand(1, rays, sampling.coarse, generator=rng)
        return cls(coarse, torch.rand(1, rays, sampling.fine, generator=rng))

    @classmethod
    @lru_cache(maxsize=1)
    def of_seed(cls, sampling: Sampling, rays: int, seed: int, device: torch.device) -> Jitter:
        """The draws that a seed stands for; the last are kept, as all pictures of a step share them."""
        drawn = cls.draw(sampling, rays, torch.Generator().manual_seed(seed))
        return cls(drawn.coarse.to(device), drawn.fine.to(device))

    def split(self, rays: int, size: int, like: Tensor) -> Iterator[Jitter]:
        """Pieces for `size` rays at a time, on the device of `like`."""
        whole = [part.to(like).expand(-1, rays, -1) for part in (self.coarse, self.fine)]
        return (Jitter(*parts) for parts in zip(*(part.split(size, dim=1) for part in whole), strict=True))


def stratified_depths(sampling: Sampling, u: Tensor) -> Tensor:
    """Coarse depths [..., S]: even steps from near to far, each moved on by u [..., S] of a step.

    >>> stratified_depths(Sampling(near=2.0, far=3.0, coarse=3), torch.full((3,), 0.5))
    tensor([2.25, 2.75, 3.25])
    """
    steps = torch.linspace(sampling.near, sampling.far, sampling.coarse, device=u.device)
    return steps + u * (sampling.far - sampling.near) / (sampling.coarse - 1)


def midpoints(x: Tensor) -> Tensor:
    """Means of neighbours along the last axis: [..., S] -> [..., S - 1].

    >>> midpoints(torch.tensor([0.0, 2.0, 6.0]))
    tensor([1., 4.])
    """
    return (x[..., 1:] + x[..., :-1]) / 2


def march(depths: Tensor, density: Tensor) -> Tensor:
    """How much each interval between samples contributes to its ray: [..., S], [..., S] -> [..., S - 1].

    alpha = 1 - exp(-softplus(density - 1) * length), density averaged over the interval's ends; weight = alpha times
    the light that the intervals before let through. The last interval is not closed, so the sum stays below 1.

    >>> march(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([-50.0, -50.0, 50.0, 50.0]))   # first empty, then matter
    tensor([0.00, 0.27, 0.73])
    """
    optical = F.softplus(midpoints(density) - 1) * depths.diff(dim=-1)
    before = optical.cumsum(dim=-1) - optical
    return -torch.expm1(-optical) * torch.exp(-before)


@torch.no_grad()
def importance_depths(depths: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """Fine depths [N, R, S'] by inverting the distribution of the coarse weights at u [N, R, S'].

    depths: [N, R, S]; weights: [N, R, S - 1]. The weights are widened (maximum, then mean of neighbours) and raised
    by 0.01, so that no depth is out of reach.
    """
    smooth = midpoints(F.max_pool1d(weights, 2, stride=1, padding=1)) + 0.01
    # two constants of the reference: 1e-5 against empty rays, and the two outermost intervals left out
    inner = smooth[..., 1:-1] + 1e-5
    cdf = F.pad((inner / inner.sum(-1, keepdim=True)).cumsum(-1), (1, 0))
    edges = midpoints(depths)[..., : cdf.shape[-1]]
    u = u.expand(*depths.shape[:-1], -1).contiguous()
    above = torch.searchsorted(cdf, u, right=True).clamp(1, cdf.shape[-1] - 1)
    low, high = cdf.gather(-1, above - 1), cdf.gather(-1, above)
    start, end = edges.gather(-1, above - 1), edges.gather(-1, above)
    return start + (u - low) / (high - low) * (end - start)


def render(
    field: Field, origins: Tensor, directions: Tensor, sampling: Sampling, jitter: Jitter | None = None
) -> tuple[Tensor, Tensor]:
    """Colours [N, C, R] in [-1, 1] and depths [N, R] of rays [N, R, 3]; without `jitter` nothing is random.

    Depths are limited to those of the samples of the whole batch, which is what an empty ray gets.
    """
    count, size = origins.shape[1], sampling.pass_size(origins)
    pieces = (jitter or Jitter.middle(sampling)).split(count, size, origins)
    rays = zip(origins.split(size, dim=1), directions.split(size, dim=1), pieces, strict=True)
    render_some = partial(_recomputed, _render_some) if sampling.recompute else _render_some
    parts = [render_some(field, *some, sampling) for some in rays]
    colours, depth = (torch.cat(tensors, dim=-1) for tensors in list(zip(*parts, strict=True))[:2])
    # not min() and max(), which would wait for a GPU at each piece
    nearest, farthest = torch.stack([part[2] for part in parts]).amin(), torch.stack([part[3] for part in parts]).amax()
    return colours, depth.nan_to_num(nan=float("inf")).clamp(nearest, farthest)


def _recomputed(function: Callable[..., T], *args: object) -> T:
    """function(*args); for the way back only the arguments are kept, and it is computed again then.

    With its samples a picture of EG3D's would keep 1 GiB more; the repetition takes a few hundredths of a step's time.
    """
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)


def _render_some(
    field: Field, origins: Tensor, directions: Tensor, jitter: Jitter, sampling: Sampling
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colours, unlimited depths, smallest and largest sampled depth.

    Only depths and densities are sorted: colours are summed where they are, with weights brought back to their
    places. An interval has the mean colour of its two ends, so a sample weighs half of both its intervals.
    """
    u = jitter.coarse.expand(len(origins), -1, -1)
    coarse_depths = stratified_depths(sampling, u)
    coarse_density, coarse_colours = _look(field, origins, directions, coarse_depths)
    weights = march(coarse_depths, coarse_density.detach())
    fine_depths = importance_depths(coarse_depths, weights, jitter.fine)
    fine_density, fine_colours = _look(field, origins, directions, fine_depths)
    depths, order = torch.cat([coarse_depths, fine_depths], dim=-1).sort(dim=-1)
    density = torch.cat([coarse_density, fine_density], dim=-1).gather(-1, order)
    weights = march(depths, density)
    halves = (F.pad(weights, (0, 1)) + F.pad(weights, (1, 0))) / 2
    per_sample = torch.zeros_like(halves).scatter(-1, order, halves)
    coarse_weights, fine_weights = per_sample.split([sampling.coarse, sampling.fine], dim=-1)
    colours = _weighted(coarse_colours, coarse_weights) + _weighted(fine_colours, fine_weights)
    depth = (weights * midpoints(depths)).sum(-1) / weights.sum(-1)
    return colours * 2 - 1, depth, depths.min(), depths.max()


def _look(field: Field, origins: Tensor, directions: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
    """Density [N, R, S] and colours [N, C, R, S] at `depths` [N, R, S] along the rays."""
    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
    density, colours = field(points.flatten(1, 2))
    return density.view(depths.shape), colours.unflatten(-1, depths.shape[1:])


def _weighted(colours: Tensor, weights: Tensor) -> Tensor:
    """Sum over the samples: [N, C, R, S], [N, R, S] -> [N, C, R]."""
    return torch.einsum("ncrs,nrs->ncr", colours, weights)
