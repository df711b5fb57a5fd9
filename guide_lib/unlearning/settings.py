"""What decides a run of unlearning: the paper's numbers, and two presets for small machines.

>>> UnlearningSettings.paper(seed=3).steps, UnlearningSettings.styles().trained
(1000, 'styles')
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch

from guide_lib.errors import GuideError
from guide_lib.losses import DistanceWeights
from guide_lib.runtime import MAX_SEED, computes_bfloat16


@dataclass(frozen=True)
class UnlearningSettings:
    """Everything that decides the result of a run, with the paper's defaults.

    steps, learning_rate: how many steps of Adam, and its rate at the start.
    style_rate: how many times faster the style layers (the linear maps from w to the styles of a layer) learn than
    the convolutions; the paper has one rate. A style layer can change what it does at w_u and little elsewhere,
    a convolution is everybody's.
    walk: over this share of the steps the target walks from w_u to w_t in a straight line, 0 starts at w_t as the
    paper does. Few steps can follow a face that turns into another one little by little; they cannot jump.
    decay: let the learning rate fall to 0 along a cosine once the target has arrived; the paper keeps it constant.
    trained: what learns: "weights" as in the paper, "styles", "lora" or "adapters" (see `guide_lib.variants`).
    mixed_precision: compute pictures and LPIPS in bfloat16 (on NVIDIA's cards before capability 8.0 in float16, with
    gradients scaled); weights, latents, embeddings and losses stay in single.
    n_adjacent, n_global: latents drawn at each step for the adjacency loss and the global one, N_a and N_g.
    alpha_max: the adjacency loss looks up to this far from w_u, in the paper's scale (`guide_lib.targets`).
    weight_local, weight_adjacency, weight_global: factors of the losses; 0 switches one off and saves its passes.
    distance: the factors inside the distance D.
    grid: weight of a fourth term of D, which keeps the grid of two pixels as it is in the target (see
    `guide_lib.perception.grid`); the paper has none.
    seed: of all random draws, from 0 to 2^32 - 1.

    >>> UnlearningSettings(steps=0)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: A run takes at least one step, not 0.
    """

    steps: int = 1000
    learning_rate: float = 1e-4
    style_rate: float = 1.0
    walk: float = 0.0
    decay: bool = False
    trained: str = "weights"
    mixed_precision: bool = False
    n_adjacent: int = 2
    n_global: int = 2
    alpha_max: float = 15.0
    weight_local: float = 1.0
    weight_adjacency: float = 1.0
    weight_global: float = 1.0
    distance: DistanceWeights = field(default_factory=DistanceWeights)
    grid: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises GuideError for a number that no run can have."""
        if self.steps < 1:
            raise GuideError(f"A run takes at least one step, not {self.steps}.")
        if not 0 < self.learning_rate < math.inf:
            raise GuideError(f"The learning rate is a positive number, not {self.learning_rate:g}.")
        if not 0 <= self.seed < MAX_SEED:
            raise GuideError(f"The seed is a whole number from 0 to {MAX_SEED - 1}, not {self.seed}.")

    @classmethod
    def paper(cls, **changes: object) -> UnlearningSettings:
        """The published settings: 1000 steps of Adam at 1e-4; `changes` by field name, here and below.

        >>> UnlearningSettings.paper(n_global=4).n_global
        4
        """
        return replace(cls(), **changes)

    @classmethod
    def fast(cls, device: torch.device | None = None, **changes: object) -> UnlearningSettings:
        """For a laptop CPU: 140 steps in which the target walks, the style layers learn most of it, the rate decays.

        So short a run leaves the global loss little time to bring the others back, so it weighs eight times as much.
        Precision is mixed if `device` is given and is faster so.

        >>> s = UnlearningSettings.fast(seed=3)
        >>> s.steps, s.style_rate, s.weight_global, s.seed
        (140, 33.0, 8.0, 3)
        """
        quick = cls(steps=140, learning_rate=3e-5, style_rate=33.0, walk=0.6, decay=True, weight_global=8.0)
        mixed = device is not None and computes_bfloat16(device)
        return replace(quick, **{"mixed_precision": mixed} | changes)

    @classmethod
    def table(cls, **changes: object) -> UnlearningSettings:
        """That of the tables: `fast` halved, at twice its rate, which pictures of 128 px bear: hours instead of a day.

        In mixed precision everywhere, so that rows agree.

        >>> UnlearningSettings.table().steps
        70
        """
        return cls.fast(**{"steps": 70, "learning_rate": 6e-5, "mixed_precision": True} | changes)

    @classmethod
    def styles(cls, device: torch.device | None = None, **changes: object) -> UnlearningSettings:
        """As `fast`, but the style layers alone learn: steps are a tenth faster, and 100 are enough."""
        return cls.fast(device, **{"steps": 100, "learning_rate": 4e-5, "trained": "styles"} | changes)

    @classmethod
    def finish(cls, device: torch.device | None = None, **changes: object) -> UnlearningSettings:
        """The demo's, after the closed form has brought the person to the target: 30 steps for the neighbourhood."""
        return cls.styles(device, **{"steps": 30, "walk": 0.0} | changes)

    def rate(self, index: int) -> float:
        """The learning rate of step `index`, counted from 1.

        >>> s = UnlearningSettings(steps=10, learning_rate=1.0, walk=0.5, decay=True)
        >>> [round(s.rate(index), 2) for index in range(1, 11)]                       # falls once the target is there
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.65, 0.35, 0.1]
        """
        arrival = self.walk * self.steps
        share = max(0.0, (index - 1 - arrival) / max(self.steps - arrival, 1)) if self.decay else 0.0
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def position(self, index: int) -> float:
        """Where the target of step `index`, counted from 1, stands between w_u (0) and w_t (1).

        >>> [UnlearningSettings(steps=10, walk=0.5).position(index) for index in (1, 2, 5, 10)]
        [0.2, 0.4, 1.0, 1.0]
        """
        return min(1.0, index / (self.walk * self.steps)) if self.walk else 1.0

    def local_only(self) -> UnlearningSettings:
        """The paper's baseline: the local loss alone (used with `average_target`).

        >>> s = UnlearningSettings.paper().local_only()
        >>> s.weight_local, s.weight_adjacency, s.weight_global
        (1.0, 0.0, 0.0)
        """
        return replace(self, weight_adjacency=0.0, weight_global=0.0)
