"""EG3D as the authors' script runs it, accidents included: for those who compare with the published numbers.

Four things differ from `EG3D`; each makes the same run a little noisier or slower, none is part of the method:

1. cameras look at the origin, because the script asks for a setting that EG3D stores under another name;
2. every pass draws new noise and new ray samples, so that two equal generators give two different pictures;
3. the tri-planes for the loss come from a pass of their own, and are not those of the picture;
4. latents near the person are computed in double precision.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.generators.base import Generator, Rendering, View
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.generators.volume import Jitter


class ReleasedEG3D(EG3D):
    """`EG3D` with the four accidents. Its `sample_views`, called once a step, starts the draws of that step."""

    offset_dtype = torch.float64

    def __init__(self, config: EG3DConfig, draws: torch.Generator) -> None:
        super().__init__(replace(config, pivot=(0.0, 0.0, 0.0)))
        self.draws = draws

    def __deepcopy__(self, memo: dict) -> ReleasedEG3D:
        """A copy draws from the same source: were it to start afresh, student and teacher would share their noise."""
        twin = ReleasedEG3D(self.config, self.draws)
        twin.load_state_dict(self.state_dict())
        return twin.to(self.w_avg.device).train(self.training)

    def synthesis(self, ws: Tensor, view: View | None = None) -> Rendering:
        return Rendering(self.picture(ws, view), self.planes(ws.to(self.w_avg.dtype), self.draws))

    def picture(self, ws: Tensor, view: View | None = None) -> Tensor:
        c, ws = self.config, ws.to(self.w_avg.dtype)
        jitter = Jitter.draw(c.sampling, c.render_size**2, self.draws)
        features, _ = self.render(self.planes(ws, self.draws), *self.camera(view or View()), jitter)
        return self.superresolution(features, ws)

    def sample_views(self, n: int, rng: torch.Generator) -> list[View]:
        views = super().sample_views(n, rng)
        self.draws.manual_seed(views[0].jitter)  # a resumed run draws the same
        return views


def as_released(generator: Generator, seed: int = 0) -> ReleasedEG3D:
    """The same network under the authors' script. Raises `GuideError` for others than EG3D, and on Apple's GPU.

    >>> as_released(generator)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: The authors' script is about EG3D; leave --quirks out, or choose
    --generator eg3d-ffhq-512.
    """
    if not isinstance(generator, EG3D):
        raise GuideError("The authors' script is about EG3D; leave --quirks out, or choose --generator eg3d-ffhq-512.")
    if generator.w_avg.device.type == "mps":
        raise GuideError("Apple's GPU has no double precision, which the authors' script uses; choose --device cpu.")
    twin = ReleasedEG3D(generator.config, torch.Generator().manual_seed(seed))
    twin.load_state_dict(generator.state_dict())
    return twin.to(generator.w_avg.device).requires_grad_(False).eval()
