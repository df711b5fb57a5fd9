"""From files to pictures (for folders see `guide_lib.perception.albums`).

`load_photo("me.jpg")` is as it looks in a viewer, RGB.
Whatever is wrong with a file ends in one sentence that says what to do about it.
"""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from guide_lib.errors import GuideError

LONGEST_SIDE = 2048  # px: larger photos are shrunk, which costs nothing at the sizes generated here
SHORTEST_SIDE = 64  # px
# What cameras and phones write; among Pillow's others is one that hands the file to Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")


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


def enlarged(pixels: np.ndarray, times: int = 4) -> Image.Image:
    """Grey pixels, uint8 [H, W] -> an RGB photo, `times` as large: detectors overlook faces in small pictures.

    >>> enlarged(np.zeros((112, 92), np.uint8)).size
    (368, 448)
    """
    grey = Image.fromarray(pixels)
    return grey.resize((times * grey.width, times * grey.height), Image.Resampling.LANCZOS).convert("RGB")


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
