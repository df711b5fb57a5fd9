"""heads-eg3d: a small EG3D that learned from rendered heads of people who do not exist (`guide_lib.heads`).

z is the 64 numbers that describe a person, so a z from N(0, I) is a new person whose true picture can be rendered, from
every camera. How it was trained: `data/recipes/heads_eg3d.py`; how well it draws: `data/results/heads-eg3d.json`.
"""

from __future__ import annotations

import numpy as np
from safetensors.torch import load_file

from guide_lib.assets import shipped
from guide_lib.errors import GuideError
from guide_lib.generators.alignment import MeanFace
from guide_lib.generators.base import View
from guide_lib.generators.cameras import looking_along
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.generators.volume import Sampling

NAME = "heads-eg3d"
FILE = f"{NAME}.safetensors"
PERSON = 1  # the seed of whom the demo erases where nobody was named; there is no photo of such people

# Where MTCNN's five points lie on rendered heads, in the world (`data/recipes/heads_points.py`); the side is what a
# picture shows at their distance. The recognisers' constant crops fit as they are: to 3 of 112 px.
ALIGNMENT = MeanFace(
    ((-0.065, 0.008, 0.233), (0.065, 0.008, 0.233), (0.0, -0.073, 0.303), (-0.057, -0.136, 0.242),
     (0.057, -0.136, 0.242)), 0.574
)  # fmt: skip
HEADS = EG3DConfig(
    z_dim=64,
    w_dim=128,
    mapping_layers=3,
    plane_size=64,
    plane_channels=16,
    channel_base=2048,
    channel_max=128,
    decoder_width=32,
    render_size=64,
    enlarge_from=64,
    enlarge_widths=(32,),
    sampling=Sampling(near=2.3, far=3.1, coarse=16, fine=16, recompute=False),  # a picture keeps 70 MB
    box_warp=0.8,
    pivot=(0.0, 0.0, 0.0),
    alignment=ALIGNMENT,
    camera_scale=0.0,
    axis_slip=False,
)


class HeadsEG3D(EG3D):
    """An `EG3D` of the sizes `HEADS`, whose pictures of 128 px are small enough to be drawn several at once."""

    drawn_at_once = 8
    perceptual = "alex"
    faces = "heads"

    def __init__(self, config: EG3DConfig = HEADS) -> None:
        super().__init__(config)

    def view_of(self, landmarks: np.ndarray) -> View:
        """As in the base class; what five points tell is from where the face is seen, in front of the pivot."""
        face = tuple(np.mean(ALIGNMENT.face, axis=0).tolist())
        return View(*looking_along(*ALIGNMENT.direction(landmarks), self.config.radius, face))


def load_heads_eg3d(resolution: int = 128) -> HeadsEG3D:
    """The shipped network, whose numbers are stored in half precision.

    Raises:
        GuideError: a resolution that it does not draw at.
    """
    generator = HeadsEG3D()
    if resolution != generator.resolution:
        raise GuideError(f"{NAME} draws at {generator.resolution} px, not at {resolution}; leave the resolution out.")
    generator.load_state_dict(load_file(shipped(FILE)), strict=True)
    return generator
