"""From files to pictures: one photo, or a folder of photos of one person.

`load_photo("me.jpg")` is as it looks in a viewer, RGB; `load_person("photos/ada")` aligns everything in the folder.
Whatever is wrong with a file ends in one sentence that says what to do about it.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.perception.faces import align

LONGEST_SIDE = 2048  # px: larger photos are shrunk, which costs nothing at the sizes generated here
SHORTEST_SIDE = 64  # px
# What cameras and phones write; among Pillow's others is one that hands the file to Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")


class Album(NamedTuple):
    """Photos of one person.

    names: of the files. photos: [N,3,size,size] in [-1,1], FFHQ-aligned, in the same order. skipped: for every other
    file of the folder, the sentence that says why.
    """

    names: list[str]
    photos: Tensor
    skipped: dict[str, str]


def load_photo(path: str | Path) -> Image.Image:
    """Read a photo as RGB: turned as its EXIF tag says, transparency on white, at most 2048 px long.

    Of an animation the first picture. Raises GuideError when the file is missing, cannot be opened, is not a
    picture, or is smaller than 64 px.

    >>> Image.new("RGBA", (4000, 1000)).save(tmp_path / "clear.png")         # all transparent
    >>> photo = load_photo(tmp_path / "clear.png")
    >>> photo.mode, photo.size, photo.getpixel((0, 0))
    ('RGB', (2048, 512), (255, 255, 255))
    >>> load_photo("nowhere.jpg")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: There is no photo at nowhere.jpg; check the path.
    """
    path = Path(path)
    with _opened(path) as file:
        photo = _decode(file, path)
    if min(photo.size) < SHORTEST_SIDE:
        size = f"{photo.width} x {photo.height}"
        least = f"{SHORTEST_SIDE} x {SHORTEST_SIDE}"
        raise GuideError(f"{path} has only {size} pixels; use a photo of at least {least}.")
    photo = _flatten(photo)
    photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    photo.info["name"] = path.name  # for messages about this photo
    return photo


def load_person(folder: str | Path, size: int = 512, faces: Mapping[str, int] | None = None) -> Album:
    """Read and align every photo of a folder, in the order of the file names.

    Files that are no picture or show no face are skipped, and so are photos of several people, unless `faces` says
    which face to take: {"party.jpg": 1}, counted from 0 at the left. Hidden files and folders inside are ignored.

    Raises:
        GuideError: there is no such folder, it cannot be read, or no file of it can be used.

    >>> from guide_lib.assets import shipped
    >>> Image.open(shipped("portrait.png")).save(tmp_path / "ada.png")
    >>> _ = (tmp_path / "notes.txt").write_text("not a photo")
    >>> album = load_person(tmp_path, size=128)
    >>> album.names, list(album.photos.shape), list(album.skipped)
    (['ada.png'], [1, 3, 128, 128], ['notes.txt'])
    """
    folder, faces = Path(folder), faces or {}
    names, photos, skipped = [], [], {}
    for path in _files(folder):
        try:
            photos.append(align(load_photo(path), size, faces.get(path.name)))
            names.append(path.name)
        except GuideError as error:
            skipped[path.name] = str(error)
    if not photos:
        found = "none of its files could be used" if skipped else "it holds no files"
        raise GuideError(f"There is no usable photo in {folder}, {found}; add sharp, well-lit photos of one person.")
    return Album(names, torch.cat(photos), skipped)


def enlarged(pixels: np.ndarray, times: int = 4) -> Image.Image:
    """Grey pixels, uint8 [H, W] -> an RGB photo, `times` as large: detectors overlook faces in small pictures.

    >>> enlarged(np.zeros((112, 92), np.uint8)).size
    (368, 448)
    """
    grey = Image.fromarray(pixels)
    return grey.resize((times * grey.width, times * grey.height), Image.Resampling.LANCZOS).convert("RGB")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise GuideError(f"There is no folder at {folder}; check the path.")
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise GuideError(f"The folder {folder} cannot be read ({error.strerror}); change its permissions.") from None


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except IsADirectoryError:
        raise GuideError(f"{path} is a folder; name one of the photos in it.") from None
    except PermissionError:
        raise GuideError(f"You may not read {path}; change its permissions.") from None
    except OSError:
        raise GuideError(f"There is no photo at {path}; check the path.") from None


def _decode(file: BinaryIO, path: Path) -> Image.Image:
    """The picture in its own mode, the right way up."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large, but not too large
            with Image.open(file, formats=FORMATS) as opened:
                photo = ImageOps.exif_transpose(opened)
                photo.load()
                return photo
    except Image.DecompressionBombError:
        raise GuideError(f"{path} is too large a picture; shrink it below 100 megapixels first.") from None
    except Exception:  # a damaged file can make a decoder raise nearly anything
        raise GuideError(f"{path} is not a picture that can be read; save it as JPEG or PNG.") from None


def _flatten(photo: Image.Image) -> Image.Image:
    """RGB of any mode; what is transparent becomes white; 16-bit grey keeps its 8 upper bits."""
    if photo.mode.startswith("I"):  # older versions of Pillow read 16-bit grey as mode I
        photo = Image.fromarray((np.asarray(photo).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if not ("A" in photo.getbands() or "transparency" in photo.info):
        return photo.convert("RGB")
    white = Image.new("RGBA", photo.size, "white")
    return Image.alpha_composite(white, photo.convert("RGBA")).convert("RGB")
