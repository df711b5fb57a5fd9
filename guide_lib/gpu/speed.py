"""Seconds and memory of what runs consist of, and how far one step falls from itself when it is repeated."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import combinations

import torch

from guide_lib.experiment import Networks
from guide_lib.gpu.parity import one_step
from guide_lib.inversion.optimise import InversionSettings, inversion_steps
from guide_lib.runtime import synchronise
from guide_lib.targets import ufo_target
from guide_lib.unlearning import Step, UnlearningSettings, unlearn

PICTURES = 8  # that the judge looks at
ENDLESS = 1_000_000  # steps: nobody takes them all


def measured(networks: Networks, repeats: int = 20) -> list[dict[str, object]]:
    """A row for each kind of work: seconds (median of `repeats`), and MiB at most.

    >>> [row["what"] for row in measured(networks, repeats=1)]
    ['step, single', 'step, mixed', 'inversion step', 'judge, 8 pictures']
    """
    generator, device = networks.generator, networks.generator.w_avg.device
    ws = generator.sample(PICTURES, torch.Generator().manual_seed(3))
    with torch.no_grad():
        pictures = torch.cat([generator.picture(few) for few in ws.split(1)])
    known = {"perceptual": networks.perceptual, "embedder": networks.embedder}
    inversion = inversion_steps(generator, pictures[:1], InversionSettings(0, ENDLESS), **known)
    works: dict[str, Callable[[], object]] = {
        "step, single": _steps(networks, mixed=False).__next__,
        "step, mixed": _steps(networks, mixed=True).__next__,
        "inversion step": inversion.__next__,
        f"judge, {PICTURES} pictures": torch.no_grad()(lambda: networks.judge.embed(pictures)),
    }
    return [{"what": what} | _timed(work, device, repeats) for what, work in works.items()]


def _steps(networks: Networks, mixed: bool) -> Iterator[Step]:
    """A run of the paper's settings."""
    generator = networks.generator
    w_u = generator.sample(1, torch.Generator().manual_seed(4))
    settings = UnlearningSettings(steps=ENDLESS, mixed_precision=mixed)
    known = {"perceptual": networks.perceptual, "embedder": networks.embedder}
    return unlearn(generator, w_u, ufo_target(w_u, generator.w_avg), settings, **known)


def _timed(work: Callable[[], object], device: torch.device, repeats: int) -> dict[str, float]:
    """After two calls that warm up: kernels are chosen at the first, memory is laid out at the second."""
    _forget_memory(device)
    seconds = [_seconds(work, device) for _ in range(2 + repeats)][2:]
    return {"seconds": statistics.median(seconds), "peak_mib": _peak_bytes(device) / 2**20}


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def _forget_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "mps":
        torch.mps.empty_cache()


def _peak_bytes(device: torch.device) -> int:
    """The most that tensors took on a card; on Apple's GPU what PyTorch holds, which it seldom gives back."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return torch.mps.driver_allocated_memory() if device.type == "mps" else 0


def spread(networks: Networks, times: int = 3) -> dict[str, float]:
    """The largest relative difference between repetitions of one step, of its loss and of its gradient.

    >>> spread(networks)
    {'loss': 0.0, 'gradient': 0.0}
    """
    repeated = [one_step(networks) for _ in range(times)]
    pairs = [zip(a.values(), b.values(), strict=True) for a, b in combinations(repeated, 2)]
    apart = [[((x - y).norm() / y.norm()).item() for x, y in pair] for pair in pairs]
    return dict(zip(("loss", "gradient"), map(max, zip(*apart, strict=True)), strict=True))
