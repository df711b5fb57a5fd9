"""What a run stands on: device, precision, an allocator that keeps its pages, random numbers that can be repeated."""

from __future__ import annotations

import ctypes
import sys

import torch
import torch.nn.functional as F

from guide_lib.errors import GuideError

MAX_SEED = 2**32  # of a run: `step_rng` makes other seeds of it, which have to fit into 63 bits
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # the names mallopt(3) gives these two options


def pick_device(name: str | None = None) -> torch.device:
    """Return the device called `name`, or the best one present: cuda, then mps, then cpu.

    Raises:
        GuideError: `name` is unknown, or that device is not present on this machine or cannot do what is needed.

    >>> pick_device("cpu")
    device(type='cpu')
    >>> pick_device("tpu")                                # the message ends with those that are there
    Traceback (most recent call last):
    guide_lib.errors.GuideError: There is no device 'tpu' on this machine; choose one of: ...cpu.
    """
    apple = torch.backends.mps.is_available()
    present = {"cuda": torch.cuda.is_available(), "mps": apple and _samples_pictures("mps"), "cpu": True}
    if apple and not present["mps"] and (name or "").startswith("mps"):
        raise GuideError("This PyTorch cannot warp pictures on Apple's GPU; update it, or choose --device cpu.")
    if name is None:
        return torch.device(next(device for device, there in present.items() if there))
    if not present.get(name.split(":")[0], False):
        choices = ", ".join(device for device, there in present.items() if there)
        raise GuideError(f"There is no device '{name}' on this machine; choose one of: {choices}.")
    try:
        return torch.device(name)
    except RuntimeError:
        raise GuideError(f"'{name}' is no device; say, for example, cuda:0.") from None


def _samples_pictures(device: str) -> bool:
    """Whether grid_sample works there, with its gradient: older versions of PyTorch lack it on Apple's GPU."""
    try:
        picture = torch.zeros(1, 1, 2, 2, device=device, requires_grad=True)
        grid = torch.zeros(1, 1, 1, 2, device=device)
        F.grid_sample(picture, grid, padding_mode="border", align_corners=False).sum().backward()
    except RuntimeError:
        return False
    return True


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices in bfloat16 faster than in single precision.

    On a CPU that takes AVX-512 or AMX instructions for it; PyTorch says so from 2.10 on, an older one is not asked.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def mixed_precision(device: torch.device, enabled: bool = True) -> torch.autocast:
    """A context in which convolutions and matrix products are computed in bfloat16, from weights in single precision.

    It keeps 8 of 24 bits of each number in between: enough for a picture, too few for a latent or an embedding,
    which are computed outside (`full_precision`).

    >>> with mixed_precision(torch.device("cpu")):
    ...     print(generator.synthesis(w_u).features.dtype, generator.sample(1, rng).dtype)
    torch.bfloat16 torch.float32
    """
    return torch.autocast(device.type, torch.bfloat16, enabled)


def full_precision(device: torch.device) -> torch.autocast:
    """A context inside `mixed_precision` in which single precision is back."""
    return torch.autocast(device.type, enabled=False)


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed memory instead of returning it to the system; call once at the start.

    Activations above 32 MB are otherwise mapped, zeroed and unmapped at every operation, which more than
    doubles the time of an unlearning step on a CPU. It costs 20 to 30 % more peak memory. Returns False,
    having done nothing, where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def step_rng(seed: int, index: int) -> torch.Generator:
    """The random numbers of one step depend on the seed and the step alone, so a resumed run draws the same.

    >>> [round(torch.rand((), generator=step_rng(seed=0, index=5)).item(), 3) for _ in range(2)]
    [0.83, 0.83]
    """
    return torch.Generator().manual_seed(seed * 1_000_003 + index)
