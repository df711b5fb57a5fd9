"""Cutting and shrinking: the same on every device."""

import pytest
import torch
import torch.nn.functional as F
from pretend import Pretend
from torch import Tensor

from guide_lib.perception.crops import area_resized


def pictures(size: int = 128) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(5)) * 2 - 1


def mean_of_covered(picture: Tensor, size: int) -> Tensor:
    """[C,H,W] -> [C,size,size] pixel by pixel: the mean of every pixel that output pixel (i, j) touches."""
    height, width = picture.shape[1:]
    out = torch.empty(len(picture), size, size)
    for i in range(size):
        for j in range(size):
            top, bottom = i * height // size, -(-(i + 1) * height // size)
            left, right = j * width // size, -(-(j + 1) * width // size)
            out[:, i, j] = picture[:, top:bottom, left:right].mean((1, 2))
    return out


@pytest.mark.parametrize("shape", [(16, 16), (12, 20), (7, 8)])
@pytest.mark.parametrize("kind", ["cpu", "mps", "cuda"])
def test_each_pixel_is_the_mean_of_those_it_covers(kind, shape):
    """Down to 8 px, and up where a side has fewer."""
    picture = pictures()[:, :, : shape[0], : shape[1]].contiguous()
    with Pretend("mps" if kind == "cpu" else kind):
        found = area_resized(picture.to(kind), 8).cpu()
    assert torch.allclose(found[0], mean_of_covered(picture[0], 8), atol=1e-6)


def test_apples_gpu_shrinks_what_arcface_needs():
    picture = pictures(size=188).requires_grad_()
    area_resized(picture, 112).square().sum().backward()
    expected, picture.grad = picture.grad, None
    with Pretend("mps"):
        area_resized(picture.to("mps"), 112).square().sum().backward()
    assert torch.allclose(picture.grad, expected, atol=1e-5)


def test_a_cpu_keeps_its_bits():
    """Stored results were made so."""
    picture = pictures(size=100)
    assert torch.equal(area_resized(picture, 64), F.adaptive_avg_pool2d(picture, 64))
