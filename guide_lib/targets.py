"""Where the erased person is sent: the target latent w_t (step 2 of GUIDE).

>>> w_t = ufo_target(w_u, generator.w_avg)
>>> list(w_t.shape)                                       # as w_u: [1, rows, w_dim]
[1, 3, 6]

||.||_F is the norm over the whole latent, all rows together. Or the target is searched for among faces that the
generator itself is likely to draw:

>>> strangers = draw_strangers(generator, torch.eye(generator.w_dim), count=16)   # once for everybody
>>> list(natural_target(w_u, generator, embedder, strangers).shape)
[1, 3, 6]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from guide_lib.generators import Generator
from guide_lib.perception.grid import weave
from guide_lib.perception.identity import Embedder

PAPER_ROWS = 14  # EG3D-FFHQ's W+; the paper's distances d = 30 and alpha_max = 15 belong to this many rows

# The search. Chosen on people of seeds 100 to 115; what it does to others: data/results/natural-targets.json.
STRANGERS, STRANGERS_IN_SPACE = 256, 96  # in three dimensions a picture takes ten times as long
STRANGER_SEED, TYPICAL = 70_707, 0.7  # and the truncation at which they are drawn
ALIKE, FAR = 0.25, 0.125  # shares: of the strangers, like somebody by their readings; of these, far by the embedder
LIKELY, OWN = 0.95, 1000  # the share of the generator's own samples (and how many) that are no rarer than a target
NEAREST, SHARES = 6, (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # strangers walked to, and the shares of the way
PART = 0.5  # of the way, by which other photos are moved; chosen on ORL people 5 to 8
DISTANCES = tuple(range(0, 31, 3))  # d on UFO's line
WORSE = 4.0  # than any sum of two cosines
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

    ws: [N, rows, w_dim]. precision: S^-1, [w_dim, w_dim] in double precision on the CPU; S is the second moment of
    w - w_avg. limit: the Mahalanobis distance that `LIKELY` of the samples keep to. readings: [w_dim, K], each column
    reads an apparent attribute out of w, in standard deviations; K may be 0. looks: what `seen` remembers.
    """

    ws: Tensor
    precision: Tensor
    limit: float
    readings: Tensor
    looks: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def like(self, person: Tensor) -> list[int]:
        """The share `ALIKE` of them whose attributes differ least from those of `person` [1, rows, w_dim]; all if K=0.

        >>> strangers = draw_strangers(generator, torch.eye(6), {"first": torch.eye(6)[0]}, count=16)
        >>> away = (strangers.ws - generator.w_avg)[:, 0, 0].abs()
        >>> alike = strangers.like(generator.w_avg)
        >>> len(alike), away[alike].max() < away.median()
        (4, tensor(True))
        """
        if not self.readings.shape[1]:
            return list(range(len(self.ws)))
        differences = ((self.ws - person)[:, 0] @ self.readings).norm(dim=1)
        return differences.argsort()[: math.ceil(ALIKE * len(self.ws))].tolist()

    def seen(self, which: list[int], generator: Generator, embedder: Embedder) -> tuple[Tensor, Tensor]:
        """Identities [N, E] and weaves [N] of some of them; each is drawn once."""
        if new := [index for index in which if index not in self.looks]:
            self.looks.update(zip(new, zip(*_look(generator, embedder, self.ws[new]), strict=True), strict=True))
        identities, weaves = zip(*(self.looks[index] for index in which), strict=True)
        return torch.stack(identities), torch.stack(weaves)

    def likely(self, ws: Tensor, w_avg: Tensor) -> Tensor:
        """Which of ws [N, rows, w_dim], all rows equal, are no rarer than most samples of the generator: [N] bool."""
        return mahalanobis(ws[:, :1], w_avg[:, :1], self.precision).to(ws.device) <= self.limit

    def edge(self, start: Tensor, ws: Tensor, w_avg: Tensor) -> Tensor:
        """Where the straight ways from `start` [1, rows, w_dim] through ws [N, rows, w_dim] leave what is likely.

        All of them in W. A way that is nowhere likely ends where it is the least unlikely.

        >>> strangers = draw_strangers(generator, torch.eye(generator.w_dim), count=16)
        >>> ends = strangers.edge(w_u, strangers.ws, generator.w_avg)
        >>> bool(((ends - generator.w_avg)[:, 0].norm(dim=1) - strangers.limit).abs().max() < 1e-3)
        True
        """
        begun, way = ((to - since)[:, 0].detach().cpu().double() for to, since in ((start, w_avg), (ws, start)))
        a, b = ((way @ self.precision) * way).sum(1), ((way @ self.precision) * begun).sum(1)
        c = ((begun @ self.precision) * begun).sum(1) - self.limit**2
        share = ((b.square() - a * c).clamp(min=0).sqrt() - b) / a
        return start + share.to(start)[:, None, None] * (ws - start)


def mahalanobis(ws: Tensor, w_avg: Tensor, precision: Tensor) -> Tensor:
    """How rare latents ws [N, rows, w_dim] are among mapped samples: [N], the root mean square over the rows.

    precision: S^-1, [w_dim, w_dim], in double precision on the CPU; S is the second moment of w - w_avg.

    >>> mahalanobis(generator.w_avg + torch.ones(2, 3, 6), generator.w_avg, torch.eye(6).double())     # sqrt(6)
    tensor([2.449, 2.449], dtype=torch.float64)
    """
    x = (ws - w_avg).detach().cpu().double()
    return ((x @ precision) * x).sum(2).mean(1).sqrt()


