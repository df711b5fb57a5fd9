"""Convolution that keeps for the way back only what its gradient needs.

>>> x, weight = torch.randn(1, 2, 8, 8), torch.randn(5, 2, 3, 3)
>>> list(convolve(x, weight, padding=1).shape)            # [N, I, H, W], [O, I, 3, 3] -> [N, O, H, W]
[1, 5, 8, 8]
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx


def convolve(x: Tensor, weight: Tensor, padding: int = 0, groups: int = 1, doubles: bool = False) -> Tensor:
    """Convolve x [N, I, H, W] with weight [O, I / groups, k, k]; `doubles`: with stride 1/2 and weight [I, O, k, k]."""
    function = _convolve if weight.requires_grad else _Convolution.apply
    return function(x, weight, padding, groups, doubles)


def _convolve(x: Tensor, weight: Tensor, padding: int, groups: int, doubles: bool) -> Tensor:
    if doubles:
        return F.conv_transpose2d(x, weight, stride=2, groups=groups)
    return F.conv2d(x, weight, padding=padding, groups=groups)


class _Convolution(torch.autograd.Function):
    """conv2d with a weight that does not learn, or conv_transpose2d of stride 2.

    Each is the other's adjoint, so the gradient needs no x. PyTorch's own functions keep it for a gradient of the
    weight that nobody asks for: in EG3D half a GiB a picture.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, padding: int, groups: int, doubles: bool) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.options = padding, groups, doubles
        return _convolve(x, weight, *ctx.options)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (padding, groups, doubles) = ctx.saved_tensors, ctx.options
        weight = weight.to(gradient.dtype)  # the forward pass may have been in bfloat16
        if doubles:
            back = F.conv2d(gradient, weight, stride=2, groups=groups)
        else:
            back = F.conv_transpose2d(gradient, weight, padding=padding, groups=groups)
        return back, None, None, None, None
