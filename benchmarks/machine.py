"""What a process takes and what the machine can do: seconds, memory, operations counted, the matrix-product peak."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

PEAK_SIZE = 2048  # side of the matrices whose product shows what the machine can do


def start_with_default_allocator() -> None:
    """Take away what `make` sets, so that the processes started from here keep freed memory only if they ask for it."""
    for name in ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"):
        os.environ.pop(name, None)


def peak_mib() -> float:
    """The most memory that was ever resident in this process."""
    unit = 1 << 10 if sys.platform.startswith("linux") else 1 << 20  # KiB on Linux, bytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def resident_mib() -> float:
    """What is resident now; where the system does not say, the peak so far."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20 if statm.exists() else peak_mib()


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """By the clock, after one call that warms up."""

    def once() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    once()
    return statistics.median(once() for _ in range(repeats))


def peak_gflops(dtype: torch.dtype, repeats: int) -> float:
    """GFLOP/s of the product of two large matrices."""
    matrix = torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype)
    return 2 * PEAK_SIZE**3 / 1e9 / median_seconds(lambda: matrix @ matrix, repeats)


def counted_gflop(work: Callable[[], object]) -> float:
    """Multiplications and additions of all convolutions and matrix products in `work`, in 10^9."""
    backward = {torch.ops.aten.convolution_backward: convolution_backward_flop}
    with FlopCounterMode(display=False, custom_mapping=backward) as counter:
        work()
    return counter.get_total_flops() / 1e9


def convolution_backward_flop(grad: list[int], x: list[int], weight: list[int], *options: object, **_: object) -> int:
    """The gradients of input and weight cost a forward pass each; PyTorch's own count is wrong with groups.

    options: bias sizes, stride, padding, dilation, transposed, output padding, groups, and which gradients are asked.
    """
    transposed, (of_input, of_weight, _of_bias) = options[4], options[7]
    n, _channels, *places = x if transposed else grad
    return 2 * n * torch.Size(places).numel() * torch.Size(weight).numel() * (of_input + of_weight)
