"""Every way from a photo to a latent behind one call: encoder, optimisation, pivotal tuning, and what they share.

>>> stages = invert_by(with_steps("optimise", 2), networks, photo, tmp_path)
>>> {name: list(stage.ws.shape) for name, stage in stages.items()}
{'W': [1, 3, 6], 'W+': [1, 3, 6]}

A method is a place to start, the steps of optimisation and, perhaps, a tuning of the generator. Each leaves its
stages, in order; the last one is its answer.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from guide_lib.checkpoint import load_tensors, networks_digest, save_tensors
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, bar
from guide_lib.generators import Generator, View
from guide_lib.inversion.encoder import Encoder, load_encoder
from guide_lib.inversion.optimise import InversionSettings, inversion_steps, starting_codes
from guide_lib.inversion.pivotal import PivotalSettings, pivotal_tuning
from guide_lib.metrics.identity import Reconstruction, reconstruction
from guide_lib.runtime import synchronise

AT_ONCE = 8  # photos in one batch: bounds the memory
GRID = 1000.0  # weight; at ten times as much the pictures get coarser
TUNED = "tuned/"  # marks the weights of a tuned generator among the tensors on disk


@dataclass(frozen=True)
class Method:
    """Start at the encoder's answer or at the mean latent, optimise, then tune the generator or leave it.

    encoder: start at the encoder's answer. optimisation: 0 steps in both spaces leave that out. tuning: None leaves
    the generator as it is.
    """

    encoder: bool
    optimisation: InversionSettings
    tuning: PivotalSettings | None = None


METHODS = {
    "encoder": Method(True, InversionSettings(steps_w=0, steps_w_plus=0)),
    "refine": Method(True, InversionSettings(steps_w=0, steps_w_plus=50, learning_rate=0.1, grid=GRID)),
    "optimise": Method(False, InversionSettings(grid=GRID)),
    "pivotal": Method(False, InversionSettings(steps_w_plus=0, grid=GRID), PivotalSettings(steps=150)),
}


def with_steps(method: str, steps_w_plus: int) -> Method:
    """A method of `METHODS` with another number of steps in W+. Raises GuideError for an unknown method.

    >>> with_steps("refine", 20).optimisation.steps_w_plus
    20
    >>> with_steps("best", 20)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: There is no inversion method 'best'; choose one of: encoder, refine, optimise, pivotal.
    """
    known = _named(method)
    return replace(known, optimisation=replace(known.optimisation, steps_w_plus=steps_w_plus))


@dataclass(frozen=True)
class Stage:
    """An answer on the way. ws: [N, rows, w_dim]; seconds: for all N photos, since the method began; generator: what
    draws ws, the given one or, after pivotal tuning, a copy tuned to these photos."""

    ws: Tensor
    seconds: float
    generator: Generator


def invert_by(
    method: str | Method,
    networks: Networks,
    photos: Tensor,
    folder: Path,
    encoder: Encoder | None = None,
    views: Sequence[View] | None = None,
) -> dict[str, Stage]:
    """Invert aligned photos [N, 3, S, S] in [-1, 1]: stage ("encoder", "W", "W+", "tuned") -> what was found, in order.

    method: a name in `METHODS`, or a `Method`. folder: keeps the result, so the same photos are not inverted again by
    the same method. encoder: the shipped one unless given. views: the camera of each photo, from the front if left out.
    Pivotal tuning tunes one generator to all the photos.

    Raises:
        GuideError: unknown method; an encoder for another generator; a loss that is not finite.

    >>> stages = invert_by(Method(False, InversionSettings(steps_w=2, steps_w_plus=0)), networks, photo, tmp_path)
    >>> list(stages), len(list(tmp_path.glob("inversion-16-*.safetensors")))
    (['W'], 1)
    """
    method = _named(method)
    if method.encoder:
        encoder = encoder or load_encoder(networks.generator.w_avg.device)
    digest = _digest(method, networks, photos, encoder, views)
    path = folder / f"inversion-{networks.generator.resolution}-{digest}.safetensors"
    if not path.exists():
        _save(path, dict(_stages(method, networks, photos, encoder, views)))
    return _load(path, networks.generator)


def reconstructions(
    networks: Networks, photos: Tensor, stages: dict[str, Stage], views: Sequence[View] | None = None
) -> dict[str, Reconstruction]:
    """Each stage's pictures of the photos [N, 3, S, S] from their `views`, and how close they come.

    >>> stages = {"start": Stage(generator.w_avg, 0.0, generator), "person": Stage(w_u, 0.0, generator)}
    >>> {name: round(r.judge.item(), 2) for name, r in reconstructions(networks, photo, stages).items()}
    {'start': -0.75, 'person': 1.0}
    """
    return {
        name: reconstruction(stage.generator, stage.ws, photos, networks.judge, networks.perceptual, views)
        for name, stage in stages.items()
    }


def _named(method: str | Method) -> Method:
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise GuideError(f"There is no inversion method '{method}'; choose one of: {', '.join(METHODS)}.")
    return METHODS[method]


def _digest(
    method: Method, networks: Networks, photos: Tensor, encoder: Encoder | None, views: Sequence[View] | None
) -> str:
    asked = [networks.generator, networks.perceptual, networks.embedder, *([encoder] if method.encoder else [])]
    facts = repr(method) + networks_digest(*asked) + (repr(list(views)) if views else "")
    return hashlib.sha256(photos.cpu().numpy().tobytes() + facts.encode()).hexdigest()[:16]


def _stages(
    method: Method, networks: Networks, photos: Tensor, encoder: Encoder | None, views: Sequence[View] | None
) -> Iterator[tuple[str, Stage]]:
    generator, seconds = networks.generator, 0.0
    photos = photos.to(generator.w_avg)
    ws = starting_codes(generator, photos)
    if method.encoder:
        ws, seconds = encoded(encoder, generator, photos)
        yield "encoder", Stage(ws, seconds, generator)
    for space, (better, spent) in _optimised(method.optimisation, networks, photos, ws, views).items():
        ws, seconds = better, seconds + spent
        yield space, Stage(ws, seconds, generator)
    if method.tuning:
        student, spent = _tuned(method.tuning, networks, photos, ws, views)
        yield "tuned", Stage(ws.clone(), seconds + spent, student)  # two names on disk, two tensors


@torch.no_grad()
def encoded(encoder: Encoder, generator: Generator, photos: Tensor) -> tuple[Tensor, float]:
    """The encoder's codes [N, rows, w_dim], photo by photo, and the seconds for all.

    Raises:
        GuideError: the encoder's codes have another shape than the generator's.
    """
    if encoder.w_avg.shape != generator.w_avg.shape:
        raise GuideError("The encoder belongs to mobilestylegan-ffhq; invert by 'optimise' with another generator.")
    encoder(photos[:1])  # the first pass of a network sets things up
    synchronise(photos.device)
    begun = time.perf_counter()
    codes = torch.cat([encoder(photo) for photo in photos.split(1)])
    synchronise(photos.device)
    return codes, time.perf_counter() - begun


def _optimised(
    settings: InversionSettings, networks: Networks, photos: Tensor, start: Tensor, views: Sequence[View] | None
) -> dict[str, tuple[Tensor, float]]:
    """The last codes of each space that has steps, and the seconds spent in it; a few photos at a time."""
    found: dict[str, list[Tensor]] = {}
    seconds: dict[str, float] = {}
    known = {"perceptual": networks.perceptual, "embedder": networks.embedder}
    total, last = settings.steps_w + settings.steps_w_plus, {}
    for first in range(0, len(photos), AT_ONCE) if total else ():
        few = slice(first, first + AT_ONCE)
        known |= {"start": start[few], "views": views and views[few]}
        for step in bar(inversion_steps(networks.generator, photos[few], settings, **known), total, "inverting"):
            last[step.space] = step.ws
            seconds[step.space] = seconds.get(step.space, 0.0) + step.seconds
        for space, ws in last.items():
            found.setdefault(space, []).append(ws)
    return {space: (torch.cat(parts), seconds[space]) for space, parts in found.items()}


def _tuned(
    settings: PivotalSettings, networks: Networks, photos: Tensor, ws: Tensor, views: Sequence[View] | None
) -> tuple[Generator, float]:
    seconds = 0.0
    steps = pivotal_tuning(networks.generator, ws, photos, settings, perceptual=networks.perceptual, views=views)
    for step in bar(steps, settings.steps, "tuning"):
        seconds += step.seconds
    return step.student, seconds


def _save(path: Path, stages: dict[str, Stage]) -> None:
    tensors = {name: stage.ws for name, stage in stages.items()}
    if "tuned" in stages:
        weights = stages["tuned"].generator.trainable_parameters()
        tensors |= {TUNED + name: weight for name, weight in weights.items()}
    seconds = {name: stage.seconds for name, stage in stages.items()}
    save_tensors(path, tensors, {"seconds": json.dumps(seconds)})


def _load(path: Path, generator: Generator) -> dict[str, Stage]:
    tensors, metadata = load_tensors(path)
    drawn_by = {name: generator for name in tensors}
    if "tuned" in tensors:
        drawn_by["tuned"] = generator.student()
        with torch.no_grad():
            for name, weight in drawn_by["tuned"].trainable_parameters().items():
                weight.copy_(tensors[TUNED + name])
        drawn_by["tuned"].requires_grad_(False)
    seconds = json.loads(metadata["seconds"])
    return {name: Stage(tensors[name].to(generator.w_avg), s, drawn_by[name]) for name, s in seconds.items()}
