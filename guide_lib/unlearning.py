"""The unlearning loop: an iterator of steps that can be stopped, killed and resumed.

>>> settings = UnlearningSettings(steps=3, learning_rate=1e-2)
>>> for step in unlearn(generator, w_u, w_t, settings, perceptual=perceptual, embedder=embedder):
...     print(step.index, f"{step.losses['local']:.2f}")
1 3.61
2 3.38
3 3.18
>>> forgetful = step.student
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

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
from guide_lib.runtime import MAX_SEED, computes_bfloat16, mixed_precision, step_rng
from guide_lib.variants import start_training


@dataclass(frozen=True)
class UnlearningSettings:
    """Everything that decides the result of a run, with the paper's defaults.

    steps, learning_rate: how many steps of Adam, and its rate at the start.
    style_rate: how many times faster the style layers (the linear maps from w to the styles of a layer) learn than
    the convolutions; the paper has one rate. A style layer can change what it does at w_u and little elsewhere,
    a convolution is everybody's.
    walk: over this share of the steps the target walks from w_u to w_t in a straight line, 0 starts at w_t as the
    paper does. Few steps can follow a face that turns into another one little by little; they cannot jump.
    decay: let the learning rate fall to 0 along a cosine once the target has arrived; the paper keeps it constant.
    trained: what learns: "weights" as in the paper, "styles", "lora" or "adapters" (see `guide_lib.variants`).
    mixed_precision: compute pictures and LPIPS in bfloat16; weights, latents, embeddings and losses stay in single.
    n_adjacent, n_global: latents drawn at each step for the adjacency loss and the global one, N_a and N_g.
    alpha_max: the adjacency loss looks up to this far from w_u, in the paper's scale (`guide_lib.targets`).
    weight_local, weight_adjacency, weight_global: factors of the losses; 0 switches one off and saves its passes.
    distance: the factors inside the distance D.
    seed: of all random draws, from 0 to 2^32 - 1.

    >>> UnlearningSettings(steps=0)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: A run takes at least one step, not 0.
    """

    steps: int = 1000
    learning_rate: float = 1e-4
    style_rate: float = 1.0
    walk: float = 0.0
    decay: bool = False
    trained: str = "weights"
    mixed_precision: bool = False
    n_adjacent: int = 2
    n_global: int = 2
    alpha_max: float = 15.0
    weight_local: float = 1.0
    weight_adjacency: float = 1.0
    weight_global: float = 1.0
    distance: DistanceWeights = field(default_factory=DistanceWeights)
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises GuideError for a number that no run can have."""
        if self.steps < 1:
            raise GuideError(f"A run takes at least one step, not {self.steps}.")
        if not 0 < self.learning_rate < math.inf:
            raise GuideError(f"The learning rate is a positive number, not {self.learning_rate:g}.")
        if not 0 <= self.seed < MAX_SEED:
            raise GuideError(f"The seed is a whole number from 0 to {MAX_SEED - 1}, not {self.seed}.")

    @classmethod
    def paper(cls, **changes: object) -> UnlearningSettings:
        """The published settings: 1000 steps of Adam at 1e-4; `changes` by field name, here and below.

        >>> UnlearningSettings.paper(n_global=4).n_global
        4
        """
        return replace(cls(), **changes)

    @classmethod
    def fast(cls, device: torch.device | None = None, **changes: object) -> UnlearningSettings:
        """For a laptop CPU: 140 steps in which the target walks, the style layers learn most of it, the rate decays.

        So short a run leaves the global loss little time to bring the others back, so it weighs eight times as much.
        Precision is mixed if `device` is given and is faster so.

        >>> s = UnlearningSettings.fast(seed=3)
        >>> s.steps, s.style_rate, s.weight_global, s.seed
        (140, 33.0, 8.0, 3)
        """
        quick = cls(steps=140, learning_rate=3e-5, style_rate=33.0, walk=0.6, decay=True, weight_global=8.0)
        mixed = device is not None and computes_bfloat16(device)
        return replace(quick, **{"mixed_precision": mixed} | changes)

    @classmethod
    def styles(cls, device: torch.device | None = None, **changes: object) -> UnlearningSettings:
        """The demo's: as `fast`, but the style layers alone learn: steps are a tenth faster, and 100 are enough."""
        return cls.fast(device, **{"steps": 100, "learning_rate": 4e-5, "trained": "styles"} | changes)

    def rate(self, index: int) -> float:
        """The learning rate of step `index`, counted from 1.

        >>> s = UnlearningSettings(steps=10, learning_rate=1.0, walk=0.5, decay=True)
        >>> [round(s.rate(index), 2) for index in range(1, 11)]                       # falls once the target is there
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.65, 0.35, 0.1]
        """
        arrival = self.walk * self.steps
        share = max(0.0, (index - 1 - arrival) / max(self.steps - arrival, 1)) if self.decay else 0.0
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def position(self, index: int) -> float:
        """Where the target of step `index`, counted from 1, stands between w_u (0) and w_t (1).

        >>> [UnlearningSettings(steps=10, walk=0.5).position(index) for index in (1, 2, 5, 10)]
        [0.2, 0.4, 1.0, 1.0]
        """
        return min(1.0, index / (self.walk * self.steps)) if self.walk else 1.0

    def local_only(self) -> UnlearningSettings:
        """The paper's baseline: the local loss alone (used with `average_target`).

        >>> s = UnlearningSettings.paper().local_only()
        >>> s.weight_local, s.weight_adjacency, s.weight_global
        (1.0, 0.0, 0.0)
        """
        return replace(self, weight_adjacency=0.0, weight_global=0.0)


