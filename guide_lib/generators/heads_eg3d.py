"""A small EG3D of people who do not exist: its z is the person of `guide_lib.heads`, number by number.

It was trained on rendered heads (data/recipes/heads_eg3d.py), so every z has a true picture from everywhere.
"""

from __future__ import annotations

from safetensors.torch import load_file

from guide_lib.assets import shipped
from guide_lib.errors import GuideError
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.generators.volume import Sampling

FILE = "heads-eg3d.safetensors"
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
    sampling=Sampling(near=2.3, far=3.1, coarse=16, fine=16),
    box_warp=0.8,
    pivot=(0.0, 0.0, 0.0),
    camera_scale=0.0,
    axis_slip=False,
)


def load_heads(resolution: int = 128) -> EG3D:
    """The shipped network; it draws at 128 px."""
    generator = EG3D(HEADS)
    if resolution != generator.resolution:
        raise GuideError(
            f"heads-eg3d draws at {generator.resolution} px, not at {resolution}; leave the resolution out."
        )
    generator.load_state_dict({name: tensor.float() for name, tensor in load_file(shipped(FILE)).items()})
    return generator
