"""Which generator tensors belong to, by their names and shapes, and whether it can be loaded; all without PyTorch.

Whoever converts a file asks before anything is written, whoever loads it asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guide_lib.assets.layouts import CAMERA_NUMBERS, Shapes, eg3d_layout, stylegan2_layout

# what this package's renderer does; a checkpoint that wants something else is refused
_RENDERER = {
    "clamp_mode": "softplus",
    "disparity_space_sampling": False,
    "white_back": False,
    "superresolution_noise_mode": "none",
    "sr_antialias": True,
    "decoder_lr_mul": 1,
}
_FACES = "choose one that was trained on faces, such as ffhqrebalanced512-128.pkl"
_FLAT = "choose another network of StyleGAN2's"
# Of EG3D's own super-resolutions the small ones do not enlarge in their first block; the sizes alone do not show that.
_ENLARGES = {128: 2, 256: 4}


class NotLoadable(Exception):
    """What the tensors are instead, and what to do: a clause that follows the name of the file."""


def sizes_of(shapes: Shapes, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of generator, and what its configuration takes. settings: what the file says besides; may be empty.

    Raises:
        NotLoadable: it is no generator that this package draws with.

    >>> shapes = stylegan2_layout(16, z_dim=6, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8)
    >>> kind, sizes = sizes_of(shapes, {})
    >>> kind, sizes["resolution"], sizes["z_dim"]
    ('StyleGAN2', 16, 6)
    >>> sizes_of(shapes | {"mapping.embed.weight": (8, 10)}, {})
    Traceback (most recent call last):
    guide_lib.assets.networks.NotLoadable: holds a conditional StyleGAN2, whose pictures depend on a label (10 kinds):
    choose another network of StyleGAN2's
    """
    eg3d = "decoder.net.0.weight" in shapes
    kind, advice, read = ("EG3D", _FACES, _eg3d) if eg3d else ("StyleGAN2", _FLAT, _stylegan2)
    if ("backbone." if eg3d else "") + "synthesis.b4.const" not in shapes:
        raise NotLoadable(foreign(shapes))
    try:
        sizes, layout = read(shapes, settings)
    except (LookupError, TypeError, ValueError) as error:
        raise NotLoadable(f"holds {kind} of another make ({short(error)}): {advice}") from error
    if different := _difference(shapes, layout):
        raise NotLoadable(f"holds {kind} of another make ({different}): {advice}")
    return kind, sizes


def foreign(shapes: Shapes) -> str:
    """What tensors are that belong to none of the generators."""
    if any(".input.freqs" in f".{name}" or "synthesis.L0_" in name for name in shapes):
        return "holds StyleGAN3, with which nothing here draws: choose StyleGAN2 or EG3D"
    some = ", ".join(list(shapes)[:2])[:100] or "none"
    known = "known are StyleGAN2 and EG3D, and for the paper's track GOAE, ArcFace and FaceNet"
    return f"holds another network, with tensors such as {some}: {known}"


def short(value: object) -> str:
    """A value or an error out of a file, on one line."""
    value = f"{value.args[0]} is missing" if isinstance(value, KeyError) and value.args else value
    return ascii(str(value))[1:-1][:80]


def _difference(shapes: Shapes, layout: Shapes) -> str:
    """The first tensor that is missing, of another shape or one too many; empty if there is none."""
    for name, shape in layout.items():
        if name not in shapes:
            return f"{name} is missing"
        if tuple(shapes[name]) != shape:
            return f"{name} has the shape {list(shapes[name])[:8]}, not {list(shape)}"
    extra = [name for name in shapes if name not in layout]
    return f"it has {short(extra[0])}" if extra else ""


def _backbone(shapes: Shapes, prefix: str) -> dict[str, int]:
    """What both configurations share."""
    sizes = [r for r in (4 << i for i in range(9)) if f"{prefix}synthesis.b{r}.conv1.bias" in shapes]
    widths = [shapes[f"{prefix}synthesis.b{r}.conv1.bias"][0] for r in sizes]
    return {
        "w_dim": shapes[f"{prefix}mapping.w_avg"][0],
        "mapping_layers": sum(f"{prefix}mapping.fc{i}.bias" in shapes for i in range(16)),
        "channel_base": widths[-1] * sizes[-1],
        "channel_max": max(widths),
        "size": sizes[-1],
        "mapping_inputs": shapes[f"{prefix}mapping.fc0.weight"][1],
    }