def usual_distance(own: Tensor, w_avg: Tensor, precision: Tensor) -> float:
    """The Mahalanobis distance that the share `LIKELY` of a generator's own samples [N, rows, w_dim], in W, keep to.

    >>> own = generator.sample(200, rng)
    >>> limit = usual_distance(own, generator.w_avg, torch.eye(6).double())
    >>> (mahalanobis(own, generator.w_avg, torch.eye(6).double()) <= limit).double().mean().item()
    0.950
    """
    return mahalanobis(own[:, :1], w_avg[:, :1], precision).quantile(LIKELY).item()


def draw_strangers(
    generator: Generator,
    moment: Tensor,
    attributes: Mapping[str, Tensor] | None = None,
    count: int | None = None,
    seed: int = STRANGER_SEED,
) -> Strangers:
    """Choose strangers, once for a generator; they are drawn when a search wants to see them.

    moment: S, [w_dim, w_dim]. attributes: name -> [w_dim], what `attributes_of` gives. count: 256, or 96 in 3D.
    """
    count = count or (STRANGERS if len(generator.judging_views()) == 1 else STRANGERS_IN_SPACE)
    rng = torch.Generator().manual_seed(seed)
    ws, own = generator.sample(count, rng, TYPICAL), generator.sample(OWN, rng)
    precision = torch.linalg.inv(moment.detach().cpu().double())
    limit = usual_distance(own, generator.w_avg, precision)
    readings = [attribute.to(ws) for attribute in (attributes or {}).values()]
    stacked = torch.stack(readings, dim=1) if readings else ws.new_zeros(generator.w_dim, 0)
    return Strangers(ws, precision, limit, stacked)


def natural_target(w_u: Tensor, generator: Generator, embedder: Embedder, strangers: Strangers) -> Tensor:
    """The target [1, rows, w_dim] nearest to the person w_u that is somebody else, and likely.

    The way goes from the person to the nearest of the strangers whom the embedder finds far, the farthest eighth, and
    ends where the embedder finds the face as far as these, maybe before the stranger is reached. A short way keeps what
    is no identity, apparent age and sex among it, and moves other people little. The way begins at the mean of the
    person's rows, in W: what an inversion has woven into a picture is left behind.

    >>> strangers = draw_strangers(generator, torch.eye(generator.w_dim), count=16)
    >>> w_t = natural_target(w_u, generator, embedder, strangers)
    >>> person, target = (embedder.embed(generator.picture(w)) for w in (w_u, w_t))
    >>> everybody, _ = strangers.seen(strangers.like(w_u), generator, embedder)
    >>> (person * target).sum() < (everybody @ person[0]).median()
    tensor(True)
    """
    start, person = _in_w(w_u, generator), _look(generator, embedder, w_u)[0]
    alike = strangers.like(start)
    cosines = strangers.seen(alike, generator, embedder)[0] @ person[0]
    bound = cosines.quantile(FAR)
    far = strangers.ws[alike][cosines <= bound]
    far = far[_kept(strangers, far, generator)]
    nearest = far[_lengths(far, w_u, generator).argsort()[:NEAREST]]
    points = torch.cat([torch.lerp(start, nearest, share) for share in SHARES])
    return _nearest_beyond(points, w_u, person, bound, generator, embedder, strangers)


def midway_target(w_u: Tensor, generator: Generator, embedder: Embedder, strangers: Strangers) -> Tensor:
    """The target [1, rows, w_dim] for a photo: half of the way to it must make somebody else of the person w_u.

    The edit in closed form reads other photos of the person in part, a half or so, and takes them that part of the way.
    So the way leads toward one of the strangers alike, and on until a face is hardly likely; taken is the one on which
    the embedder recognises the person least, at half of it and at its end taken together. A woven end is no face.

    >>> strangers = draw_strangers(generator, torch.eye(generator.w_dim), count=16)
    >>> w_t = midway_target(w_u, generator, embedder, strangers)
    >>> person, half = (embedder.embed(generator.picture(w)) for w in (w_u, torch.lerp(w_u, w_t, 0.5)))
    >>> (person * half).sum() < 0.9
    tensor(True)
    """
    start, person = _in_w(w_u, generator), _look(generator, embedder, w_u)[0]
    alike = strangers.like(start)
    ends = strangers.edge(start, strangers.ws[alike], generator.w_avg)
    woven = strangers.seen(alike, generator, embedder)[1].quantile(LIKELY)
    partly = w_u + PART * (ends - start)  # what the inversion put into the rows stays, as in another photo
    (half, _), (full, weaves) = (_look(generator, embedder, ws) for ws in (partly, ends))
    likeness = (half + full) @ person[0] + WORSE * (weaves > woven)
    return ends[likeness.argmin()][None]


def searched_ufo_target(w_u: Tensor, generator: Generator, embedder: Embedder, strangers: Strangers) -> Tensor:
    """The nearest point of UFO's line, d from 0 to 30, that is likely and as far as `natural_target` asks for."""
    person, _ = _look(generator, embedder, w_u)
    everybody, _ = strangers.seen(list(range(len(strangers.ws))), generator, embedder)
    bound = (everybody @ person[0]).quantile(FAR)
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
    cosines = _look(generator, embedder, points)[0] @ person[0]
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
def _look(generator: Generator, embedder: Embedder, ws: Tensor) -> tuple[Tensor, Tensor]:
    """Identities [N, E] and weaves [N] of the pictures of ws [N, rows, w_dim]."""
    pictures = (generator.picture(few) for few in ws.split(AT_ONCE))
    identities, weaves = zip(*((embedder.embed(few), weave(few)) for few in pictures), strict=True)
    return torch.cat(identities), torch.cat(weaves)
