"""EG3D at the size of EG3D-FFHQ-512 with random weights: time and memory of a picture and of a step.

    python benchmarks/eg3d_full_size.py                      # twenty minutes and 13 GB on two CPU cores
    python benchmarks/eg3d_full_size.py "mixed step"         # some lines anew, the others stay as they are

Each line is measured in a process of its own, since a process never gives its peak memory back. Speed and memory do
not depend on the weights. The naive steps are those of `benchmarks/naive.py`, which holds the graph of the whole step;
they take 12 GiB. Writes data/results/eg3d-full-size.json.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import torch
from machine import peak_mib, start_with_default_allocator
from naive import unlearn_naively
from torch import nn

from guide_lib.generators import View, as_released
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.perception import load_embedder, load_lpips
from guide_lib.runtime import keep_freed_memory
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn

RESULT = Path(__file__).resolve().parents[1] / "data" / "results" / "eg3d-full-size.json"


def generator() -> EG3D:
    return EG3D.random(EG3DConfig(), torch.Generator().manual_seed(0))


def picture() -> dict[str, object]:
    """One 512 px picture without gradients; freed memory is given back, since this line is about memory."""
    network = generator()
    ws = network.sample(1, torch.Generator().manual_seed(1))
    started = time.perf_counter(), time.process_time()
    with torch.no_grad():
        image = network.picture(ws, View(yaw=10))
    return taken(started) | {"picture": list(image.shape[1:])}


def step(released: bool = False, mixed: bool = False) -> dict[str, object]:
    """One step of the method: LPIPS with VGG-16, three losses, Adam. mixed: in bfloat16 where the library does so."""
    keep_freed_memory()
    teacher = as_released(generator()) if released else generator()
    networks: dict[str, nn.Module] = {"perceptual": load_lpips("vgg"), "embedder": load_embedder()}
    before = fingerprints(teacher)
    w_u = teacher.sample(1, torch.Generator().manual_seed(1))
    settings = UnlearningSettings.paper(steps=1, mixed_precision=mixed)
    run = unlearn(teacher, w_u, ufo_target(w_u, teacher.w_avg), settings, **networks)
    started = time.perf_counter(), time.process_time()
    done = next(run)
    costs = taken(started)
    trained = [p for p in done.student.parameters() if p.requires_grad]
    after = fingerprints(done.student)
    frozen = set(before) - set(teacher.trainable_parameters())
    return costs | {
        "losses": done.losses,
        "trained_parameters": sum(p.numel() for p in trained),
        "everything_else_unchanged": all(before[name] == after[name] for name in frozen),
    }


def naive_step(keeps_memory: bool) -> dict[str, object]:
    """The same step as `step` by the loop as it is stated: one latent at a time, nothing kept, one way back."""
    if keeps_memory:
        keep_freed_memory()
    teacher = generator()
    w_u = teacher.sample(1, torch.Generator().manual_seed(1))
    networks = {"perceptual": load_lpips("vgg"), "embedder": load_embedder()}
    run = unlearn_naively(teacher, w_u, ufo_target(w_u, teacher.w_avg), UnlearningSettings.paper(steps=1), **networks)
    started = time.perf_counter(), time.process_time()
    return {"losses": next(run).losses} | taken(started)


def fingerprints(network: nn.Module) -> dict[str, str]:
    """A checksum of each tensor: a copy would count as memory of the step."""
    return {name: sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in network.state_dict().items()}


def taken(started: tuple[float, float]) -> dict[str, float]:
    """Seconds since then, by the clock and by the processor, and the peak memory of this process."""
    clock, processor = time.perf_counter() - started[0], time.process_time() - started[1]
    return {"seconds": round(clock, 1), "cpu_seconds": round(processor, 1), "peak_gib": round(peak_mib() / 1024, 2)}


MEASURES = {
    "picture": picture,
    "clean step": step,
    "paper step": lambda: step(released=True),
    "mixed step": lambda: step(mixed=True),
    "naive loop": lambda: naive_step(keeps_memory=False),
    "naive loop, same allocator": lambda: naive_step(keeps_memory=True),
}


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(MEASURES[sys.argv[2]]()))
        return
    start_with_default_allocator()
    before = json.loads(RESULT.read_text(encoding="utf-8")) if sys.argv[1:] else {}
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__, "machine": platform.machine()}
    if any(before.get(key, value) != value for key, value in machine.items()):
        sys.exit("error: the other lines were measured with another torch or on another machine; measure all of them.")
    result: dict[str, object] = before | {"weights": "random", "device": "cpu"} | machine
    for name in sys.argv[1:] or MEASURES:
        done = subprocess.run([sys.executable, __file__, "--here", name], check=True, stdout=subprocess.PIPE, text=True)
        result[name] = json.loads(done.stdout.splitlines()[-1])
        print(f"{name}: {result[name]}", flush=True)
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
