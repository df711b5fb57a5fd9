"""Which of several latents was erased? The traces that an erasure leaves in G_u."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.attacks.chance import attack_rng
from guide_lib.generators import Generator
from guide_lib.losses import adjacency_offsets
from guide_lib.metrics.identity import perceptual_distance, render
from guide_lib.perception.perceptual import LPIPS

PROBE = 2.0  # length of the steps with which a fingerprint feels its way, in the paper's scale


@dataclass(frozen=True)
class Fingerprint:
    """What an attack suspects; it is right when `rank` of the erased is 0.

    scores: [K], of each candidate; higher is more suspect. seconds: what it took.
    """

    scores: Tensor
    seconds: float

    def rank(self, index: int) -> int:
        """How many others are at least as suspect as candidate `index`: a tie is not a find.

        >>> found = Fingerprint(torch.tensor([0.2, 0.9, 0.9]), seconds=0.1)
        >>> [found.rank(index) for index in range(3)]
        [2, 1, 1]
        """
        return int((self.scores >= self.scores[index]).sum()) - 1


def fingerprint_alone(
    student: Generator, candidates: Tensor, *, perceptual: LPIPS, probes: int = 4, seed: int = 0
) -> Fingerprint:
    """Which of `candidates` [K, rows, w_dim] was erased, from G_u alone: where the picture changes least.

    One might expect a bend around w_u. Six people showed the opposite: with the adjacency loss much the same new face
    is drawn all around it, so short steps toward other people change the picture less there than elsewhere. The score
    is the mean LPIPS of such steps, negated.
    """
    started, rng = time.perf_counter(), attack_rng(seed)
    toward = student.sample(probes, rng)
    at = render(student, candidates)
    changes = []
    for other in toward.split(1):
        step = adjacency_offsets(candidates, other, torch.full((len(candidates),), PROBE).to(candidates))
        moved = render(student, candidates + step)
        changes.append(perceptual_distance(perceptual, at, moved, candidates.device))
    return Fingerprint(-torch.stack(changes).mean(0), time.perf_counter() - started)


def fingerprint_beside(
    student: Generator, generator: Generator, candidates: Tensor, *, perceptual: LPIPS
) -> Fingerprint:
    """The same with G_s at hand: where the two generators' pictures differ most (LPIPS).

    >>> candidates = torch.cat([generator.sample(7, rng), w_u])
    >>> fingerprint_beside(student, generator, candidates, perceptual=perceptual).rank(7)
    0
    """
    started = time.perf_counter()
    before, after = render(generator, candidates), render(student, candidates)
    scores = perceptual_distance(perceptual, before, after, candidates.device)
    return Fingerprint(scores, time.perf_counter() - started)
