"""The ORL faces: 40 people, 10 grey pictures each, as binary PGM files."""

import re

import numpy as np

from guide_lib.readers.common import Arrays, expect

_LARGEST = 20_000  # pixels, ORL's have 92 x 112: undoing a text-mode copy takes time with the square of it
_HEADER = re.compile(rb"P5\s+(?:#[^\n]*\n\s*)*(\d{1,5})\s+(\d{1,5})\s+(\d{1,5})(?:\r\n|\s)")


def _undo_text_mode(pixels: bytes, width: int, height: int) -> bytes:
    """Take back a text-mode copy, which wrote the byte 10 as 13 10 unless 13 stood before it already.

    The count of pixels says how many 13 10 were there from the start: none in all but two of the ORL
    pictures, and one in those. There, the one that leaves neighbouring rows most alike is kept; a wrong
    choice would move the pixels between two such pairs by one place.
    """
    pieces = pixels.split(b"\r\n")
    restored = b"\n".join(pieces)
    if len(restored) + 1 != width * height:
        return restored
    kept = (b"\n".join(pieces[:i]) + b"\r\n" + b"\n".join(pieces[i:]) for i in range(1, len(pieces)))

    def roughness(candidate: bytes) -> float:
        rows = np.frombuffer(candidate, np.uint8).reshape(height, width).astype(np.float64)
        return float(np.square(np.diff(rows, axis=0)).sum())

    return min(kept, key=roughness, default=restored)


def read_pgm(content: bytes) -> np.ndarray:
    """A binary PGM picture (P5, 8 bits) as uint8 [height, width].

    A third of the ORL files were damaged by a text-mode copy before they were packaged; their header shows
    it, and it is undone here.

    >>> read_pgm(b"P5 3 2 255 " + bytes([0, 50, 100, 150, 200, 250]))
    array([[  0,  50, 100],
           [150, 200, 250]], dtype=uint8)
    """
    header = _HEADER.match(content[:1024])
    expect(header is not None, "PGM", "no P5 header")
    width, height, largest = (int(number) for number in header.groups())
    expect(0 < width * height <= _LARGEST, "PGM", f"it has {width} x {height} pixels")
    pixels = content[header.end() :]
    if content.startswith(b"P5\r\n"):
        pixels = _undo_text_mode(pixels, width, height)
    expect(largest == 255 and len(pixels) == width * height, "PGM", "its size is not what its header says")
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


def orl_faces(files: list[bytes]) -> Arrays:
    """`images` uint8 [40 people, 10 pictures, 112, 92] from 400 PGM files in the order s1/1, ... s40/10."""
    pictures = [read_pgm(content) for content in files]
    complete = len(pictures) == 400 and all(picture.shape == (112, 92) for picture in pictures)
    expect(complete, "ORL", "it does not hold 400 pictures of 92 x 112 pixels")
    return {"images": np.stack(pictures).reshape(40, 10, 112, 92)}
