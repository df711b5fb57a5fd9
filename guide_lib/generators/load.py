"""Name -> generator."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable
from pathlib import Path

import torch

from guide_lib.assets.official import OFFICIAL
from guide_lib.errors import GuideError
from guide_lib.generators.base import Generator
from guide_lib.generators.checkpoints import load_converted, load_official
from guide_lib.generators.heads_eg3d import NAME as HEADS_EG3D
from guide_lib.generators.heads_eg3d import load_heads_eg3d
from guide_lib.generators.mobile import load_mobilestylegan

LOADERS: dict[str, Callable[..., Generator]] = {
    "mobilestylegan-ffhq": load_mobilestylegan,
    HEADS_EG3D: load_heads_eg3d,
    **{name: functools.partial(load_official, name) for name, file in OFFICIAL.items() if file.kind == "generator"},
}


def load_generator(
    name: str | Path = "mobilestylegan-ffhq", resolution: int | None = None, device: str | torch.device | None = None
) -> Generator:
    """Return a pretrained generator, frozen and in evaluation mode, on `device` (the CPU by default).

    name: one of `LOADERS`, or the path of a .safetensors file: one that `python -m guide_lib convert` wrote, or the
        student.safetensors of a run, which draws as it drew when it was saved.
    resolution: in pixels; left out, it is the generator's own (256 for mobilestylegan-ffhq).

    Raises:
        GuideError: unknown name, a file to be downloaded first, or a resolution that this generator does not offer.

    >>> load_generator("mobilestylegan")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: There is no generator 'mobilestylegan'; did you mean 'mobilestylegan-ffhq'?
    Known: mobilestylegan-ffhq, heads-eg3d, eg3d-ffhq-512.
    """
    name, size = os.fspath(name), {} if resolution is None else {"resolution": resolution}
    generator = LOADERS[name](**size) if name in LOADERS else _from_file(name, resolution)
    device = torch.device(device or "cpu")
    # What tensor cores want; on a CPU each generator chooses for itself.
    layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
    return generator.to(device, memory_format=layout).eval().requires_grad_(False)


def _from_file(name: str, resolution: int | None) -> Generator:
    """A converted checkpoint or a saved student."""
    from guide_lib.generators.students import is_student, load_student  # which load their own generator first

    path = Path(name)
    if not os.path.exists(path) and not (os.sep in name or path.suffix):
        near = difflib.get_close_matches(name, LOADERS, n=1, cutoff=0.0)[0]
        raise GuideError(f"There is no generator '{name}'; did you mean '{near}'? Known: {', '.join(LOADERS)}.")
    if os.path.isdir(path):
        raise GuideError(f"{path} is a folder; name the file in it, such as {path / 'student.safetensors'}.")
    if not os.path.isfile(path):
        raise GuideError(f"There is no file at {path}; check the path.")
    return load_student(path, resolution) if is_student(path) else load_converted(path, resolution)
