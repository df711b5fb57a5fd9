"""A GUIDE step of the library against the naive one, on the CPU: time, memory, and how much of the machine it uses.

    python benchmarks/step.py --generator mobilestylegan-ffhq --resolution 256 --repeats 7
    python benchmarks/step.py --generator heads-eg3d
    python benchmarks/step.py --generator eg3d-tiny          # random weights, CPU-seconds of one thread

The sides live in processes of their own, since an allocator is chosen once for a process, and take one step each in
turn, so that a slow minute of the machine slows all of them. All draw with the same generator, and one of them with
the memory format that PyTorch gives it (EG3D has no other). The naive side holds the graph of a whole step: with
eg3d-full that is 12 GiB for each; `--sides` leaves some out, and `eg3d_full_size.py` takes one after another.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from machine import counted_gflop, median_seconds, peak_gflops, peak_mib, resident_mib, start_with_default_allocator
from naive import unlearn_naively
from step_report import report
from torch import Tensor

from guide_lib.generators import Generator, load_generator
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.perception import LPIPS, Embedder, load_embedder, load_lpips
from guide_lib.runtime import computes_bfloat16, keep_freed_memory, mixed_precision
from guide_lib.targets import ufo_target
from guide_lib.unlearning import Step, UnlearningSettings, unlearn

CPU = torch.device("cpu")
TINY = EG3DConfig(z_dim=64, w_dim=64, plane_size=64, channel_base=2048, render_size=16, enlarge_from=16)
RANDOM = {"eg3d-full": EG3DConfig(), "eg3d-tiny": TINY}
FLAT, HEADS = "mobilestylegan-ffhq", "heads-eg3d"


@dataclass(frozen=True)
class Side:
    """One way to compute the same step. plain: the generator keeps PyTorch's own memory format."""

    library: bool = True
    plain: bool = False
    keeps_memory: bool = True
    bfloat16: bool = False


SIDES = {
    "naive-plain": Side(library=False, plain=True, keeps_memory=False),
    "naive": Side(library=False, keeps_memory=False),
    "naive-kept": Side(library=False),
    "library": Side(),
    "library-bfloat16": Side(bfloat16=True),
}


@dataclass(frozen=True)
class Case:
    """What all sides compute. threads: None leaves their number to PyTorch."""

    generator: str
    resolution: int | None
    threads: int | None

    def networks(self) -> tuple[Generator, LPIPS, Embedder]:
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.generator in RANDOM:
            random = EG3D.random(RANDOM[self.generator], torch.Generator().manual_seed(0))
            return random, load_lpips("vgg"), load_embedder()
        generator = load_generator(self.generator, self.resolution)
        return generator, load_lpips(generator.perceptual), load_embedder()

    def steps(self, side: Side) -> Iterator[Step]:
        generator, perceptual, embedder = self.networks()
        if side.plain:
            generator.synthesis_network.memory_format = torch.contiguous_format
        w_u = generator.sample(1, torch.Generator().manual_seed(1))
        settings = UnlearningSettings.paper(mixed_precision=side.bfloat16)
        method = unlearn if side.library else unlearn_naively
        w_t = ufo_target(w_u, generator.w_avg)
        return method(generator, w_u, w_t, settings, perceptual=perceptual, embedder=embedder)


# --- the workers ---


def serve(pipe: Connection, case: Case, side: Side) -> None:
    """The life of a worker: say how large it is before the first step, then answer each request until None comes."""
    if side.keeps_memory:
        keep_freed_memory()
    run = case.steps(side)
    pipe.send(resident_mib())
    while request := pipe.recv():
        pipe.send(counted_gflop(lambda: next(run)) if request == "count" else timed(lambda: next(run)))


def timed(step: Callable[[], Step]) -> dict[str, float]:
    clock, processor = time.perf_counter(), time.process_time()
    loss = step().losses["total"]
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - processor
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak_mib(), "loss": loss}


