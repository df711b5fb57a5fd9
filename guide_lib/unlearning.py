"""The unlearning loop: an iterator of steps that can be stopped, killed and resumed.

for step in unlearn(generator, w_u, w_t, settings, perceptual=lpips, embedder=embedder):
    print(step.index, step.losses["total"])
forgetful = step.student
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from guide_lib.checkpoint import load_checkpoint, run_fingerprint, save_checkpoint
from guide_lib.errors import GuideError
from guide_lib.generators import Generator, View
from guide_lib.losses import (
    Distance,
    DistanceWeights,
    Observation,
    adjacency_loss,
    adjacency_offsets,
    local_loss,
    observe_teacher,
    preservation_loss,
)
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS


@dataclass(frozen=True)
class UnlearningSettings:
    """Everything that decides the result of a run, with the paper's defaults.

    decay: let the learning rate fall to 0 along a cosine; the paper keeps it constant. alpha_max is in the paper's
    scale (see `guide_lib.targets.scale_to_rows`). A weight of 0 switches a loss off and saves its passes.
    """

    steps: int = 1000
    learning_rate: float = 1e-4
    decay: bool = False
    n_adjacent: int = 2
    n_global: int = 2
    alpha_max: float = 15.0
    weight_local: float = 1.0
    weight_adjacency: float = 1.0
    weight_global: float = 1.0
    distance: DistanceWeights = field(default_factory=DistanceWeights)
    seed: int = 0

    @classmethod
    def paper(cls, **changes: object) -> UnlearningSettings:
        """The published settings: 1000 steps of Adam at 1e-4."""
        return replace(cls(), **changes)

    @classmethod
    def fast(cls, **changes: object) -> UnlearningSettings:
        """For a laptop CPU: 60 steps of twice the rate. So short a run leaves the global loss little time to bring
        the others back, so it weighs three times as much; everything else is as published."""
        return replace(cls(steps=60, learning_rate=2e-4, weight_global=3.0), **changes)

    def rate(self, index: int) -> float:
        """The learning rate of step `index`, counted from 1."""
        share = (index - 1) / self.steps if self.decay else 0.0
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def local_only(self) -> UnlearningSettings:
        """The paper's baseline: the local loss alone (used with `average_target`)."""
        return replace(self, weight_adjacency=0.0, weight_global=0.0)


@dataclass(frozen=True)
class Step:
    """One finished step. `losses` has local, adjacency, global (unweighted) and total; index counts from 1."""

    index: int
    total: int
    losses: dict[str, float]
    seconds: float
    student: Generator


def unlearn(
    generator: Generator,
    w_u: Tensor,
    w_t: Tensor,
    settings: UnlearningSettings | None = None,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
    checkpoint: Path | None = None,
    checkpoint_every: int = 25,
) -> Iterator[Step]:
    """Fine-tune a copy of `generator` so that w_u [1, rows, w_dim] draws what w_t drew; yields after every step.

    With `checkpoint`, the run's whole state is written there every `checkpoint_every` steps, at the end, and when
    the consumer stops early; a run that finds the file continues from it, on a CPU to the same bits. The picture
    of an already finished run is its last step, yielded again.

    Raises:
        GuideError: a loss is not finite (the weights before that step are kept), or the checkpoint belongs to
            another run.
    """
    settings = settings or UnlearningSettings()
    student = generator.student()
    parameters = student.trainable_parameters()
    optimizer = torch.optim.Adam(parameters.values(), lr=settings.learning_rate)
    objective = _Objective(generator, w_u, w_t, settings, Distance(perceptual, embedder, settings.distance))
    fingerprint = run_fingerprint(settings, w_u, w_t, parameters)
    done, losses = 0, {}
    if checkpoint is not None and checkpoint.exists():
        done, losses = load_checkpoint(checkpoint, fingerprint, parameters, optimizer)
        yield Step(done, settings.steps, losses, 0.0, student)
    saved = done
    try:
        for index in range(done + 1, settings.steps + 1):
            started = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(index)
            losses = objective.backward(student, step_rng(settings.seed, index))
            if not math.isfinite(losses["total"]):
                raise GuideError(
                    f"The loss became {losses['total']} at step {index}; try a smaller learning rate than "
                    f"{settings.learning_rate:g}. The weights of step {done} are kept."
                )
            optimizer.step()
            done = index
            if checkpoint is not None and index % checkpoint_every == 0:
                save_checkpoint(checkpoint, fingerprint, done, losses, parameters, optimizer)
                saved = done
            yield Step(index, settings.steps, losses, time.perf_counter() - started, student)
    finally:
        if checkpoint is not None and done > saved:
            save_checkpoint(checkpoint, fingerprint, done, losses, parameters, optimizer)


def step_rng(seed: int, index: int) -> torch.Generator:
    """The random numbers of one step depend on the seed and the step alone, so a resumed run draws the same."""
    return torch.Generator().manual_seed(seed * 1_000_003 + index)


class _Objective:
    """The sum of the three losses for one person, with gradients accumulated term by term.

    One backward pass for each term gives the same gradient as one for the sum and needs a third of the memory.
    """

    def __init__(
        self, teacher: Generator, w_u: Tensor, w_t: Tensor, settings: UnlearningSettings, distance: Distance
    ) -> None:
        self.teacher, self.w_u, self.w_t, self.settings, self.distance = teacher, w_u, w_t, settings, distance
        self._target: tuple[View, Observation] | None = None

    def target(self, view: View) -> Observation:
        """The teacher's picture of w_t; kept while the camera stays, so a flat generator draws it once."""
        if self._target is None or self._target[0] != view:
            self._target = view, observe_teacher(self.teacher, self.w_t, view, self.distance)
        return self._target[1]

    def terms(self, student: Generator, rng: torch.Generator) -> Iterator[tuple[str, float, Tensor]]:
        """(name, weight, loss) of each loss that counts. All draws come first: no switch changes another's draw."""
        s, teacher = self.settings, self.teacher
        view = teacher.sample_views(1, rng)[0]
        neighbours, others = teacher.sample(s.n_adjacent, rng), teacher.sample(s.n_global, rng)
        alpha = (torch.rand(s.n_adjacent, generator=rng) * s.alpha_max).to(self.w_u.device)
        if s.weight_local:
            yield (
                "local",
                s.weight_local,
                local_loss(student, self.w_u, self.target(view), view, self.distance),
            )
        if s.weight_adjacency and s.n_adjacent:
            delta = adjacency_offsets(self.w_u, neighbours, alpha)
            loss = adjacency_loss(student, teacher, self.w_u, self.w_t, delta, view, self.distance)
            yield "adjacency", s.weight_adjacency, loss
        if s.weight_global and s.n_global:
            loss = preservation_loss(student, teacher, others, view, self.distance.perceptual)
            yield "global", s.weight_global, loss

    def backward(self, student: Generator, rng: torch.Generator) -> dict[str, float]:
        """Add every term's gradient to the student's parameters; returns the losses."""
        losses = {"local": 0.0, "adjacency": 0.0, "global": 0.0, "total": 0.0}
        for name, weight, loss in self.terms(student, rng):
            (weight * loss).backward()
            losses[name] = loss.item()
            losses["total"] += weight * losses[name]
        return losses
