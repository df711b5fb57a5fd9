"""Where the erased person is sent: the target latent w_t (step 2 of GUIDE).

>>> w_t = ufo_target(w_u, generator.w_avg)
>>> list(w_t.shape)                                       # as w_u: [1, rows, w_dim]
[1, 3, 6]

||.||_F is the norm over the whole latent, all rows together. Or the target is searched for among faces that the
generator itself is likely to draw:

>>> strangers = draw_strangers(generator, embedder, torch.eye(generator.w_dim), count=16)   # once for everybody
>>> list(natural_target(w_u, generator, embedder, strangers).shape)
[1, 3, 6]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from guide_lib.generators import Generator
from guide_lib.perception.identity import Embedder

PAPER_ROWS = 14  # EG3D-FFHQ's W+; the paper's distances d = 30 and alpha_max = 15 belong to this many rows

# The search. Chosen on people of seeds 100 to 115; what it does to others: data/results/natural-targets.json.
STRANGERS, STRANGER_SEED, TYPICAL = 256, 70_707, 0.7  # how many, and the truncation at which they are drawn
ALIKE = 0.25  # the share of the strangers who count as like somebody, by their readings
FAR = 0.125  # the share of these who count as far from them, by the embedder
LIKELY, OWN = 0.95, 1000  # the share of the generator's own samples (and how many) that are no rarer than a target
NEAREST, SHARES = 6, (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # strangers walked to, and the shares of the way
USUAL = 36.0  # in the paper's scale: half of the samples of the default generator lie farther from the mean face
DISTANCES = tuple(range(0, 31, 3))  # d on UFO's line
AT_ONCE = 8  # pictures drawn at a time: bounds the memory


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


# ---------------------------------------------------------------------------------------------------------
# Targets that are searched for


@dataclass(frozen=True)
class Strangers:
    """Faces among which targets are searched for, the same for everybody who is erased.

    ws: [N, rows, w_dim]. identities: [N, E], unit. precision: S^-1, [w_dim, w_dim] in double precision on the CPU; S is
    the second moment of w - w_avg. limit: the Mahalanobis distance that the share `LIKELY` of the samples keep to.
    readings: [w_dim, K], each column reads an apparent attribute out of w, in standard deviations; K may be 0.
    """

    ws: Tensor
    identities: Tensor
    precision: Tensor
    limit: float
    readings: Tensor

    def like(self, person: Tensor) -> Strangers:
        """The share `ALIKE` of them whose attributes differ least from those of `person` [1, rows, w_dim]; all if K=0.

        >>> strangers = draw_strangers(generator, embedder, torch.eye(6), {"first": torch.eye(6)[0]}, count=16)
        >>> alike, unlike = strangers.like(generator.w_avg), strangers.ws[:, 0, 0] - generator.w_avg[0, 0, 0]
        >>> len(alike.ws), (alike.ws[:, 0, 0] - generator.w_avg[0, 0, 0]).abs().max() < unlike.abs().median()
        (4, tensor(True))
        """
        if not self.readings.shape[1]:
            return self
        differences = ((self.ws - person)[:, 0] @ self.readings).norm(dim=1)
        nearest = differences.argsort()[: math.ceil(ALIKE * len(self.ws))]
        return replace(self, ws=self.ws[nearest], identities=self.identities[nearest])

    def likely(self, ws: Tensor, w_avg: Tensor) -> Tensor:
        """Which of ws [N, rows, w_dim], all rows equal, are no rarer than most samples of the generator: [N] bool."""
        return mahalanobis(ws[:, :1], w_avg[:, :1], self.precision).to(ws.device) <= self.limit


def mahalanobis(ws: Tensor, w_avg: Tensor, precision: Tensor) -> Tensor:
    """How rare latents ws [N, rows, w_dim] are among mapped samples: [N], the root mean square over the rows.

    precision: S^-1, [w_dim, w_dim], in double precision on the CPU; S is the second moment of w - w_avg.

    >>> mahalanobis(generator.w_avg + torch.ones(2, 3, 6), generator.w_avg, torch.eye(6).double())     # sqrt(6)
    tensor([2.449, 2.449], dtype=torch.float64)
    """
    x = (ws - w_avg).detach().cpu().double()
    return ((x @ precision) * x).sum(2).mean(1).sqrt()


def draw_strangers(
    generator: Generator,
    embedder: Embedder,
    moment: Tensor,
    attributes: Mapping[str, Tensor] | None = None,
    count: int = STRANGERS,
    seed: int = STRANGER_SEED,
) -> Strangers:
    """Draw `count` strangers and look at them: seconds, once for a generator.

    moment: S, [w_dim, w_dim]. attributes: name -> [w_dim], what `load_attributes` gives.
    """
    rng = torch.Generator().manual_seed(seed)
    ws, own = generator.sample(count, rng, TYPICAL), generator.sample(OWN, rng)
    precision = torch.linalg.inv(moment.detach().cpu().double())
    limit = mahalanobis(own[:, :1], generator.w_avg[:, :1], precision).quantile(LIKELY).item()
    readings = [attribute.to(ws) for attribute in (attributes or {}).values()]
    stacked = torch.stack(readings, dim=1) if readings else ws.new_zeros(generator.w_dim, 0)
    return Strangers(ws, _identities(generator, embedder, ws), precision, limit, stacked)


def natural_target(w_u: Tensor, generator: Generator, embedder: Embedder, strangers: Strangers) -> Tensor:
    """The target [1, rows, w_dim] nearest to the person w_u that is somebody else, and likely.

    The way goes from the person to the nearest of the strangers whom the embedder finds far, the farthest eighth, and
    ends where the embedder finds the face as far as these, maybe before the stranger is reached. A short way keeps what
    is no identity, apparent age and sex among it, and moves other people little. The way begins at the mean of the
    person's rows, in W: what an inversion has woven into a picture is left behind.

    >>> strangers = draw_strangers(generator, embedder, torch.eye(generator.w_dim), count=16)
    >>> w_t = natural_target(w_u, generator, embedder, strangers)
    >>> person, target = (embedder.embed(generator.picture(w)) for w in (w_u, w_t))
    >>> (person * target).sum() < (strangers.identities @ person[0]).median()
    tensor(True)
    """
    start, person = _in_w(w_u, generator), _identities(generator, embedder, w_u)
    alike = strangers.like(start)
    cosines = alike.identities @ person[0]
    bound = cosines.quantile(FAR)
    far = alike.ws[cosines <= bound]
    far = far[_kept(alike, far, generator)]
    nearest = far[_lengths(far, w_u, generator).argsort()[:NEAREST]]
    points = torch.cat([torch.lerp(start, nearest, share) for share in SHARES])
    return _nearest_beyond(points, w_u, person, bound, generator, embedder, strangers)


def opposite_target(w_u: Tensor, generator: Generator, d: float = USUAL) -> Tensor:
    """UFO's target of the mean of the person's rows [1, rows, w_dim]: in W, as far from the mean face as faces are.

    The rows of an inverted photo lie far out, each in its own direction, and their opposites draw no face. For a person
    of W it is UFO's target itself. A long way takes other photos along, of which the edit in closed form reads a part.

    >>> torch.allclose(opposite_target(w_u, generator, d=30.0), ufo_target(w_u, generator.w_avg, d=30.0), atol=1e-5)
    True
    """
    return ufo_target(_in_w(w_u, generator), generator.w_avg, d)


def searched_ufo_target(w_u: Tensor, generator: Generator, embedder: Embedder, strangers: Strangers) -> Tensor:
    """The nearest point of UFO's line, d from 0 to 30, that is likely and as far as `natural_target` asks for."""
    person = _identities(generator, embedder, w_u)
    bound = (strangers.identities @ person[0]).quantile(FAR)
    start = _in_w(w_u, generator)
    points = torch.cat([ufo_target(start, generator.w_avg, d) for d in DISTANCES])
    return _nearest_beyond(points, w_u, person, bound, generator, embedder, strangers)


