"""Converted checkpoints (see `guide_lib.assets.official`) -> generators: sizes by the tensors, settings by the file.

What `python -m guide_lib convert` writes, `load_converted` takes, without being told which network it is.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from guide_lib.assets.networks import NotLoadable, sizes_of
from guide_lib.assets.official import converted
from guide_lib.errors import GuideError
from guide_lib.files import plainly_named
from guide_lib.generators.base import Generator
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.generators.stylegan2_ffhq import StyleGAN2, StyleGAN2Config
from guide_lib.generators.volume import Sampling
from guide_lib.readers import diagnosis

State = dict[str, Tensor]


def load_official(name: str, resolution: int | None = None) -> Generator:
    """The generator of an official file that was converted into the cache."""
    return load_converted(converted(name), resolution)


def load_converted(path: Path, resolution: int | None = None) -> Generator:
    """EG3D or StyleGAN2 from a file that `python -m guide_lib convert` wrote.

    Raises:
        GuideError: it is no such file, holds another network, or draws at another `resolution` in pixels.

    >>> load_converted(Path("nowhere.safetensors"))
    Traceback (most recent call last):
    guide_lib.errors.GuideError: nowhere.safetensors cannot be read (No such file or directory); check the path.
    """
    state, settings = _read(path)
    try:
        kind, sizes = sizes_of({name: tuple(tensor.shape) for name, tensor in state.items()}, settings)
        generator = _eg3d(sizes, state) if kind == "EG3D" else _stylegan2(sizes, state)
    except NotLoadable as error:
        raise GuideError(f"{path} {error}.") from error
    if resolution not in (None, generator.resolution):
        raise GuideError(
            f"The generator in {path.name} draws at {generator.resolution} px, not at {resolution}; "
            "leave the resolution out."
        )
    return generator


def _eg3d(sizes: dict[str, Any], state: State) -> EG3D:
    if "sampling" in sizes:
        sizes["sampling"] = Sampling(**sizes["sampling"])
    generator = EG3D(EG3DConfig(**sizes))
    generator.load_state_dict(state, strict=True)
    return generator


def _stylegan2(sizes: dict[str, Any], state: State) -> StyleGAN2:
    generator = StyleGAN2(StyleGAN2Config(**sizes))
    generator.backbone.load_state_dict(state, strict=True)
    return generator


def _read(path: Path) -> tuple[State, dict[str, Any]]:
    """Tensors and settings of a converted file."""
    try:
        with plainly_named(path) as plain, safe_open(plain, "pt") as file:
            settings = json.loads((file.metadata() or {}).get("settings", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, settings  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise GuideError(f"{path} {_why_not(path)}.") from error


def _why_not(path: Path) -> str:
    """What is the matter with a file that is no converted checkpoint."""
    try:
        clause = diagnosis(path.read_bytes())
    except OSError as error:
        return f"cannot be read ({error.strerror}); check the path"
    return clause or f"is not a converted checkpoint; run python -m guide_lib convert {shlex.quote(str(path))}"
