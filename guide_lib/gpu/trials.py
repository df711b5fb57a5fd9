"""The operations that a run stands on, each tried alone: forward and back, against the CPU's numbers.

>>> tried(torch.device("cpu"))["grid_sample"]
'works'
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from guide_lib.runtime import first_sentence

ALLOWED = 0.02  # relative; half precision keeps 8 bits of each number
CHANNELS, SIDE = 8, 12


def _weight(x: Tensor, inputs: int = CHANNELS) -> Tensor:
    """A kernel [8, inputs, 3, 3], the same on every device."""
    return torch.linspace(-1, 1, CHANNELS * inputs * 9).view(CHANNELS, inputs, 3, 3).to(x)


def _convolved(x: Tensor) -> Tensor:
    return F.conv2d(x, _weight(x), padding=1)


def _depthwise(x: Tensor) -> Tensor:
    """Of a slice of a picture with channels last, which one GPU has convolved wrongly without a word."""
    both = torch.cat([x, x], dim=1).to(memory_format=torch.channels_last)
    return F.conv2d(both[:, :CHANNELS], _weight(x, 1), padding=1, groups=CHANNELS)


def _warped(x: Tensor) -> Tensor:
    turned = torch.tensor([[[0.8, -0.3, 0.1], [0.3, 0.8, 0.0]]]).to(x)
    grid = F.affine_grid(turned, [1, CHANNELS, SIDE, SIDE], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _shrunk(x: Tensor) -> Tensor:
    return F.interpolate(x, size=5, mode="bilinear", antialias=True, align_corners=False)


TRIALS: dict[str, Callable[[Tensor], Tensor]] = {
    "convolution": _convolved,
    "depthwise convolution": _depthwise,
    "grid_sample": _warped,
    "antialiased resizing": _shrunk,
    "bfloat16": lambda x: _convolved(x.bfloat16()).float(),
    "float16": lambda x: _convolved(x.half()).float(),
}


def tried(device: torch.device) -> dict[str, str]:
    """For each of `TRIALS`: "works", PyTorch's first sentence of why it does not, or how far off its numbers are."""
    return {name: _verdict(operation, device) for name, operation in TRIALS.items()}


def _verdict(operation: Callable[[Tensor], Tensor], device: torch.device) -> str:
    expected = _forward_and_back(operation, torch.device("cpu"))
    try:
        found = _forward_and_back(operation, device)
    except RuntimeError as error:
        return first_sentence(error)
    apart = max(((a - b).norm() / b.norm()).item() for a, b in zip(found, expected, strict=True))
    return "works" if apart <= ALLOWED else f"wrong by {apart:.0%}"


def _forward_and_back(operation: Callable[[Tensor], Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """What the operation makes of a picture, and the gradient by it, on the CPU."""
    numbers = torch.rand(1, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    x = numbers.to(device).requires_grad_()
    out = operation(x)
    out.square().sum().backward()
    return out.detach().cpu(), x.grad.cpu()
