"""Everything about one GPU: a dictionary, the file that keeps it, and one table to look at.

>>> from guide_lib.gpu.trials import tried
>>> result = {"facts": {"card": "Some card"}, "trials": {"float16": "works"}, "parity": [], "spread": {}, "speed": []}
>>> print(table(result))
card                              Some card
try: float16                      works
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from guide_lib.assets.doctor import card
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, load_networks
from guide_lib.files import write_json
from guide_lib.gpu.parity import answers, compared, one_step
from guide_lib.gpu.speed import measured, spread
from guide_lib.gpu.trials import tried
from guide_lib.runtime import half_type, pick_device

Load = Callable[[torch.device], Networks]


def load_default(device: torch.device) -> Networks:
    """The demo's networks."""
    return load_networks(device=device)


def examine(device: torch.device, load: Load = load_default, repeats: int = 20) -> dict[str, Any]:
    """Try operations, compare with the CPU, repeat a step, take times.

    load: makes the networks on a device. repeats: of what is timed. The result has facts (of card and software),
    trials, parity, spread and speed; `guide_lib.gpu.parity` and its neighbours say what is in each.
    """
    here, there = load(torch.device("cpu")), load(device)
    expected, parity = answers(here), []
    for how in ("single", "TF32") if device.type == "cuda" else ("single",):
        with _tf32(how == "TF32"):
            parity += compared(answers(there), expected, how)
    parity += compared(one_step(there, mixed=True), expected, "mixed")
    times = {"spread": spread(there), "speed": measured(there, repeats)}
    return {"facts": facts(device), "trials": tried(device), "parity": parity} | times


def facts(device: torch.device) -> dict[str, str]:
    """What the card is, and the software on it."""
    known = {
        "card": card(device),
        "half precision": str(half_type(device)).removeprefix("torch."),
        "torch": torch.__version__,
        "system": f"Python {platform.python_version()} on {platform.platform(terse=True)}",
    }
    if device.type == "cuda":
        known |= {"CUDA": str(torch.version.cuda), "cuDNN": str(torch.backends.cudnn.version())}
        known["kernels for"] = " ".join(torch.cuda.get_arch_list())
    return known


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Let NVIDIA's convolutions keep ten bits of each number, or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def table(result: dict[str, Any]) -> str:
    """One line for each thing, with what is allowed and a verdict where there is one."""
    rows = [(name, value) for name, value in result["facts"].items()]
    rows += [(f"try: {name}", verdict) for name, verdict in result["trials"].items()]
    for row in result["parity"]:
        verdict = f"at most {row['allowed']:g}: {'pass' if row['passed'] else 'FAIL'}"
        rows.append((f"{row['what']}, {row['precision']}", f"{row['difference']:.1e}  {verdict}"))
    rows += [(f"one step three times: {what}", f"{apart:.1e}") for what, apart in result["spread"].items()]
    rows += [(row["what"], f"{row['seconds']:.4f} s, {row['peak_mib']:,.0f} MiB") for row in result["speed"]]
    return "\n".join(f"{name:32}  {value}" for name, value in rows)


def write_examination(path: Path, load: Load = load_default, repeats: int = 20) -> str:
    """Examine the best GPU, and write what was found as JSON; returns the table.

    Raises:
        GuideError: there is no GPU that works, or the file cannot be written.
    """
    device = pick_device()
    if device.type == "cpu":
        raise GuideError("No GPU that works is on this machine; `guide doctor` says what PyTorch sees.")
    result = examine(device, load, repeats)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result)
    except OSError as error:
        raise GuideError(f"Cannot write {path} ({error.strerror}); name another file after --gpu.") from error
    return f"{table(result)}\nwrote {path}"
