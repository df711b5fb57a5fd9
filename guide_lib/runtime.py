"""What a run stands on: device, precision, an allocator that keeps its pages, random numbers that can be repeated."""

from __future__ import annotations

import ctypes
import re
import sys
import warnings

import torch
import torch.nn.functional as F

from guide_lib.errors import GuideError

MAX_SEED = 2**32  # of a run: `step_rng` makes other seeds of it, which have to fit into 63 bits
_MEMORY_FULL = ("out of memory", "ALLOC_FAILED", "Invalid buffer size", "DefaultCPUAllocator")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # the names mallopt(3) gives these two options


def pick_device(name: str | None = None) -> torch.device:
    """Return the device called `name`, or the best one that works: cuda, then mps, then cpu.

    Each is tried first (see `trouble_with`). A GPU that is there and fails is passed over with a warning.

    Raises:
        GuideError: `name` is unknown, or that device is not present on this machine or cannot do what is needed.

    >>> pick_device("cpu")
    device(type='cpu')
    >>> pick_device("tpu")                                # the message ends with those that are there
    Traceback (most recent call last):
    guide_lib.errors.GuideError: There is no device 'tpu' on this machine; choose one of: ...cpu.
    """
    present = devices_present()
    if name is None:
        return next(device for device in map(torch.device, present) if _works(device))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if name.split(":")[0] not in present or (device and (device.index or 0) >= _count(device)):
        raise GuideError(f"There is no device '{name}' on this machine; choose one of: {', '.join(present)}.")
    if device is None:
        raise GuideError(f"'{name}' is no device; say, for example, cuda:0.")
    if trouble := trouble_with(device):
        raise GuideError(f"'{name}' is there and does not work ({trouble}); update PyTorch, or choose --device cpu.")
    return device


def devices_present() -> list[str]:
    """The kinds of device that PyTorch sees here, best first; whether they work is another question."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind, present in there.items() if present]


def trouble_with(device: torch.device) -> str | None:
    """Why a device cannot do what every run needs, PyTorch's first sentence; None if it can.

    Asking is no trial: PyTorch sees cards for which it holds no kernels (P100, V100), and older versions cannot warp
    pictures on Apple's GPU. So a convolution is warped (grid_sample), with its gradient.
    """
    try:
        picture = torch.zeros(1, 1, 4, 4, device=device, requires_grad=True)
        grid = torch.zeros(1, 1, 1, 2, device=device)
        seen = F.conv2d(picture, torch.ones(1, 1, 3, 3, device=device))
        F.grid_sample(seen, grid, padding_mode="border", align_corners=False).sum().backward()
        picture.grad.sum().item()  # a GPU says only when it is waited for that it failed
    except (RuntimeError, AssertionError) as error:  # the second: a PyTorch that was built without the device
        return first_sentence(error)
    return None


def first_sentence(error: BaseException) -> str:
    """What PyTorch says first; advice and a trace of its own follow.

    >>> first_sentence(RuntimeError("No kernel image is available. Compile with CUDA_LAUNCH_BLOCKING=1."))
    'No kernel image is available'
    """
    return re.split(r"\.\s|\n", str(error).strip() + "\n")[0]


def _works(device: torch.device) -> bool:
    trouble = trouble_with(device)
    if trouble:
        warnings.warn(f"{device} is there and does not work ({trouble}); it is passed over.", stacklevel=3)
    return trouble is None


def _count(device: torch.device) -> int:
    return torch.cuda.device_count() if device.type == "cuda" else 1


def device_memory(device: torch.device) -> int:
    """How many bytes a GPU may hold; 0 for a CPU, whose memory others use as well."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return torch.mps.recommended_max_memory() if device.type == "mps" else 0


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was told, so that a clock can be read."""
    if device.type != "cpu":
        (torch.cuda if device.type == "cuda" else torch.mps).synchronize()


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory was full, the device's or the machine's.

    PyTorch has a class of its own for a full card; Apple's GPU, NVIDIA's libraries and main memory say it in words.

    >>> ran_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"))
    True
    """
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY_FULL)
    return said or isinstance(error, MemoryError | torch.OutOfMemoryError)


def picture_layout(device: torch.device) -> torch.memory_format:
    """How pictures lie in memory where convolutions read them: channels last, three times as fast on a CPU.

    Not on Apple's GPU, which silently convolved slices of that layout wrongly (PyTorch's issue 180984).

    >>> picture_layout(torch.device("cpu")), picture_layout(torch.device("mps"))
    (torch.channels_last, torch.contiguous_format)
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices in bfloat16 faster than in single precision.

    NVIDIA's do from capability 8.0 on (older ones emulate it, slowly). On a CPU it takes AVX-512 or AMX instructions
    for it; PyTorch says so from 2.10 on, an older one is not asked.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def half_type(device: torch.device) -> torch.dtype:
    """What `mixed_precision` computes in: bfloat16, but float16 on NVIDIA's older cards, which only emulate bfloat16.

    float16 ends at 65,504 and at 6e-8, so its gradients are scaled (`torch.amp.GradScaler`).

    >>> half_type(torch.device("cpu"))
    torch.bfloat16
    """
    emulated = device.type == "cuda" and not computes_bfloat16(device)
    return torch.float16 if emulated else torch.bfloat16


def mixed_precision(device: torch.device, enabled: bool = True) -> torch.autocast:
    """A context in which convolutions and matrix products are computed in `half_type`, from single precision's weights.

    bfloat16 keeps 8 of 24 bits of each number in between: enough for a picture, too few for a latent or an embedding,
    which are computed outside (`full_precision`).

    >>> with mixed_precision(torch.device("cpu")):
    ...     print(generator.synthesis(w_u).features.dtype, generator.sample(1, rng).dtype)
    torch.bfloat16 torch.float32
    """
    return torch.autocast(device.type, half_type(device), enabled)


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
