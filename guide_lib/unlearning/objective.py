"""What one step minimises: the three losses at the latents that the step draws, and their gradient.

>>> settings = UnlearningSettings(learning_rate=1e-2)
>>> objective = Objective(generator, w_u, w_t, settings, Distance(perceptual, embedder))
>>> {name: round(loss, 2) for name, loss in objective.backward(generator.student(), index=1).items()}
{'local': 3.61, 'adjacency': 4.65, 'global': 0.0, 'total': 8.26}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from guide_lib.generators import Generator, View
from guide_lib.losses import (
    Distance,
    Observation,
    adjacency_loss,
    adjacency_offsets,
    joint_distances,
    local_loss,
    observe_teacher,
    preservation_loss,
)
from guide_lib.runtime import device_memory, mixed_precision, step_rng
from guide_lib.unlearning.settings import UnlearningSettings

Losses = dict[str, Tensor]
BYTES_PER_PIXEL = 6_000  # of a latent's picture in one pass with gradients, all networks; see docs/speed.md


@dataclass(frozen=True)
class Draw:
    """What a step looks at.

    view: the camera that all share. place: whose turn it is, and where the target stands between w_u (0) and w_t (1).
    w_u, w_t: [1, rows, w_dim], the latent of that turn and the point that the target has reached. delta:
    [N_a, rows, w_dim], offsets toward neighbours; others: [N_g, rows, w_dim], people to be kept. Either is empty where
    its loss is switched off.
    """

    view: View
    place: tuple[int, float]
    w_u: Tensor
    w_t: Tensor
    delta: Tensor
    others: Tensor


def fits_one_pass(generator: Generator, settings: UnlearningSettings) -> bool:
    """Whether a GPU's memory holds the graph of a whole step. A CPU gains nothing from one pass, so there it is False.

    >>> fits_one_pass(generator, UnlearningSettings())
    False
    """
    count = 1 + settings.n_adjacent + settings.n_global
    needed = count * generator.resolution**2 * BYTES_PER_PIXEL
    return count <= generator.drawn_at_once and needed <= device_memory(generator.w_avg.device) / 2


class Objective:
    """The sum of the three losses for one person, of whom K latents w_u [K, rows, w_dim] take turns.

    Term by term, one backward pass for each gives the same gradient as one for the sum and needs a third of the
    memory. In one pass of each network there are half as many operations, for which a GPU waits less.
    """

    def __init__(
        self,
        teacher: Generator,
        w_u: Tensor,
        w_t: Tensor,
        settings: UnlearningSettings,
        distance: Distance,
        one_pass: bool = False,
    ) -> None:
        self.teacher, self.w_u, self.w_t, self.settings, self.distance = teacher, w_u, w_t, settings, distance
        self.one_pass = one_pass
        self._target: tuple[View, tuple[int, float], Observation] | None = None

    def draw(self, index: int) -> Draw:
        """The draws of step `index`. No switch changes another's draw."""
        s, teacher = self.settings, self.teacher
        turn, position = (index - 1) % len(self.w_u), s.position(index)
        shared = len(self.w_t) == 1  # all turns have one target
        w_u, w_t = self.w_u[turn : turn + 1], self.w_t if shared else self.w_t[turn : turn + 1]
        place = (0 if position == 1 and shared else turn), position
        rng = step_rng(s.seed, index)
        view = teacher.sample_views(1, rng)[0]
        neighbours, others = teacher.sample(s.n_adjacent, rng), teacher.sample(s.n_global, rng)
        alpha = (torch.rand(s.n_adjacent, generator=rng) * s.alpha_max).to(self.w_u.device, teacher.offset_dtype)
        delta = adjacency_offsets(w_u, neighbours, alpha)
        delta, others = (
            x if weight else x[:0] for x, weight in ((delta, s.weight_adjacency), (others, s.weight_global))
        )
        return Draw(view, place, w_u, torch.lerp(w_u, w_t, position), delta, others)

    def target(self, draw: Draw) -> Observation:
        """The teacher's picture of the target; kept while camera and target stay: a flat generator draws w_t once."""
        if self._target is None or self._target[:2] != (draw.view, draw.place):
            seen = observe_teacher(self.teacher, draw.w_t, draw.view, self.distance)
            # compiled code may give the memory of what it drew to its next picture
            self._target = draw.view, draw.place, replace(seen, features=seen.features.clone())
        return self._target[2]

    def local(self, student: Generator, draw: Draw) -> Losses:
        """D(w_u, w_t)."""
        return {"local": local_loss(student, draw.w_u, self.target(draw), draw.view, self.distance)}

    def adjacency(self, student: Generator, draw: Draw, delta: Tensor) -> Losses:
        """The sum over some of the offsets."""
        codes = draw.w_u, draw.w_t, delta
        return {"adjacency": adjacency_loss(student, self.teacher, *codes, draw.view, self.distance)}

    def preservation(self, student: Generator, draw: Draw, ws: Tensor) -> Losses:
        """The sum over some of the other people."""
        return {"global": preservation_loss(student, self.teacher, ws, draw.view, self.distance.perceptual)}

    def together(self, student: Generator, draw: Draw) -> Losses:
        """All of them, from one pass of each network."""
        person = int(self.settings.weight_local != 0)  # how many latents are w_u itself
        starts, ends = (torch.cat([w[:person], w + draw.delta]) for w in (draw.w_u, draw.w_t))
        near, far = joint_distances(student, self.teacher, starts, ends, draw.others, draw.view, self.distance)
        return {"local": near[:person].sum(), "adjacency": near[person:].sum(), "global": far.sum()}

    def passes(self, student: Generator, index: int) -> Iterator[Callable[[], Losses]]:
        """What computes the losses of step `index`, pass by pass; a loss is the sum over its passes."""
        draw, at_once = self.draw(index), self.teacher.drawn_at_once
        if self.one_pass and (self.settings.weight_local or len(draw.delta)):
            yield partial(self.together, student, draw)
            return
        if self.settings.weight_local:
            yield partial(self.local, student, draw)
        for method, latents in ((self.adjacency, draw.delta), (self.preservation, draw.others)):
            for few in latents.split(at_once) if len(latents) else ():
                yield partial(method, student, draw, few)

    def backward(
        self, student: Generator, index: int, scale: Callable[[Tensor], Tensor] = lambda loss: loss
    ) -> dict[str, float]:
        """Add the gradient of step `index` to the student's parameters; returns the losses, unweighted, and total.

        scale: what makes the loss larger before the way back, where small gradients would be lost otherwise.
        """
        s, found = self.settings, []
        weights = {"local": s.weight_local, "adjacency": s.weight_adjacency, "global": s.weight_global}
        for compute in self.passes(student, index):
            with mixed_precision(self.w_u.device, s.mixed_precision):
                losses = compute()
            scale(sum(weights[name] * loss for name, loss in losses.items())).backward()
            found += [(name, loss.detach()) for name, loss in losses.items()]
        values = torch.stack([loss for _, loss in found]).tolist() if found else []  # all that a GPU is waited for
        result = dict.fromkeys((*weights, "total"), 0.0)
        for (name, _), value in zip(found, values, strict=True):
            result[name] += value
            result["total"] += weights[name] * value
        return result
