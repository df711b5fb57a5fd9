"""Pretrained files that nobody may pass on: you download them by hand, this package converts them once.

`converted("eg3d-ffhq-512")` is the path, or one sentence on how to get the file; `convert` turns a downloaded file into
safetensors, and nothing in it runs. Other files that hold StyleGAN2 or EG3D convert as well, to a place beside them.
Whatever could not be loaded afterwards is refused in one sentence that says what it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from guide_lib.assets.contents import Kept, keep
from guide_lib.assets.networks import NotLoadable
from guide_lib.assets.registry import cache_dir
from guide_lib.errors import GuideError
from guide_lib.files import plainly_named, shown, written_whole
from guide_lib.readers import (
    StoredNetwork,
    diagnosis,
    is_torch_file,
    nvidia_generator,
    safetensors_facts,
    safetensors_file,
    torch_file,
)

_CONVERTED = "source_sha256"  # in the metadata of every converted file


@dataclass(frozen=True)
class OfficialFile:
    """A file as its makers publish it.

    file, page: its name there, and where to get it. kind: "generator", "encoder" or "recogniser". licence: what it
    allows. trained_on: the pictures it has seen. layout: of its tensors, see `digest`; "" for EG3D, of several sizes.
    """

    file: str
    kind: str
    page: str
    licence: str
    trained_on: str
    layout: str = ""


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
        layout="618ef59b691082a4",
    ),
    "arcface-ir-se50": OfficialFile(
        file="model_ir_se50.pth",
        kind="recogniser",
        page="https://github.com/TreB1eN/InsightFace_Pytorch",
        licence="MIT for the code; the faces it learned from were collected for research only",
        trained_on="MS1M, refined by the makers of ArcFace: 5.8 million pictures of 85,000 people from the web",
        layout="f8f68b1a05ac20de",
    ),
    "facenet-vggface2": OfficialFile(
        file="20180402-114759-vggface2.pt",
        kind="recogniser",
        page="https://github.com/timesler/facenet-pytorch/releases/tag/v2.2.9",
        licence="MIT for the code; VGGFace2 was for research only and is withdrawn",
        trained_on="VGGFace2: 3.3 million pictures of 9,131 people from the web",
        layout="7b5cd7aa05aae3ca",
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
    """Convert a downloaded file to safetensors, without running anything in it; returns the new file.

    It goes to `out`; else into the cache if it is an official file; else beside `source`. Raises `GuideError` if it
    holds nothing that can be loaded, or `out` cannot be written.

    >>> _ = (tmp_path / "page.pkl").write_bytes(b"<!DOCTYPE html>")
    >>> convert(tmp_path / "page.pkl")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: .../page.pkl is an HTML page instead of a file: open it in a browser to see why.
    >>> torch.save({"latent": torch.ones(1, 512)}, tmp_path / "mine.pt")
    >>> convert(tmp_path / "mine.pt")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: .../mine.pt holds another network, with tensors such as latent: known are StyleGAN2 and
    EG3D, and for the paper's track GOAE, ArcFace and FaceNet.
    """
    content = _content(source)
    network, kept = _kept(source, content)
    out = out or _place(source, kept.kind)
    if os.path.exists(out) and not _converted_before(out):
        raise GuideError(f"{out} is another file and would be lost; choose another name with --out.")
    facts = {"network": kept.kind, "note": kept.note, "settings": json.dumps(kept.settings)}
    facts |= {"class_name": network.class_name, "source": shown(source.name)}
    try:
        with written_whole(out) as partial:
            save_file(kept.arrays, partial, facts | {_CONVERTED: hashlib.sha256(content).hexdigest()})
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:160]
        raise GuideError(f"{out} cannot be written ({reason}); choose another with --out.") from error
    return out


def conversion_note(path: Path) -> str:
    """What a converted file holds, and what had to be assumed about it."""
    with plainly_named(path) as plain, safe_open(plain, "np") as file:
        facts = file.metadata() or {}
    return "; ".join(text for text in (facts.get("network"), facts.get("note")) if text)


def _content(source: Path) -> bytes:
    if os.path.exists(source) and not os.path.isfile(source):  # a device may have no end
        raise GuideError(f"{source} is no file but a folder, a pipe or a device; name a file.")
    try:
        content = source.read_bytes()
    except OSError as error:
        raise GuideError(f"{source} cannot be read ({error.strerror}); check the path.") from error
    if {_CONVERTED, "crc32"} & (safetensors_facts(content) or {}).keys():
        raise GuideError(f"{source} was written by this package: use it as it is, with --generator.")
    return content


def _kept(source: Path, content: bytes) -> tuple[StoredNetwork, Kept]:
    """What a file holds, and what of it is kept; or the sentence that says what it is instead."""
    try:
        network = _read(content)
        return network, keep(network, {official.layout: name for name, official in OFFICIAL.items() if official.layout})
    except NotLoadable as error:
        raise GuideError(f"{source} {error}.") from error
    except GuideError as error:
        if clause := diagnosis(content):
            raise GuideError(f"{source} {clause}.") from error
        raise


def _read(content: bytes) -> StoredNetwork:
    """The tensors of a file of any of the three kinds, and what else it says."""
    if safetensors_facts(content) is not None:
        return safetensors_file(content)
    return torch_file(content) if is_torch_file(content) else nvidia_generator(content)


def _place(source: Path, kind: str) -> Path:
    """Where the conversion of a file goes that holds a network of this kind."""
    named = next((name for name, official in OFFICIAL.items() if official.file == source.name), None)
    if named and kind != (named if OFFICIAL[named].layout else "EG3D"):
        raise GuideError(f"{source} has the name of {named} but holds {kind}; download the original again.")
    name = named or (kind if kind in OFFICIAL else None)
    return converted_path(name) if name else source.with_suffix(".safetensors")


def _converted_before(path: Path) -> bool:
    """Whether the file is one that `convert` wrote."""
    try:
        with plainly_named(path) as plain, safe_open(plain, "np") as file:
            return _CONVERTED in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False
