"""Four opponents of an unlearned generator G_u, each with what it costs: steps and seconds.

- `reinvert`: another latent that draws the person (in W and in W+)
- `neighbour_curve`: the person at a distance from w_u
- `relearn`: pivotal tuning until the judge accepts the person again
- `fingerprint_alone`, `fingerprint_beside`: which of K latents was erased?

ID asks one latent, the one that unlearning was shown. None of these does. The judge measures and never takes part: an
attacker optimises with the embedder of the loss, as the defender did.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.generators import Generator, View
from guide_lib.inversion.optimise import InversionSettings, inversion_steps
from guide_lib.inversion.pivotal import PivotalSettings, pivotal_tuning
from guide_lib.losses import adjacency_offsets
from guide_lib.metrics.identity import identity_similarity, perceptual_distance, render
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS
from guide_lib.runtime import step_rng

# Added to the seeds: with those of the people themselves an attacker would draw, by accident, whom he looks for.
STREAM = 2_000
PROBE = 2.0  # length of the steps with which a fingerprint feels its way, in the paper's scale


@dataclass(frozen=True)
class Reinversion:
    """What optimisation in one space found.

    space: "W" or "W+". cosines: [starts], judge against the photo. ws: [starts, rows, w_dim], the latents.
    steps, seconds: for all starts.
    """

    space: str
    cosines: Tensor
    ws: Tensor
    steps: int
    seconds: float

    @property
    def best(self) -> float:
        """The attacker looks at what came out and keeps the best."""
        return self.cosines.max().item()


def reinvert(
    student: Generator,
    photo: Tensor,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
    judge: Embedder,
    settings: InversionSettings | None = None,
    starts: int = 4,
    seed: int = 0,
    view: View | None = None,
) -> list[Reinversion]:
    """Search G_u for the person in `photo` [1, 3, S, S], taken from `view`, first over W, then from there over W+.

    The first start is w_avg, the others are mapped samples: a search that begins at the erased latent's side of the
    mean may meet what was moved, one from elsewhere need not.

    >>> known = {"perceptual": perceptual, "embedder": embedder, "judge": judge}
    >>> for found in reinvert(student, photo, settings=InversionSettings(20, 20), starts=2, **known):
    ...     print(found.space, list(found.ws.shape), found.steps)
    W [2, 3, 6] 40
    W+ [2, 3, 6] 40
    """
    rng = step_rng(STREAM + seed, 0)
    codes = torch.cat([student.w_avg, student.sample(starts - 1, rng)]) if starts > 1 else student.w_avg
    photos, views = photo.expand(starts, -1, -1, -1), view and [view] * starts
    last, cost = {}, {}
    networks = {"perceptual": perceptual, "embedder": embedder}
    for step in inversion_steps(student, photos, settings, start=codes, views=views, **networks):
        steps, seconds = cost.get(step.space, (0, 0.0))
        last[step.space], cost[step.space] = step.ws, (steps + starts, seconds + step.seconds)
    found = []
    for space, ws in last.items():
        cosines, _ = identity_similarity(judge, render(student, ws, view), photos.cpu())
        found.append(Reinversion(space, cosines, ws, *cost[space]))
    return found


@dataclass(frozen=True)
class Neighbours:
    """Judge cosines to the person G_s(w_u) at one distance, means over the directions.

    student: of G_u(w_u + delta); generator: of G_s(w_u + delta), what an untouched generator would show there.
    student_max: the worst direction. distance: in the paper's scale.
    """

    distance: float
    student: float
    student_max: float
    generator: float


def neighbour_curve(
    student: Generator,
    generator: Generator,
    w_u: Tensor,
    judge: Embedder,
    *,
    distances: tuple[float, ...] = (0.0, 5.0, 10.0, 15.0, 22.5, 30.0),
    kind: str = "mapped",
    count: int = 6,
    seed: int = 0,
) -> Iterator[Neighbours]:
    """How far from w_u [1, rows, w_dim] the person hides, along `count` directions, the same at every distance.

    kind: "mapped" goes toward other people's codes, as the adjacency loss does; "random" in any direction of W+.

    Raises:
        ValueError: another kind.

    >>> for point in neighbour_curve(student, generator, w_u, judge, distances=(0.0, 5.0)):
    ...     print(f"{point.distance:g}: G_s {point.generator:.1f}, G_u {point.student:.1f}")
    0: G_s 1.0, G_u -0.5
    5: G_s 0.3, G_u -0.5
    """
    rng = step_rng(STREAM + seed, 0)
    if kind == "mapped":
        toward = generator.sample(count, rng)
    elif kind == "random":
        toward = w_u + torch.randn(count, generator.rows, generator.w_dim, generator=rng).to(w_u)
    else:
        raise ValueError(f"kind is 'mapped' or 'random', not {kind!r}")
    person = render(generator, w_u).expand(count, -1, -1, -1)
    for distance in distances:
        ws = w_u + adjacency_offsets(w_u, toward, torch.full((count,), distance).to(w_u))
        after, before = (identity_similarity(judge, render(g, ws), person)[0] for g in (student, generator))
        yield Neighbours(distance, after.mean().item(), after.max().item(), before.mean().item())


@dataclass(frozen=True)
class Relearning:
    """steps: how many the judge needed to accept the person, None when it never did; seconds: spent on tuning.

    curve: (steps done, judge cosine to the photo) at each look.
    """

    steps: int | None
    seconds: float
    curve: list[tuple[int, float]]


def relearn(
    generator: Generator,
    w: Tensor,
    photo: Tensor,
    *,
    perceptual: LPIPS,
    judge: Embedder,
    threshold: float,
    settings: PivotalSettings | None = None,
    look_every: int = 5,
    view: View | None = None,
) -> Relearning:
    """Pivotal tuning of `generator` at w [1, rows, w_dim] until the judge accepts what it draws as `photo`'s person.

    view: the photo's, from the front if left out.

    For G_u at w_u this is the cost of relearning. The comparison is the untouched G_s at the target w_t: it draws there
    what G_u was trained to draw at w_u, and never had this person at that latent. If G_u is quicker from the same
    cosine, it had kept something; look at where both curves start.

    >>> known = {"perceptual": perceptual, "judge": judge, "threshold": 0.9}
    >>> relearn(generator, w_u, photo, **known).steps     # never forgotten
    0
    >>> found = relearn(student, w_u, photo, settings=PivotalSettings(100, 1e-2, threshold=0.0, locality=0.0), **known)
    >>> 0 < found.steps < 100, found.curve[-1][1] >= 0.9
    (True, True)
    """
    curve, seconds = [(0, _cosine(judge, generator, w, photo, view))], 0.0
    if curve[0][1] >= threshold:
        return Relearning(0, seconds, curve)
    settings = settings or PivotalSettings(threshold=0.0, locality=0.0)
    for step in pivotal_tuning(generator, w, photo, settings, perceptual=perceptual, views=view and [view]):
        seconds += step.seconds
        if step.index % look_every == 0 or step.index == step.total:
            curve.append((step.index, _cosine(judge, step.student, w, photo, view)))
            if curve[-1][1] >= threshold:
                return Relearning(step.index, seconds, curve)
    return Relearning(None, seconds, curve)


@dataclass(frozen=True)
class Fingerprint:
    """What an attack suspects; it is right when `rank` of the erased is 0.

    scores: [K], of each candidate; higher is more suspect. seconds: what it took.
    """

    scores: Tensor
    seconds: float

    def rank(self, index: int) -> int:
        """How many others are at least as suspect as candidate `index`: a tie is not a find.

        >>> found = Fingerprint(torch.tensor([0.2, 0.9, 0.9]), seconds=0.1)
        >>> [found.rank(index) for index in range(3)]
        [2, 1, 1]
        """
        return int((self.scores >= self.scores[index]).sum()) - 1


def fingerprint_alone(
    student: Generator, candidates: Tensor, *, perceptual: LPIPS, probes: int = 4, seed: int = 0
) -> Fingerprint:
    """Which of `candidates` [K, rows, w_dim] was erased, from G_u alone: where the picture changes least.

    One might expect a bend around w_u. Six people showed the opposite: with the adjacency loss much the same new face
    is drawn all around it, so short steps toward other people change the picture less there than elsewhere. The score
    is the mean LPIPS of such steps, negated.
    """
    started, rng = time.perf_counter(), step_rng(STREAM + seed, 0)
    toward = student.sample(probes, rng)
    at = render(student, candidates)
    changes = []
    for other in toward.split(1):
        step = adjacency_offsets(candidates, other, torch.full((len(candidates),), PROBE).to(candidates))
        moved = render(student, candidates + step)
        changes.append(perceptual_distance(perceptual, at, moved, candidates.device))
    return Fingerprint(-torch.stack(changes).mean(0), time.perf_counter() - started)


def fingerprint_beside(
    student: Generator, generator: Generator, candidates: Tensor, *, perceptual: LPIPS
) -> Fingerprint:
    """The same with G_s at hand: where the two generators' pictures differ most (LPIPS).

    >>> candidates = torch.cat([generator.sample(7, rng), w_u])
    >>> fingerprint_beside(student, generator, candidates, perceptual=perceptual).rank(7)
    0
    """
    started = time.perf_counter()
    before, after = render(generator, candidates), render(student, candidates)
    scores = perceptual_distance(perceptual, before, after, candidates.device)
    return Fingerprint(scores, time.perf_counter() - started)


def _cosine(judge: Embedder, generator: Generator, w: Tensor, photo: Tensor, view: View | None) -> float:
    return identity_similarity(judge, render(generator, w, view), photo.cpu())[0].item()