def _nearest_beyond(
    points: Tensor,
    w_u: Tensor,
    person: Tensor,
    bound: Tensor,
    generator: Generator,
    embedder: Embedder,
    strangers: Strangers,
) -> Tensor:
    """The nearest to w_u of the likely points whose cosine is at most `bound`; if none is, the one of least cosine."""
    points = points[_kept(strangers, points, generator)]
    cosines = _identities(generator, embedder, points) @ person[0]
    beyond = cosines <= bound
    score = torch.where(beyond, _lengths(points, w_u, generator), torch.inf) if beyond.any() else cosines
    return points[score.argmin()][None]


def _kept(strangers: Strangers, points: Tensor, generator: Generator) -> Tensor:
    """Which points are likely, [N] bool; all of them if none is, for a target there must be."""
    likely = strangers.likely(points, generator.w_avg)
    return likely if likely.any() else torch.ones_like(likely)


def _in_w(w_u: Tensor, generator: Generator) -> Tensor:
    """The mean of the rows that are drawn, in all rows: [1, rows, w_dim]."""
    return w_u[:, generator.drawn_rows()].mean(1, keepdim=True).expand_as(w_u)


def _lengths(points: Tensor, w_u: Tensor, generator: Generator) -> Tensor:
    """How far points [N, rows, w_dim] are from w_u in the rows that are drawn, [N]."""
    return (points - w_u)[:, generator.drawn_rows()].flatten(1).norm(dim=1)


@torch.no_grad()
def _identities(generator: Generator, embedder: Embedder, ws: Tensor) -> Tensor:
    return torch.cat([embedder.embed(generator.picture(few)) for few in ws.split(AT_ONCE)])
