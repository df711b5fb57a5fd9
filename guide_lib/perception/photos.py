"""From files to pictures (for folders see `guide_lib.perception.albums`).

`load_photo("me.jpg")` is as it looks in a viewer, RGB; `load_face("me.jpg")` is the face in it, cut for a generator.
Whatever is wrong with a file ends in one sentence that says what to do about it.
"""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.generators.alignment import FFHQ, Alignment
from guide_lib.perception.crops import from_pil
from guide_lib.perception.decode import decode
from guide_lib.perception.faces import align

SHORTEST_SIDE = 64  # px


def load_photo(path: str | Path) -> Image.Image:
    """Read a photo as a viewer shows it: RGB, turned as its EXIF tag says, in sRGB, transparency on white.

    Of an animation the first picture. Raises GuideError when the file is missing, cannot be opened, is not a
    picture, or is smaller than 64 px.

    >>> Image.new("RGBA", (400, 100)).save(tmp_path / "clear.png")           # all transparent
    >>> photo = load_photo(tmp_path / "clear.png")
    >>> photo.mode, photo.size, photo.getpixel((0, 0))
    ('RGB', (400, 100), (255, 255, 255))
    >>> load_photo("nowhere.jpg")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: There is no photo at nowhere.jpg; check the path.
    """
    path = Path(path)
    with opened(path) as file:
        photo = _decoded(file, path)
    if min(photo.size) < SHORTEST_SIDE:
        size = f"{photo.width} x {photo.height}"
        least = f"{SHORTEST_SIDE} x {SHORTEST_SIDE}"
        raise GuideError(f"{path} has only {size} pixels; use a photo of at least {least}.")
    photo.info["name"] = path.name  # for messages about this photo
    return photo


def load_face(
    path: str | Path, size: int = 512, face: int | None = None, alignment: Alignment = FFHQ, aligned: bool = False
) -> Tensor:
    """Read a photo and cut out one face, [1,3,size,size] in [-1,1].

    face, alignment: see `align`. aligned: the picture is a generator's own, or was cut as it needs it: it is only
    brought to `size`.

    Raises:
        GuideError: the file or the face cannot be used, or a picture that is said to be aligned is not square.

    >>> Image.new("RGB", (300, 300), "white").save(tmp_path / "cut.png")
    >>> load_face(tmp_path / "cut.png", size=64, aligned=True).mean().item()
    1.0
    """
    photo = load_photo(path)
    if not aligned:
        return align(photo, size, face, alignment)
    if photo.width != photo.height:
        raise GuideError(
            f"{path} has {photo.width} x {photo.height} pixels, but an aligned picture is square; align it."
        )
    return from_pil(photo.resize((size, size), Image.Resampling.LANCZOS))


def opened(path: Path) -> BinaryIO:
    """A file to be read as a picture; GuideError if there is none, or it may not be read, or is of another kind."""
    if os.path.isdir(path):
        raise GuideError(f"{path} is a folder; name one of the photos in it.")
    if os.path.exists(path) and not os.path.isfile(path):  # it might have no end, or wait for one
        raise GuideError(f"{path} is no file but a pipe or a device; save the picture in a file.")
    try:
        return path.open("rb")
    except PermissionError:
        raise GuideError(f"You may not read {path}; change its permissions.") from None
    except OSError:
        raise GuideError(f"There is no photo at {path}; check the path.") from None


def enlarged(pixels: np.ndarray, times: int = 4) -> Image.Image:
    """Grey pixels, uint8 [H, W] -> an RGB photo, `times` as large: detectors overlook faces in small pictures.

    >>> enlarged(np.zeros((112, 92), np.uint8)).size
    (368, 448)
    """
    grey = Image.fromarray(pixels)
    return grey.resize((times * grey.width, times * grey.height), Image.Resampling.LANCZOS).convert("RGB")


def _decoded(file: BinaryIO, path: Path) -> Image.Image:
    try:
        return decode(file)
    except Image.DecompressionBombError:
        raise GuideError(f"{path} is too large a picture; shrink it below 100 megapixels first.") from None
    except Exception:  # a damaged file can make a decoder raise nearly anything
        raise GuideError(f"{path} is not a picture that can be read; save it as JPEG or PNG.") from None
