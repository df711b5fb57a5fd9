"""How convincing is the picture that replaces the erased person? What eyes see and a recogniser does not.

>>> own, replacement = generator.picture(generator.sample(8, rng)), student.picture(w_u)
>>> strangeness(replacement, own, perceptual, replacement.device).shape
torch.Size([1])

How strongly it is woven says `guide_lib.perception.grid.weave`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guide_lib.perception.perceptual import LPIPS

CHUNK = 8  # pictures looked at in one pass: bounds memory


@torch.no_grad()
def strangeness(images: Tensor, own: Tensor, perceptual: LPIPS, device: torch.device) -> Tensor:
    """How unlike a generator's own pictures [M >= 2, 3, S, S] others [N, 3, S, S] look, [N] on the CPU.

    The distance to the nearest of `own`, over the median of the same among `own`: 1 is usual, at 2 a picture is twice
    as far from everybody as people are from one another. Measured between LPIPS features that are averaged over the
    picture: it matters what skin and hair look like, not where they are.

    >>> own = generator.picture(generator.sample(8, rng))
    >>> white = torch.ones(1, 3, 16, 16)
    >>> strangeness(torch.cat([own[:1], white]), own, perceptual, own.device) > 2
    tensor([False,  True])
    """
    seen, known = (_texture(pictures, perceptual, device) for pictures in (images, own))
    apart = torch.cdist(known, known).fill_diagonal_(torch.inf)
    return torch.cdist(seen, known).amin(1) / apart.amin(1).median()


def _texture(images: Tensor, perceptual: LPIPS, device: torch.device) -> Tensor:
    """LPIPS features averaged over the picture, all slices side by side: [N, channels] on the CPU."""
    looks = (perceptual.features(chunk.to(device)) for chunk in images.split(CHUNK))
    return torch.cat([torch.cat([x.mean((2, 3)) for x in look], 1).float().cpu() for look in looks])