@dataclass(frozen=True)
class Step:
    """One finished step.

    index, total: its number, counted from 1, and that of the last. losses: local, adjacency, global (unweighted), and
    total. seconds: what it took. student: G_u after it; every step has the same, further trained.
    """

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

    >>> run = {"perceptual": perceptual, "embedder": embedder, "checkpoint": tmp_path / "run.safetensors"}
    >>> steps = unlearn(generator, w_u, w_t, UnlearningSettings(steps=4), **run)
    >>> next(steps).index, next(steps).index
    (1, 2)
    >>> steps.close()                                     # an interrupt: the state is written
    >>> [step.index for step in unlearn(generator, w_u, w_t, UnlearningSettings(steps=4), **run)]
    [2, 3, 4]
    """
    settings = settings or UnlearningSettings()
    training = start_training(settings.trained, generator, step_rng(settings.seed, 0))  # the steps count from 1
    student, parameters = training.student, training.parameters
    optimizer = _adam(student, parameters, settings)
    objective = _Objective(generator, w_u, w_t, settings, Distance(perceptual, embedder, settings.distance))
    # every weight is read for it, and only a file needs it
    fingerprint = run_fingerprint(settings, w_u, w_t, generator, perceptual, embedder) if checkpoint is not None else ""
    done, losses = 0, {}
    if checkpoint is not None and checkpoint.exists():
        done, losses = load_checkpoint(checkpoint, fingerprint, parameters, optimizer)
        training.apply()
        yield Step(done, settings.steps, losses, 0.0, student)
    saved, torn = done, False  # torn: an interrupt in the middle of Adam's step leaves weights that belong to no step
    try:
        for index in range(done + 1, settings.steps + 1):
            started = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(index) * group["speed"]
            losses = objective.backward(student, index)
            if not math.isfinite(losses["total"]):
                raise GuideError(
                    f"The loss became {losses['total']} at step {index}; try a smaller learning rate than "
                    f"{settings.learning_rate:g}. The weights of step {done} are kept."
                )
            training.collect()
            torn = True
            optimizer.step()
            training.apply()
            done, torn = index, False
            if checkpoint is not None and index % checkpoint_every == 0:
                save_checkpoint(checkpoint, fingerprint, done, losses, parameters, optimizer)
                saved = done
            yield Step(index, settings.steps, losses, time.perf_counter() - started, student)
    finally:
        if checkpoint is not None and done > saved and not torn:
            save_checkpoint(checkpoint, fingerprint, done, losses, parameters, optimizer)


def _adam(student: Generator, parameters: Mapping[str, nn.Parameter], settings: UnlearningSettings) -> torch.optim.Adam:
    """Adam over what learns, in two groups: the style layers and the others."""
    styles, others = [], []
    for name, parameter in parameters.items():
        (styles if student.is_style(name) else others).append(parameter)
    groups = [{"params": others, "speed": 1.0}, {"params": styles, "speed": settings.style_rate}]
    return torch.optim.Adam(groups, lr=settings.learning_rate)


class _Objective:
    """The sum of the three losses for one person, with gradients accumulated term by term.

    One backward pass for each term gives the same gradient as one for the sum and needs a third of the memory.
    """

    def __init__(
        self, teacher: Generator, w_u: Tensor, w_t: Tensor, settings: UnlearningSettings, distance: Distance
    ) -> None:
        self.teacher, self.w_u, self.w_t, self.settings, self.distance = teacher, w_u, w_t, settings, distance
        self._target: tuple[View, float, Observation] | None = None

    def target(self, view: View, position: float) -> Observation:
        """The teacher's picture of the target; kept while camera and target stay: a flat generator draws w_t once."""
        if self._target is None or self._target[:2] != (view, position):
            w_t = torch.lerp(self.w_u, self.w_t, position)
            self._target = view, position, observe_teacher(self.teacher, w_t, view, self.distance)
        return self._target[2]

    def local(self, student: Generator, view: View, position: float) -> Tensor:
        return local_loss(student, self.w_u, self.target(view, position), view, self.distance)

    def terms(self, student: Generator, index: int) -> Iterator[tuple[str, float, Callable[[], Tensor]]]:
        """(name, weight, what computes the loss) of each loss that counts, a few latents at a time: a loss is a sum.

        All draws come first: no switch changes another's draw.
        """
        s, teacher = self.settings, self.teacher
        rng, position = step_rng(s.seed, index), s.position(index)
        view = teacher.sample_views(1, rng)[0]
        neighbours, others = teacher.sample(s.n_adjacent, rng), teacher.sample(s.n_global, rng)
        alpha = (torch.rand(s.n_adjacent, generator=rng) * s.alpha_max).to(self.w_u.device, teacher.offset_dtype)
        if s.weight_local:
            yield "local", s.weight_local, partial(self.local, student, view, position)
        if s.weight_adjacency and s.n_adjacent:
            w_t = torch.lerp(self.w_u, self.w_t, position)
            for delta in adjacency_offsets(self.w_u, neighbours, alpha).split(teacher.drawn_at_once):
                loss = partial(adjacency_loss, student, teacher, self.w_u, w_t, delta, view, self.distance)
                yield "adjacency", s.weight_adjacency, loss
        if s.weight_global and s.n_global:
            for ws in others.split(teacher.drawn_at_once):
                loss = partial(preservation_loss, student, teacher, ws, view, self.distance.perceptual)
                yield "global", s.weight_global, loss

    def backward(self, student: Generator, index: int) -> dict[str, float]:
        """Add every term's gradient to the student's parameters; returns the losses."""
        losses = {"local": 0.0, "adjacency": 0.0, "global": 0.0, "total": 0.0}
        for name, weight, compute in self.terms(student, index):
            with mixed_precision(self.w_u.device, self.settings.mixed_precision):
                loss = compute()
            (weight * loss).backward()
            losses[name] += loss.item()
            losses["total"] += weight * loss.item()
        return losses
