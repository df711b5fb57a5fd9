"""How convincing is the picture that replaces the erased person? What eyes see and a recogniser does not.

>>> own, replacement = generator.picture(generator.sample(8, rng)), student.picture(w_u)
>>> weave(replacement).shape, strangeness(replacement, own, perceptual, replacement.device).shape
(torch.Size([1]), torch.Size([1]))

A generator that is pushed to where it was never trained weaves: a grid of two or four pixels lies over the face, since
each up-sampling has weights of its own for even and odd pixels and nothing keeps the two alike. Networks that look at
pictures in strides hardly notice. In the spectrum the grid stands alone, at the frequencies 1/2 and 1/4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guide_lib.perception.perceptual import LPIPS

PERIODS = (2, 4)  # px: what the last two up-samplings can leave
WIDTH = 1  # bins to both sides that a line takes under the window
BESIDE = (3, 9)  # bins away from it: past the window's blur, yet with about the power of a picture without a grid
CHUNK = 8  # pictures looked at in one pass: bounds memory


def weave(images: Tensor) -> Tensor:
    """The power at the frequencies of a pixel grid over the power beside them, [N]; images: [N, C, S, S], S >= 64.

    About 1 where nothing is woven. Brightness, contrast, quarter turns and mirrors do not change it. Of the two periods
    the stronger counts, of both axes the sum.

    >>> face, columns = torch.randn(1, 3, 64, 64, generator=rng), torch.tensor([1.0, -1.0]).repeat(32)
    >>> weave(face).item() < 2 < 10 < weave(face + 0.5 * columns).item()
    True
    """
    grey = images.double().mean(1)
    size = grey.shape[-1]
    window = torch.hann_window(size, periodic=False, dtype=grey.dtype, device=grey.device)  # a picture's ends differ
    grey = (grey - grey.mean((1, 2), keepdim=True)) * window[:, None] * window
    power = torch.fft.fft2(grey).abs().square()
    along = (power + power.mT)[..., torch.arange(-WIDTH, WIDTH + 1)].mean(-1)  # [N, S]: constant across, any period
    return torch.stack([_peak(along, size // period) for period in PERIODS]).amax(0)


def _peak(power: Tensor, place: int) -> Tensor:
    """How far one bin of a spectrum [N, S] stands out of those beside it, [N]; 0 in an empty picture."""
    away = torch.arange(*BESIDE)
    beside = power[:, torch.cat([place - away, place + away]) % power.shape[1]].mean(1)
    return power[:, place] / beside.clamp(min=torch.finfo(power.dtype).tiny)


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
