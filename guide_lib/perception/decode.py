"""From a file to pixels as a viewer shows them: the right way up, in sRGB, 8 bits. What is not pixels never decides.

>>> file = tmp_path / "dark.tif"
>>> Image.fromarray(np.full((80, 80), 4095, np.uint16)).save(file)       # 12 bits, all white
>>> decode(file.open("rb")).getpixel((0, 0))
(255, 255, 255)
"""

from __future__ import annotations

import struct
import warnings
import zlib
from importlib.util import find_spec
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageCms

# What cameras and phones write; among Pillow's others is one that hands the file to Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
FORMATS += ("AVIF",) if find_spec("PIL._avif") else ()  # from Pillow 11.3 on
PNG, NEEDED = b"\x89PNG\r\n\x1a\n", (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
JPEG, JPEG_END = b"\xff\xd8", b"\xff\xd9"
LARGEST_PROFILE = 16 << 20  # bytes
WHITE_AT = 262  # the TIFF tag: 0 for white, as in faxes, or black
ORIENTATION = 0x0112  # the EXIF tag: how the stored picture is to be turned
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(file: BinaryIO) -> Image.Image:
    """The first picture of a file as RGB: turned as its EXIF tag says, its colours in sRGB, transparency on white.

    A colour profile, tag or text that cannot be read is left out. Raises Pillow's `DecompressionBombError`, and nearly
    any exception for a damaged file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large, but not too large; a tag that Pillow does not like
        try:
            photo = _read(file)
        except Image.DecompressionBombError:
            raise
        except Exception:
            photo = _read_mended(file)
    grey = photo.mode in ("1", "L", "LA") or photo.mode.startswith(("I", "F"))
    profile = None if photo.mode == "CMYK" else photo.info.get("icc_profile")
    return in_srgb(_flatten(photo), profile, grey)


def in_srgb(photo: Image.Image, profile: bytes | None, grey: bool = False) -> Image.Image:
    """RGB numbers under a colour profile -> sRGB; the very same if it is missing, cannot be read or is sRGB's own.

    grey: the picture was stored without colour, so a profile of greys may explain it.
    """
    if not profile:
        return photo
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = "L" if grey and source.profile.xcolor_space == "GRAY" else "RGB"
        convert = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, ImportError):
        return photo
    steps = np.linspace(0, 255, 17).astype(np.uint8)
    probe = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)).convert(mode)
    moved = ImageChops.difference(ImageCms.applyTransform(probe, convert), probe.convert("RGB"))
    if np.asarray(moved).max() <= 2:  # rounding
        return photo
    return ImageCms.applyTransform(photo.convert(mode), convert)


def _read(file: BinaryIO, profile: bytes | None = None) -> Image.Image:
    """The pixels in their own mode, the right way up."""
    file.seek(0)
    with Image.open(file, formats=FORMATS) as opened:
        opened.load()
        try:
            way = TURNS.get(opened.getexif().get(ORIENTATION))
        except Exception:  # whatever Pillow trips over in there
            way = None
        photo = opened.copy() if way is None else opened.transpose(way)
        if photo.mode.startswith("I;16") and getattr(opened, "tag_v2", {}).get(WHITE_AT) == 0:
            photo.paste(Image.fromarray(65535 - np.asarray(photo)))  # Pillow does so for 8 bits alone
    if profile:
        photo.info["icc_profile"] = profile
    return photo


def _read_mended(file: BinaryIO) -> Image.Image:
    """Once more, without what a PNG may lack, or with the end that a JPEG should have."""
    file.seek(0)
    start = file.read(len(PNG))
    if start == PNG:
        return _read(*_pixels_only(file))
    if start.startswith(JPEG):
        return _with_an_end(start + file.read())
    raise ValueError("neither a PNG nor a JPEG")


def _pixels_only(file: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """A PNG, read from after its signature, without texts and the like, which Pillow wants to be short and sound; and
    its colour profile."""
    kept, profile = [PNG], None
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        body = file.read(length + 4)  # with its checksum
        if name in NEEDED:
            kept += [head, body]
        elif name == b"iCCP":
            _, _, packed = body.partition(b"\0")  # a name before it, and the method, of which there is one
            profile = zlib.decompressobj().decompress(packed[1:-4], LARGEST_PROFILE)
    return BytesIO(b"".join(kept)), profile


def _with_an_end(content: bytes) -> Image.Image:
    """A JPEG that lost its end marker; `ValueError` if pixels went with it.

    Where the stream ends the decoder goes on with what it has. So without the last bytes only the bottom of a whole
    picture changes, but all that is below the place where a broken one breaks off.
    """
    whole, shorter = (_read(BytesIO(content[:n] + JPEG_END)) for n in (len(content), len(content) - 8))
    changed = ImageChops.difference(whole, shorter).getbbox()
    # Blocks are up to 16 rows high, and their colours run into the next.
    if changed and changed[1] < whole.height - max(20, whole.height // 50):
        raise ValueError("the lower part is missing")
    return whole


def _flatten(photo: Image.Image) -> Image.Image:
    """RGB of any mode; what is transparent becomes white."""
    if photo.mode.startswith(("I", "F")):
        photo = _eight_bits(np.asarray(photo))
    if not ("A" in photo.getbands() or "transparency" in photo.info):
        return photo.convert("RGB")
    white = Image.new("RGBA", photo.size, "white")
    return Image.alpha_composite(white, photo.convert("RGBA")).convert("RGB")


def _eight_bits(levels: np.ndarray) -> Image.Image:
    """Greys of more than 8 bits, or floating. White is the largest number of 8, 10, 12, ... bits that they need; and 1
    for floating ones, if none comes near 16."""
    if levels.dtype.kind == "f":
        levels = np.nan_to_num(levels, posinf=0).clip(0, 2.0**32)
        levels = np.round(levels.clip(0, 1) * 255) if levels.max() < 16 else levels
    bits = max(8, int(levels.max()).bit_length())
    return Image.fromarray((levels.astype(np.int64) >> (bits + bits % 2 - 8)).clip(0, 255).astype(np.uint8))
