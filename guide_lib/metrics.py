"""What was forgotten and what was kept, measured by a face recogniser that the training never saw.

report = evaluate(student, generator, w_u, others, judge, perceptual)
report.id, report.retention
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from guide_lib.generators import Generator
from guide_lib.perception.identity import Embedder, identity_cosine
from guide_lib.perception.perceptual import LPIPS

BATCH = 4  # pictures rendered at a time: bounds memory, not the number of people


@dataclass(frozen=True)
class Report:
    """Judge cosines between G_s and G_u at the same latents.

    id: at the erased person's latent; lower is better.
    retention: mean over the other people, retention_sd, retention_min: their spread; higher is better.
    lpips_others: mean LPIPS of the others' pictures; lower is better.
    others: how many other people. undetected: in how many of the 2 (1 + others) pictures no face was found (there
        the fixed FFHQ crop was used).
    """

    id: float
    retention: float
    retention_sd: float
    retention_min: float
    lpips_others: float
    others: int
    undetected: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


@torch.no_grad()
def render(generator: Generator, ws: Tensor) -> Tensor:
    """Pictures [N, 3, S, S] on the CPU, a few at a time."""
    return torch.cat([generator.synthesis(chunk).image.cpu() for chunk in ws.split(BATCH)])


@torch.no_grad()
def identity_similarity(judge: Embedder, images_a: Tensor, images_b: Tensor) -> tuple[Tensor, int]:
    """Cosine [N] of each pair's identities, faces detected and aligned; and how many faces were not found."""
    (a, found_a), (b, found_b) = judge.embed_faces(images_a), judge.embed_faces(images_b)
    return identity_cosine(a, b), int((~found_a).sum() + (~found_b).sum())


@torch.no_grad()
def evaluate(
    student: Generator, generator: Generator, w_u: Tensor, others: Tensor, judge: Embedder, perceptual: LPIPS
) -> Report:
    """Compare G_u (`student`) with G_s (`generator`) at w_u [1, rows, w_dim] and at `others` [N, rows, w_dim]."""
    ws = torch.cat([w_u, others])
    before, after = render(generator, ws), render(student, ws)
    cosines, undetected = identity_similarity(judge, before, after)
    device = w_u.device
    pairs = zip(before[1:].split(BATCH), after[1:].split(BATCH), strict=True)
    lpips = torch.cat([perceptual(a.to(device), b.to(device)) for a, b in pairs])
    kept = cosines[1:]
    return Report(
        id=cosines[0].item(),
        retention=kept.mean().item(),
        retention_sd=kept.std().item(),
        retention_min=kept.min().item(),
        lpips_others=lpips.mean().item(),
        others=len(others),
        undetected=undetected,
    )