def _stylegan2(shapes: Shapes, settings: Mapping[str, Any]) -> tuple[dict[str, Any], Shapes]:
    if "mapping.embed.weight" in shapes:
        labels = shapes["mapping.embed.weight"][1]
        raise NotLoadable(f"holds a conditional StyleGAN2, whose pictures depend on a label ({labels} kinds): {_FLAT}")
    shared = _backbone(shapes, "")
    sizes = {"resolution": shared.pop("size"), "z_dim": shared.pop("mapping_inputs"), **shared}
    trained = settings.get("init_kwargs", {})
    trained = trained | trained.get("synthesis_kwargs", {})  # StyleGAN2-ADA nests them, later releases do not
    rest = {"clamp": trained.get("conv_clamp"), "half_blocks": trained.get("num_fp16_res", 0)}
    return sizes | rest, stylegan2_layout(**sizes)


def _eg3d(shapes: Shapes, settings: Mapping[str, Any]) -> tuple[dict[str, Any], Shapes]:
    shared = _backbone(shapes, "backbone.")
    if shapes["backbone.mapping.embed.weight"][1] != CAMERA_NUMBERS:
        raise NotLoadable(f"holds EG3D that is not conditioned on a camera: {_FACES}")
    decoder_width, plane_channels = shapes["decoder.net.0.weight"]
    sizes = {
        "plane_size": shared.pop("size"),
        "z_dim": shared.pop("mapping_inputs") - shared["w_dim"],
        **shared,
        "plane_channels": plane_channels,
        "decoder_width": decoder_width,
        "enlarge_from": shapes["superresolution.block0.conv1.noise_const"][0] // 2,
        "enlarge_widths": tuple(shapes[f"superresolution.block{i}.conv1.bias"][0] for i in (0, 1)),
    }
    rendering = settings.get("rendering_kwargs", {})
    _check_enlargement(shapes["superresolution.block1.conv1.noise_const"][0], rendering)
    return sizes | (_rendered(rendering, settings) if rendering else {}), eg3d_layout(**sizes)


def _check_enlargement(size: int, rendering: Mapping[str, Any]) -> None:
    """Refuse the super-resolutions whose first block leaves the size as it is."""
    module = str(rendering.get("superresolution_module", "")).rpartition(".")[2]
    for times in (2, 4):
        if module.endswith(f"Hybrid{times}X") or not module and _ENLARGES.get(size) == times:
            raise NotLoadable(f"holds EG3D at {size} px, which enlarges {times} times where 512 px take 8: {_FACES}")
    if module and not module.endswith(("8X", "8XDC")):
        raise NotLoadable(f"holds EG3D with another super-resolution ({short(module)}): {_FACES}")


def _rendered(rendering: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """How the rays are followed."""
    for name, value in _RENDERER.items():
        if rendering.get(name, value) != value:
            other = f"{name} is {short(rendering[name])}"
            raise NotLoadable(f"holds EG3D with another renderer ({other}): {_FACES}")
    return {
        "render_size": int(settings["neural_rendering_resolution"]),
        "sampling": {
            "near": float(rendering["ray_start"]),
            "far": float(rendering["ray_end"]),
            "coarse": int(rendering["depth_resolution"]),
            "fine": int(rendering["depth_resolution_importance"]),
        },
        "box_warp": float(rendering["box_warp"]),
        "radius": float(rendering["avg_camera_radius"]),
        "pivot": tuple(map(float, rendering["avg_camera_pivot"])),
        # a checkpoint from before these settings was never conditioned on its camera
        "camera_scale": 0.0 if rendering.get("c_gen_conditioning_zero") else float(rendering.get("c_scale", 0)),
    }
