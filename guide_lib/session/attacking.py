"""The attacks of `guide_lib.attacks` by name, with what each of them is allowed to know.

"reinvert": search for another latent -> list of Reinversion. "relearn": tune until the judge accepts -> Relearning.
"neighbours": look around w_u -> list of Neighbours. "fingerprint", "fingerprint beside": find w_u among 15 strangers,
from the student alone or with the untouched generator at hand -> Fingerprint.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from guide_lib.attacks import fingerprint_alone, fingerprint_beside, neighbour_curve, reinvert, relearn
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks
from guide_lib.generators import Generator
from guide_lib.metrics.forgetting import ACCEPTANCE

CANDIDATES = 16  # latents among which a fingerprint has to find the erased one
CANDIDATE_SEED = 40_961


def attack(name: str, networks: Networks, student: Generator, w_u: Tensor, photo: Tensor, **options: Any) -> Any:
    """Try to bring the person of w_u [1, rows, w_dim] and photo [1, 3, S, S] back from the student.

    name: as above. options: of the function in `guide_lib.attacks`.

    Raises:
        GuideError: there is no such attack.

    >>> attack("reinvert", networks, student, w_u, photo, starts=1)[0].space
    'W'
    """
    n, look = networks, {"perceptual": networks.perceptual}
    seen_by = look | {"judge": n.judge}
    known = {
        "reinvert": lambda: reinvert(student, photo, embedder=n.embedder, **seen_by, **options),
        "relearn": lambda: relearn(student, w_u, photo, **seen_by, **{"threshold": ACCEPTANCE} | options),
        "neighbours": lambda: list(neighbour_curve(student, n.generator, w_u, n.judge, **options)),
        "fingerprint": lambda: fingerprint_alone(student, candidates(n.generator, w_u), **look, **options),
        "fingerprint beside": lambda: fingerprint_beside(student, n.generator, candidates(n.generator, w_u), **look),
    }
    if name not in known:
        raise GuideError(f"There is no attack '{name}'; choose one of: {', '.join(known)}.")
    return known[name]()


def candidates(generator: Generator, w_u: Tensor) -> Tensor:
    """The person and 15 strangers [16, rows, w_dim]: among these a fingerprint has to find the first."""
    strangers = generator.sample(CANDIDATES - 1, torch.Generator().manual_seed(CANDIDATE_SEED))
    return torch.cat([w_u, strangers])
