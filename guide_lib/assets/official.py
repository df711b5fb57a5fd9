"""Pretrained files that nobody may pass on: you download them by hand, this package converts them once.

`converted("eg3d-ffhq-512")` is the path, or one sentence on how to get the file; `convert` turns a pickle into
safetensors, and nothing in it runs. Other files of the same two formats convert as well, to a place beside them.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from guide_lib.assets.registry import cache_dir
from guide_lib.errors import GuideError
from guide_lib.files import written_whole
from guide_lib.readers import Arrays, is_torch_file, nvidia_generator, torch_state


@dataclass(frozen=True)
class OfficialFile:
    """A file as its makers publish it.

    file, page: its name there, and where to get it. kind: "generator", "encoder" or "recogniser". licence: what it
    allows. trained_on: the pictures it has seen.
    """

    file: str
    kind: str
    page: str
    licence: str
    trained_on: str


OFFICIAL: dict[str, OfficialFile] = {
    "eg3d-ffhq-512": OfficialFile(
        file="ffhqrebalanced512-128.pkl",
        kind="generator",
        page="https://catalog.ngc.nvidia.com/orgs/nvidia/teams/research/models/eg3d",
        licence="NVIDIA Source Code License for EG3D: non-commercial research and evaluation only",
        trained_on="FFHQ (70,000 Flickr portraits, CC BY-NC-SA), rebalanced by pose",
    ),
    "goae-ffhq": OfficialFile(
        file="encoder_FFHQ.pt",
        kind="encoder",
        page="https://github.com/jiangyzy/GOAE",
        licence="none stated, and trained on EG3D and FFHQ, which are non-commercial: research only",
        trained_on="FFHQ and pictures that EG3D draws",
    ),
    "arcface-ir-se50": OfficialFile(
        file="model_ir_se50.pth",
        kind="recogniser",
        page="https://github.com/TreB1eN/InsightFace_Pytorch",
        licence="MIT for the code; the faces it learned from were collected for research only",
        trained_on="MS1M, refined by the makers of ArcFace: 5.8 million pictures of 85,000 people from the web",
    ),
    "facenet-vggface2": OfficialFile(
        file="20180402-114759-vggface2.pt",
        kind="recogniser",
        page="https://github.com/timesler/facenet-pytorch/releases/tag/v2.2.9",
        licence="MIT for the code; VGGFace2 was for research only and is withdrawn",
        trained_on="VGGFace2: 3.3 million pictures of 9,131 people from the web",
    ),
}


def converted_path(name: str) -> Path:
    """Where the converted file of an official one lies in the cache.

    >>> converted_path("eg3d-ffhq-512").name
    'eg3d-ffhq-512.safetensors'
    """
    return cache_dir() / f"{name}.safetensors"


def converted(name: str) -> Path:
    """The converted file of `name`; `GuideError` says where to get the original if it is not there."""
    path, official = converted_path(name), OFFICIAL[name]
    if os.path.isfile(path):
        return path
    raise GuideError(
        f"{name} is not on this machine and not part of this package (licence: {official.licence}); download "
        f"{official.file} yourself from {official.page} and run: python -m guide_lib convert {official.file}."
    )


def convert(source: Path, out: Path | None = None) -> Path:
    """Convert a pickle of NVIDIA's, or a state dict that torch.save wrote, to safetensors; returns the new file.

    It goes to `out`; else into the cache if it has the name of an official file; else beside `source`. Raises
    `GuideError` if `source` is anything else or `out` cannot be written.

    >>> import torch
    >>> torch.save({"weight": torch.ones(2, 3)}, tmp_path / "mine.pt")
    >>> convert(tmp_path / "mine.pt").name
    'mine.safetensors'
    >>> _ = (tmp_path / "page.pkl").write_bytes(b"<!DOCTYPE html>")
    >>> convert(tmp_path / "page.pkl")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: .../page.pkl is an HTML page instead of a file: open it in a browser to see why.
    """
    try:
        content = source.read_bytes()
    except OSError as error:
        raise GuideError(f"{source} cannot be read ({error.strerror}); check the path.") from error
    if content[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise GuideError(f"{source} is an HTML page instead of a file: open it in a browser to see why.")
    arrays, facts = _read(content)
    known = {official.file: converted_path(name) for name, official in OFFICIAL.items()}
    out = out or known.get(source.name) or source.with_suffix(".safetensors")
    if os.path.exists(out) and not _converted_before(out):
        raise GuideError(f"{out} is another file and would be lost; choose another name with --out.")
    metadata = facts | {"source": source.name, "source_sha256": hashlib.sha256(content).hexdigest()}
    try:
        with written_whole(out) as partial:
            save_file(arrays, partial, metadata)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:160]
        raise GuideError(f"{out} cannot be written ({reason}); choose another with --out.") from error
    return out


def _converted_before(path: Path) -> bool:
    """Whether the file is one that `convert` wrote."""
    try:
        with safe_open(path, "np") as file:
            return "source_sha256" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _read(content: bytes) -> tuple[Arrays, dict[str, str]]:
    """The tensors of a file of either kind, and what else it says."""
    if is_torch_file(content):
        return torch_state(content), {}
    network = nvidia_generator(content)
    return network.arrays, {"class_name": network.class_name, "settings": json.dumps(network.settings)}
