"""Small networks behind the blocks of a generator, which leave its own weights alone.

>>> parameters = add_adapters(deep_generator, rng)       # at first it draws what it drew
>>> drop_adapters(deep_generator)
"""

from __future__ import annotations

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from guide_lib.errors import GuideError
from guide_lib.generators.base import Generator

HIDDEN = 256  # channels inside an adapter
EULER_STEPS, EULER_STEP = 4, 0.4
_BLOCK = re.compile(r".*?\b(?:layers\.\d+|b\d+)(?=\.)")  # of MobileStyleGAN; of StyleGAN2 and EG3D


class Adapter(nn.Module):
    """Features x [N, C, h, w] flow along dx/dt = f(x), f two 1x1 convolutions, for four steps of Euler's method.

    f starts as 0, which leaves x as it is.

    >>> x = torch.ones(1, 5, 4, 4)
    >>> torch.equal(Adapter(5, rng)(x), x)
    True
    """

    def __init__(self, channels: int, rng: torch.Generator) -> None:
        super().__init__()
        self.inward = nn.Parameter(torch.randn(HIDDEN, channels, 1, 1, generator=rng) / math.sqrt(channels))
        self.inward_bias = nn.Parameter(torch.zeros(HIDDEN))
        self.outward = nn.Parameter(torch.zeros(channels, HIDDEN, 1, 1))
        self.outward_bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        flowing = x.float()  # the small steps would be rounded away in half precision
        for _ in range(EULER_STEPS):
            hidden = F.leaky_relu(F.conv2d(flowing, self.inward, self.inward_bias), 0.2)
            flowing = flowing + EULER_STEP * F.conv2d(hidden, self.outward, self.outward_bias)
        return flowing.to(x.dtype)


def backbone_blocks(generator: Generator) -> list[nn.Module]:
    """The blocks of the backbone that the generator draws with, in order. Raises GuideError if it has none.

    >>> len(backbone_blocks(deep_generator))
    2
    >>> backbone_blocks(generator)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: TinyGenerator has no blocks for adapters; train its weights, or use LoRA.
    """
    found = [_BLOCK.match(name) for name in generator.trainable_parameters()]
    names = dict.fromkeys(match[0] for match in found if match)
    if not names:
        raise GuideError(f"{type(generator).__name__} has no blocks for adapters; train its weights, or use LoRA.")
    return [generator.get_submodule(name) for name in names]


def add_adapters(generator: Generator, rng: torch.Generator) -> dict[str, nn.Parameter]:
    """Put a new adapter behind each block, and behind those it has; returns their parameters by name.

    They live in the blocks, so `generator.trainable_parameters()` lists them from now on.

    >>> [len(add_adapters(deep_generator, rng)) for _ in range(2)]                # twice: two blocks, four each
    [8, 8]
    """
    before = generator.trainable_parameters()
    for block in backbone_blocks(generator):
        if not hasattr(block, "adapters"):
            block.adapters = nn.ModuleList()
            block.register_forward_hook(_adapt)
        bias = block.conv1.bias
        block.adapters.append(Adapter(len(bias), rng).to(bias))
    return {name: p for name, p in generator.trainable_parameters().items() if name not in before}


def drop_adapters(generator: Generator) -> None:
    """Undo the last `add_adapters`: whoever was forgotten with them is back."""
    for block in backbone_blocks(generator):
        del block.adapters[-1]


def _adapt(block: nn.Module, inputs: tuple, output: Tensor | tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
    """A forward hook. MobileStyleGAN's blocks give features, those of StyleGAN2 features and the picture so far."""
    features, *picture = output if isinstance(output, tuple) else (output,)
    for adapter in block.adapters:
        features = adapter(features)
    return (features, *picture) if picture else features
