"""Search for the person in G_u, with the networks of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.attacks.chance import attack_rng
from guide_lib.generators import Generator, View
from guide_lib.inversion.optimise import InversionSettings, inversion_steps
from guide_lib.metrics.identity import identity_similarity, render
from guide_lib.perception.identity import Embedder
from guide_lib.perception.perceptual import LPIPS


@dataclass(frozen=True)
class Reinversion:
    """What optimisation in one space found.

    space: "W" or "W+". cosines: [starts], judge against the photo. ws: [starts, rows, w_dim], the latents.
    steps, seconds: for all starts.
    """

    space: str
    cosines: Tensor
    ws: Tensor
    steps: int
    seconds: float

    @property
    def best(self) -> float:
        """The attacker looks at what came out and keeps the best."""
        return self.cosines.max().item()


def reinvert(
    student: Generator,
    photo: Tensor,
    *,
    perceptual: LPIPS,
    embedder: Embedder,
    judge: Embedder,
    settings: InversionSettings | None = None,
    starts: int = 4,
    seed: int = 0,
    view: View | None = None,
) -> list[Reinversion]:
    """Search G_u for the person in `photo` [1, 3, S, S], taken from `view`, first over W, then from there over W+.

    The first start is w_avg, the others are mapped samples: a search that begins at the erased latent's side of the
    mean may meet what was moved, one from elsewhere need not.

    >>> known = {"perceptual": perceptual, "embedder": embedder, "judge": judge}
    >>> for found in reinvert(student, photo, settings=InversionSettings(20, 20), starts=2, **known):
    ...     print(found.space, list(found.ws.shape), found.steps)
    W [2, 3, 6] 40
    W+ [2, 3, 6] 40
    """
    rng = attack_rng(seed)
    codes = torch.cat([student.w_avg, student.sample(starts - 1, rng)]) if starts > 1 else student.w_avg
    photos, views = photo.expand(starts, -1, -1, -1), view and [view] * starts
    last, cost = {}, {}
    networks = {"perceptual": perceptual, "embedder": embedder}
    for step in inversion_steps(student, photos, settings, start=codes, views=views, **networks):
        steps, seconds = cost.get(step.space, (0, 0.0))
        last[step.space], cost[step.space] = step.ws, (steps + starts, seconds + step.seconds)
    found = []
    for space, ws in last.items():
        cosines, _ = identity_similarity(judge, render(student, ws, view), photos.cpu())
        found.append(Reinversion(space, cosines, ws, *cost[space]))
    return found
