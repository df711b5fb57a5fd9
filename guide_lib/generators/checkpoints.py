"""Converted checkpoints (see `guide_lib.assets.official`) -> generators: sizes by the tensors, settings by the file.

What `python -m guide_lib convert` writes, `load_converted` takes, without being told which network it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from guide_lib.assets.official import converted
from guide_lib.errors import GuideError
from guide_lib.generators.base import Generator
from guide_lib.generators.eg3d import CAMERA_NUMBERS, EG3D, EG3DConfig
from guide_lib.generators.stylegan2_ffhq import StyleGAN2, StyleGAN2Config
from guide_lib.generators.volume import Sampling

State = dict[str, Tensor]
# what this package's renderer does; a checkpoint that wants something else is refused
_RENDERER = {
    "clamp_mode": "softplus",
    "disparity_space_sampling": False,
    "white_back": False,
    "superresolution_noise_mode": "none",
    "sr_antialias": True,
    "decoder_lr_mul": 1,
}


def load_official(name: str, resolution: int | None = None) -> Generator:
    """The generator of an official file that was converted into the cache."""
    return load_converted(converted(name), resolution)


def load_converted(path: Path, resolution: int | None = None) -> Generator:
    """EG3D or StyleGAN2 from a file that `python -m guide_lib convert` wrote.

    Raises:
        GuideError: it is no such file, holds another network, or draws at another `resolution` in pixels.

    >>> load_converted(Path("nowhere.safetensors"))
    Traceback (most recent call last):
    guide_lib.errors.GuideError: nowhere.safetensors is not a converted checkpoint; make one with:
    python -m guide_lib convert FILE.
    """
    state, settings = _read(path)
    try:
        if "decoder.net.0.weight" in state:
            generator = EG3D(eg3d_config(state, settings))
            generator.load_state_dict(state, strict=True)
        else:
            generator = StyleGAN2(stylegan2_config(state, settings))
            generator.backbone.load_state_dict(state, strict=True)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise GuideError(
            f"{path} holds neither EG3D nor an unconditional StyleGAN2, the two networks that can be loaded."
        ) from error
    if resolution not in (None, generator.resolution):
        raise GuideError(
            f"The generator in {path.name} draws at {generator.resolution} px, not at {resolution}; "
            "leave the resolution out."
        )
    return generator


def _read(path: Path) -> tuple[State, dict[str, Any]]:
    """Tensors and settings of a converted file."""
    try:
        with safe_open(path, "pt") as file:
            settings = json.loads((file.metadata() or {})["settings"])
            return {name: file.get_tensor(name) for name in file.keys()}, settings  # noqa: SIM118
    except (OSError, SafetensorError, LookupError, ValueError) as error:
        raise GuideError(
            f"{path} is not a converted checkpoint; make one with: python -m guide_lib convert FILE."
        ) from error


def _backbone_sizes(state: State, prefix: str) -> dict[str, int]:
    """What EG3D's and StyleGAN2's configurations share, read from the shapes."""
    sizes = [r for r in (4 << i for i in range(9)) if f"{prefix}synthesis.b{r}.conv1.bias" in state]
    widths = [len(state[f"{prefix}synthesis.b{r}.conv1.bias"]) for r in sizes]
    layers = sum(f"{prefix}mapping.fc{i}.bias" in state for i in range(16))
    return {
        "w_dim": len(state[f"{prefix}mapping.w_avg"]),
        "mapping_layers": layers,
        "channel_base": widths[-1] * sizes[-1],
        "channel_max": max(widths),
        "size": sizes[-1],
        "mapping_inputs": state[f"{prefix}mapping.fc0.weight"].shape[1],
    }


def eg3d_config(state: State, settings: dict[str, Any]) -> EG3DConfig:
    """The configuration of an EG3D checkpoint; `ValueError` or `LookupError` if it needs another renderer."""
    shared = _backbone_sizes(state, "backbone.")
    rendering = settings["rendering_kwargs"]
    if any(rendering.get(name, value) != value for name, value in _RENDERER.items()):
        raise ValueError("it was trained with another renderer")
    if state["backbone.mapping.embed.weight"].shape[1] != CAMERA_NUMBERS:
        raise ValueError("it is not conditioned on a camera")
    decoder_width, plane_channels = state["decoder.net.0.weight"].shape
    return EG3DConfig(
        plane_size=shared.pop("size"),
        z_dim=shared.pop("mapping_inputs") - shared["w_dim"],
        **shared,
        plane_channels=plane_channels,
        decoder_width=decoder_width,
        render_size=int(settings["neural_rendering_resolution"]),
        enlarge_from=len(state["superresolution.block0.conv1.noise_const"]) // 2,
        enlarge_widths=tuple(len(state[f"superresolution.block{i}.conv1.bias"]) for i in (0, 1)),
        sampling=Sampling(
            near=float(rendering["ray_start"]),
            far=float(rendering["ray_end"]),
            coarse=int(rendering["depth_resolution"]),
            fine=int(rendering["depth_resolution_importance"]),
        ),
        box_warp=float(rendering["box_warp"]),
        radius=float(rendering["avg_camera_radius"]),
        pivot=tuple(map(float, rendering["avg_camera_pivot"])),
        # a checkpoint from before these settings was never conditioned on its camera
        camera_scale=0.0 if rendering.get("c_gen_conditioning_zero") else float(rendering.get("c_scale", 0)),
    )


def stylegan2_config(state: State, settings: dict[str, Any]) -> StyleGAN2Config:
    """The configuration of a StyleGAN2 checkpoint."""
    shared = _backbone_sizes(state, "")
    trained = settings.get("init_kwargs", {})
    trained = trained | trained.get("synthesis_kwargs", {})  # StyleGAN2-ADA nests them, later releases do not
    return StyleGAN2Config(
        resolution=shared.pop("size"),
        z_dim=shared.pop("mapping_inputs"),
        **shared,
        clamp=trained.get("conv_clamp"),
        half_blocks=trained.get("num_fp16_res", 0),
    )