class Worker:
    """The process of one side, and what it measured."""

    def __init__(self, name: str, case: Case) -> None:
        context = multiprocessing.get_context("spawn")
        self.name, self.taken = name, []
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=serve, args=(there, case, SIDES[name]), daemon=True)
        self.process.start()
        there.close()
        self.before_mib = self.ask(None)

    def ask(self, request: str | None) -> object:
        """Send a request, and wait; None only waits."""
        try:
            if request:
                self.pipe.send(request)
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            sys.exit(f"error: the process of '{self.name}' ended; if memory ran out, leave a side out with --sides.")


def measure_sides(case: Case, names: list[str], repeats: int) -> dict[str, dict[str, object]]:
    """`repeats` rounds, one step of each side in each, after one that warms up; then one step that is only counted."""
    start_with_default_allocator()
    workers = [Worker(name, case) for name in names]
    for _ in range(1 + repeats):
        for worker in workers:
            worker.taken.append(worker.ask("step"))
    sides = {}
    for worker in workers:
        rounds = {key: [step[key] for step in worker.taken[1:]] for key in ("seconds", "cpu_seconds")}
        memory = {"before_mib": worker.before_mib, "peak_mib": worker.taken[-1]["peak_mib"]}
        precision = "bfloat16" if SIDES[worker.name].bfloat16 else "float32"
        work = {"gflop": worker.ask("count"), "precision": precision, "first_loss": worker.taken[0]["loss"]}
        sides[worker.name] = rounds | memory | work
        worker.pipe.send(None)
        worker.process.join()
    return sides


# --- the parts of a step ---


def measure_parts(case: Case, peaks: dict[str, float], repeats: int) -> list[dict[str, object]]:
    """Generator, LPIPS and embedder on one picture, forward alone and with the way back to what a step trains."""
    generator, perceptual, embedder = case.networks()
    student = generator.student()
    w_u = generator.sample(1, torch.Generator().manual_seed(1))
    image = generator.picture(w_u).clone().requires_grad_()
    parts: dict[str, Callable[[], Tensor]] = {
        # what is not to go back is drawn by weights without gradients, or PyTorch's counter fails
        "generator": lambda: (student if torch.is_grad_enabled() else generator).picture(w_u).square().mean(),
        "LPIPS": lambda: sum(features.square().mean() for features in perceptual.features(image)),
        "embedder": lambda: embedder.embed(image)[0, 0],
    }
    rows = []
    for (part, forward), precision, back in product(parts.items(), peaks, (False, True)):
        if part == "embedder" and precision != "float32":
            continue  # it computes in single precision whatever is around it
        work = partial(pass_through, forward, back, precision == "bfloat16")
        seconds, gflop = median_seconds(work, repeats), counted_gflop(work)
        way = "forward and backward" if back else "forward"
        rows.append({"part": f"{part}, {way}", "precision": precision, "seconds": seconds, "gflop": gflop})
    return rows


def pass_through(forward: Callable[[], Tensor], back: bool, bfloat16: bool) -> None:
    with torch.set_grad_enabled(back), mixed_precision(CPU, bfloat16):
        value = forward()
    if back:
        value.backward()


def measure(generator: str, resolution: int | None, names: list[str], repeats: int) -> dict[str, object]:
    """Everything, for `report`."""
    able, random, flat = computes_bfloat16(CPU), generator in RANDOM, generator == FLAT
    names = [name for name in names if (able or not SIDES[name].bfloat16) and (flat or not SIDES[name].plain)]
    case = Case(generator, resolution, threads=1 if random else None)
    sides = measure_sides(case, names, repeats)
    keep_freed_memory()
    if case.threads:
        torch.set_num_threads(case.threads)
    dtypes = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if able else {})
    peaks = {name: peak_gflops(dtype, repeats) for name, dtype in dtypes.items()}
    return {
        "generator": generator,
        "resolution": resolution,
        "repeats": repeats,
        "measure": "cpu_seconds" if random else "seconds",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "sides": sides,
        "peak_gflops": peaks,
        "parts": measure_parts(case, peaks, repeats),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", choices=(FLAT, HEADS, *RANDOM), default=FLAT)
    parser.add_argument("--resolution", type=int, help="in pixels, where the generator offers several")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--out", type=Path, help="a JSON file for all that was measured")
    args = parser.parse_args()
    result = measure(args.generator, args.resolution, args.sides, args.repeats)
    print(report(result))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
