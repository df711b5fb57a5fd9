"""What was forgotten and what was kept, measured by a face recogniser that the training never saw.

>>> report = evaluate(student, generator, w_u, generator.sample(8, rng), judge, perceptual)
>>> report.id < report.retention                          # the person changed more than the others
True

And, before that, how well an inversion shows its photo: `reconstruction`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from guide_lib.generators import Generator, View
from guide_lib.metrics.quality import strangeness
from guide_lib.metrics.thresholds import ACCEPTANCE
from guide_lib.perception.grid import weave
from guide_lib.perception.identity import Embedder, identity_cosine
from guide_lib.perception.perceptual import LPIPS

BATCH = 4  # pictures rendered at a time: bounds memory, not the number of people
NEAREST = 8  # of the others, on whom an erasure is hardest
USUAL = 0.95  # of the generator's own pictures are woven less than `Report.weave_own`


@dataclass(frozen=True)
class Report:
    """Judge cosines between G_s and G_u at the same latents; which side is better: `guide_lib.metrics.columns`.

    id: at the erased person's latent, mean over the views.
    retention: mean over the other people, retention_sd, retention_min: their spread. retention_nearest: mean over the
        `NEAREST` of them whom the judge finds most like the person before. retained: the share of them whom the judge
        still takes for themselves.
    lpips_others: mean LPIPS of the others' pictures.
    weave, strangeness: of the picture that replaces the person, mean over the views (see `guide_lib.metrics.quality`).
    weave_own: what 95 % of the others' pictures stay below before; from them strangeness is measured, too.
    others: how many other people. undetected: in how many of the 2 (views + others) pictures no face was found
        (there the fixed FFHQ crop was used).
    """

    id: float
    retention: float
    retention_sd: float
    retention_min: float
    retention_nearest: float
    retained: float
    lpips_others: float
    weave: float
    weave_own: float
    strangeness: float
    others: int
    undetected: int

    def as_dict(self) -> dict[str, float | int]:
        """Every figure by its name, as metrics.json has it."""
        return asdict(self)


@dataclass(frozen=True)
class Reconstruction:
    """N photos beside what their latents draw.

    pictures: [N, 3, S, S] on the CPU. judge: [N], identity cosine of picture and photo. lpips: [N], at the pictures'
    size. undetected: in how many of the 2 N no face was found.
    """

    pictures: Tensor
    judge: Tensor
    lpips: Tensor
    undetected: int


@torch.no_grad()
def render(generator: Generator, ws: Tensor, view: View | None = None) -> Tensor:
    """Pictures [N, 3, S, S] on the CPU, a few at a time; from the front if no view is given.

    >>> list(render(generator, generator.sample(5, rng)).shape)
    [5, 3, 16, 16]
    """
    return torch.cat([generator.picture(chunk, view).cpu() for chunk in ws.split(BATCH)])


@torch.no_grad()
def identity_similarity(judge: Embedder, images_a: Tensor, images_b: Tensor) -> tuple[Tensor, int]:
    """Cosine [N] of each pair's identities, faces detected and aligned; and how many faces were not found.

    >>> cosine, undetected = identity_similarity(judge, photo, torch.zeros(1, 3, 16, 16))    # an empty picture
    >>> list(cosine.shape), undetected
    ([1], 1)
    """
    (a, found_a), (b, found_b) = judge.embed_faces(images_a), judge.embed_faces(images_b)
    return identity_cosine(a, b), int((~found_a).sum() + (~found_b).sum())


def accept_rates(same: Tensor, different: Tensor, threshold: float) -> tuple[float, float]:
    """The shares of cosines at or above `threshold`: of pairs of one person, and of pairs of two (a wrong accept).

    >>> accept_rates(same=torch.tensor([0.9, 0.7, 0.5, 0.3]), different=torch.tensor([0.5, 0.1]), threshold=0.5)
    (0.75, 0.5)
    """
    return (same >= threshold).double().mean().item(), (different >= threshold).double().mean().item()


@torch.no_grad()
def perceptual_distance(perceptual: LPIPS, images_a: Tensor, images_b: Tensor, device: torch.device) -> Tensor:
    """LPIPS [N] of each pair on the CPU, a few at a time.

    >>> perceptual_distance(perceptual, photo, photo, torch.device("cpu"))
    tensor([0.])
    """
    pairs = zip(images_a.split(BATCH), images_b.split(BATCH), strict=True)
    return torch.cat([perceptual(a.to(device), b.to(device)).cpu() for a, b in pairs])


def reconstruction(
    generator: Generator,
    ws: Tensor,
    photos: Tensor,
    judge: Embedder,
    perceptual: LPIPS,
    views: Sequence[View] | None = None,
) -> Reconstruction:
    """Compare what ws [N, rows, w_dim] draw with the aligned photos [N, 3, S, S] in [-1, 1], any S.

    views: the camera of each, from the front if left out.

    >>> found = reconstruction(generator, w_u, photo, judge, perceptual)
    >>> found.judge, found.lpips, found.undetected
    (tensor([1.000]), tensor([0.]), 0)
    """
    photos, pictures = photos.cpu(), render(generator, ws) if views is None else generator.pictures(ws, views).cpu()
    cosines, undetected = identity_similarity(judge, photos, pictures)
    lpips = perceptual_distance(
        perceptual, F.interpolate(photos, size=pictures.shape[-1], mode="area"), pictures, ws.device
    )
    return Reconstruction(pictures, cosines.cpu(), lpips, undetected)


@torch.no_grad()
def evaluate(
    student: Generator,
    generator: Generator,
    w_u: Tensor,
    others: Tensor,
    judge: Embedder,
    perceptual: LPIPS,
    views: Sequence[View] = (View(),),
    threshold: float = ACCEPTANCE,
) -> Report:
    """Compare G_u (`student`) with G_s (`generator`) at w_u [1, rows, w_dim] and at `others` [N, rows, w_dim].

    The person is seen from all `views` (`generator.judging_views()` are GUIDE's), the others from the front. Whoever
    reaches `threshold` is retained; the default is that of the judge that ships.

    >>> report = evaluate(generator, generator, w_u, generator.sample(8, rng), judge, perceptual)  # nobody was erased
    >>> round(report.id, 3), round(report.retention_min, 3), report.retained, report.lpips_others, report.others
    (1.0, 1.0, 1.0, 0.0, 8)
    """
    before, after = (
        torch.cat([*(render(network, w_u, view) for view in views), render(network, others)])
        for network in (generator, student)
    )
    (known, found_before), (drawn, found_after) = judge.embed_faces(before), judge.embed_faces(after)
    cosines, seen = identity_cosine(known, drawn), len(views)
    alike = identity_cosine(known[:seen, None], known[seen:]).mean(0)
    lpips = perceptual_distance(perceptual, before[seen:], after[seen:], w_u.device)
    kept = cosines[seen:]
    return Report(
        id=cosines[:seen].mean().item(),
        retention=kept.mean().item(),
        retention_sd=kept.std().item(),
        retention_min=kept.min().item(),
        retention_nearest=kept[alike.topk(min(NEAREST, len(others))).indices].mean().item(),
        retained=(kept >= threshold).float().mean().item(),
        lpips_others=lpips.mean().item(),
        weave=weave(after[:seen]).mean().item(),
        weave_own=weave(before[seen:]).quantile(USUAL).item(),
        strangeness=strangeness(after[:seen], before[seen:], perceptual, w_u.device).mean().item(),
        others=len(others),
        undetected=int((~found_before).sum() + (~found_after).sum()),
    )
