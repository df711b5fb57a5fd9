"""What learns while a face is unlearned: every weight as in the paper, or a few numbers beside frozen weights.

>>> training = start_training("adapters", deep_generator, rng)          # what UnlearningSettings(trained=...) chooses
>>> sorted(training.parameters)[:2]
['layers.0.adapters.0.inward', 'layers.0.adapters.0.inward_bias']
>>> from guide_lib.generators.adapters import drop_adapters
>>> drop_adapters(training.student)                                    # draws again what the generator draws
>>> torch.equal(training.student.picture(w_u), deep_generator.picture(w_u))
True

Of MobileStyleGAN at 256 px 6,894,336 numbers can learn. The style layers are 3,086,208 of them; LoRA trains 87,040
instead and the adapters 1,183,232. Whatever learns, the student is a `Generator` like any other: it can be drawn with,
copied, saved and unlearned again.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from guide_lib.errors import GuideError
from guide_lib.generators import Generator
from guide_lib.generators.adapters import add_adapters

RANK = 4  # r of LoRA


class AllWeights:
    """The paper's way: every trainable parameter of G_u learns.

    Attributes:
        student: G_u, at first equal to the generator.
        parameters: what the optimiser changes and a checkpoint keeps, by name.

    >>> {name: list(p.shape) for name, p in AllWeights(generator, rng).parameters.items()}
    {'backbone.weight': [80, 18], 'backbone.bias': [80]}
    """

    def __init__(self, generator: Generator, rng: torch.Generator) -> None:
        self.student = generator.student()
        self.parameters = self.student.trainable_parameters()

    def collect(self) -> None:
        """After the backward passes: bring the student's gradients to `parameters`."""

    def apply(self) -> None:
        """After `parameters` changed: let the student draw with them."""


class Styles(AllWeights):
    """Only the style layers learn, the linear maps from w to styles.

    What a layer does at w_u can change there and little elsewhere; a convolution is everybody's. Without gradients of
    the convolutions' weights the generator's forward and backward pass take a third less time.

    >>> list(Styles(generator, rng).parameters)           # the stand-in calls its bias a style layer
    ['backbone.bias']
    """

    def __init__(self, generator: Generator, rng: torch.Generator) -> None:
        super().__init__(generator, rng)
        self.student.requires_grad_(False)
        self.parameters = {name: p for name, p in self.parameters.items() if generator.is_style(name)}
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)


class LowRank(AllWeights):
    """LoRA (Hu et al. 2021, arXiv 2106.09685): W + B A for each matrix W [out, in]; A [r, in] and B [out, r] learn.

    Matrices are the linear layers and the 1x1 convolutions; the other weights are frozen. The student holds the sums,
    A and B stay outside it. The chain rule takes a gradient from a sum to its factors:
    dL/dB = dL/dW A^T and dL/dA = B^T dL/dW.

    >>> training = LowRank(generator, rng)
    >>> {name: list(p.shape) for name, p in training.parameters.items()}                # of a matrix [80, 18]
    {'backbone.weight.A': [4, 18], 'backbone.weight.B': [80, 4]}
    >>> training.apply()                                  # B starts as 0
    >>> torch.equal(training.student.picture(w_u), generator.picture(w_u))
    True
    """

    def __init__(self, generator: Generator, rng: torch.Generator) -> None:
        super().__init__(generator, rng)
        self.originals = generator.trainable_parameters()
        self.sums = {name: weight for name, weight in self.parameters.items() if _is_matrix(weight)}
        self.parameters = {}
        self.student.requires_grad_(False)
        for name, weight in self.sums.items():
            weight.requires_grad_(True)
            c_out, c_in = weight.flatten(1).shape
            # Of this size, a step of Adam on B moves a weight about as far as a step on the weight itself would.
            a = torch.randn(RANK, c_in, generator=rng) / math.sqrt(RANK)
            self.parameters[f"{name}.A"] = nn.Parameter(a.to(weight))
            self.parameters[f"{name}.B"] = nn.Parameter(weight.new_zeros(c_out, RANK))

    def collect(self) -> None:
        for name, weight in self.sums.items():
            a, b, gradient = self.parameters[f"{name}.A"], self.parameters[f"{name}.B"], weight.grad.flatten(1)
            a.grad, b.grad = b.detach().T @ gradient, gradient @ a.detach().T
            weight.grad = None

    @torch.no_grad()
    def apply(self) -> None:
        for name, weight in self.sums.items():
            update = self.parameters[f"{name}.B"] @ self.parameters[f"{name}.A"]
            weight.copy_(self.originals[name] + update.view_as(weight))


def _is_matrix(weight: Tensor) -> bool:
    """[out, in] or [out, in, 1, 1]"""
    return weight.ndim > 1 and weight.shape[2:].numel() == 1


class Adapters(AllWeights):
    """After LEGATO (arXiv 2601.04282): all weights are frozen, an adapter behind each block of the backbone learns.

    LEGATO's additional smoothness term is left out: the losses are GUIDE's.
    """

    def __init__(self, generator: Generator, rng: torch.Generator) -> None:
        super().__init__(generator, rng)
        self.student.requires_grad_(False)
        self.parameters = add_adapters(self.student, rng)


VARIANTS = {"weights": AllWeights, "styles": Styles, "lora": LowRank, "adapters": Adapters}


def start_training(trained: str, generator: Generator, rng: torch.Generator) -> AllWeights:
    """A student of `generator` and what of it learns. Raises GuideError for a name that is not in `VARIANTS`.

    >>> start_training("all", generator, rng)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: Nothing called 'all' can be trained; choose one of: weights, styles, lora, adapters.
    """
    if trained not in VARIANTS:
        raise GuideError(f"Nothing called '{trained}' can be trained; choose one of: {', '.join(VARIANTS)}.")
    return VARIANTS[trained](generator, rng)
