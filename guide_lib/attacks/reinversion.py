"""Search for the person in G_u, with the networks of the loss; `guide_lib.attacks.search` has other attackers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from guide_lib.attacks.found import Hunted
from guide_lib.attacks.search import Attacker, Equipment, search
from guide_lib.generators import Generator, View
from guide_lib.inversion.optimise import InversionSettings
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
        """Of the start that the judge likes best: an oracle's choice."""
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
    settings = settings or InversionSettings()
    attacker = Attacker(starts=starts, seed=seed, settings=settings)
    tools = Equipment({"own": perceptual}, {"own": embedder}, {"judge": judge})
    at_the_end = max(settings.steps_w, settings.steps_w_plus, 1)
    (spaces,) = search([Hunted(student, photo, view=view)], attacker, tools, look_every=at_the_end)
    return [Reinversion(found.space, found.cosines("judge"), found.ws, found.steps, found.seconds) for found in spaces]
