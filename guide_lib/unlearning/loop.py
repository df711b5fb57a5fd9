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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from guide_lib.checkpoint import Run, load_checkpoint, networks_digest, save_checkpoint
from guide_lib.errors import GuideError
from guide_lib.generators import Generator
from guide_lib.losses import Distance
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS
from guide_lib.runtime import half_type, step_rng
from guide_lib.unlearning.objective import Objective, fits_one_pass
from guide_lib.unlearning.settings import UnlearningSettings
from guide_lib.variants import start_training

LOSS_SCALE = 1024.0  # in float16; from 256 to 65,536 the gradient was the same, see docs/speed.md


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
    start: Generator | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
    one_pass: bool | None = None,
) -> Iterator[Step]:
    """Fine-tune a copy of `generator` so that w_u [K, rows, w_dim] draws what w_t [1 or K, ...] drew; yields each step.

    Of several latents of one person, those that a search found, say, each step takes the next.

    With `checkpoint`, the run's whole state is written there once `checkpoint_seconds` have passed since the last time,
    at the end, and when the consumer stops early; a run that finds the file continues from it, on a CPU to the same
    bits. Begun on another device, it goes on with the latents and the precision that it was begun with. The picture of
    an already finished run is its last step, yielded again.

    start: of what a copy is fine-tuned instead, a student that forgot the person in closed form, say; `generator` stays
    the teacher.

    one_pass: draw all latents of a step at once. The loss and its gradient are the same up to rounding, in half as many
    operations and with three times the memory. None: on a GPU with enough memory; a CPU gains nothing.

    Raises:
        GuideError: a loss is not finite (the weights before that step are kept), or the checkpoint belongs to another
            run.

    >>> run = {"perceptual": perceptual, "embedder": embedder, "checkpoint": tmp_path / "run.safetensors"}
    >>> steps = unlearn(generator, w_u, w_t, UnlearningSettings(steps=4), **run)
    >>> next(steps).index, next(steps).index
    (1, 2)
    >>> steps.close()                                     # an interrupt: the state is written
    >>> [step.index for step in unlearn(generator, w_u, w_t, UnlearningSettings(steps=4), **run)]
    [2, 3, 4]
    """
    settings, found, device = settings or UnlearningSettings(), None, generator.w_avg.device
    if checkpoint is not None:  # every weight is read for it
        run = Run(settings, w_u, w_t, networks_digest(*filter(None, (generator, start)), perceptual, embedder))
        found = load_checkpoint(checkpoint, run) if checkpoint.exists() else None
        run = found.run if found else run
        settings, w_u, w_t = run.settings, run.w_u, run.w_t
    rng = step_rng(settings.seed, 0)  # the steps count from 1
    training = start_training(settings.trained, start or generator, rng)
    student, parameters = training.student, training.parameters
    optimizer = _adam(student, parameters, settings)
    scaler = _scaler(settings, device)
    one_pass = fits_one_pass(generator, settings) if one_pass is None else one_pass
    distance = Distance(perceptual, embedder, settings.distance, settings.grid)
    objective = Objective(generator, w_u, w_t, settings, distance, one_pass)
    done, losses = 0, {}
    if found:
        done, losses = found.step, found.losses
        found.restore(parameters, optimizer)
        training.apply()
        yield Step(done, settings.steps, losses, 0.0, student)
    saved, saved_at = done, time.monotonic()
    torn = False  # an interrupt in the middle of Adam's step leaves weights that belong to no step
    try:
        for index in range(done + 1, settings.steps + 1):
            started = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(index) * group["speed"]
            losses = objective.backward(student, index, scaler.scale)
            if not math.isfinite(losses["total"]):
                raise GuideError(
                    f"The loss became {losses['total']} at step {index}; try a smaller learning rate than "
                    f"{settings.learning_rate:g}. The weights of step {done} are kept."
                )
            training.collect()
            torn = True
            scaler.step(optimizer)
            scaler.update()
            training.apply()
            done, torn = index, False
            if checkpoint is not None and time.monotonic() - saved_at >= checkpoint_seconds:
                save_checkpoint(checkpoint, run, done, losses, parameters, optimizer)
                saved, saved_at = done, time.monotonic()
            yield Step(index, settings.steps, losses, time.perf_counter() - started, student)
    finally:
        if checkpoint is not None and done > saved and not torn:
            save_checkpoint(checkpoint, run, done, losses, parameters, optimizer)


def _scaler(settings: UnlearningSettings, device: torch.device) -> torch.amp.GradScaler:
    """What scales gradients in float16, and leaves a step out whose gradients overflow; otherwise it does nothing."""
    needed = settings.mixed_precision and half_type(device) == torch.float16
    return torch.amp.GradScaler(device.type, init_scale=LOSS_SCALE, enabled=needed)


def _adam(student: Generator, parameters: Mapping[str, nn.Parameter], settings: UnlearningSettings) -> torch.optim.Adam:
    """Adam over what learns, in two groups: the style layers and the others."""
    styles, others = [], []
    for name, parameter in parameters.items():
        (styles if student.is_style(name) else others).append(parameter)
    groups = [{"params": others, "speed": 1.0}, {"params": styles, "speed": settings.style_rate}]
    return torch.optim.Adam(groups, lr=settings.learning_rate)
