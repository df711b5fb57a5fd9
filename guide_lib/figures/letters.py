"""Letters of every script, and lines that fit: which font has them, where to break, what to leave out.

>>> text, file = readable("Zoë, 7 years")
>>> text, Path(file).name
('Zoë, 7 years', 'DejaVuSans.ttf')
>>> print(fitted("a_photo_with_a_rather_long_name_17.jpg", 130, font_of_size(16), most=1))
a_phot…17.jpg

Widths and sizes are in pixels. Matplotlib lends its fonts; none of its global state is touched.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Set
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

LEADING = 6  # px between two lines
DOTS = "…"  # in place of what was left out
PICTURES = ("last resort", "lastresort", "adobe blank", "color emoji")  # families that draw no letters in ink
REGULAR = ("regular", "book", "normal", "roman", "w3")
UNSEEN = "\u200b\u200c\u200d\ufe0e\ufe0f"  # these only say how their neighbours look


def load_matplotlib() -> None:
    """Import matplotlib, whatever the environment's MPLBACKEND says: a name that it does not know ends its import, but
    what is written into files needs no backend."""
    if "matplotlib" in sys.modules:
        return
    named = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        os.environ.update({} if named is None else {"MPLBACKEND": named})
    if named:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = named


@lru_cache(maxsize=256)
def readable(text: str) -> tuple[str, str]:
    """A text as it can be drawn, and the file of the font for it.

    It is DejaVu Sans, the same on every machine, or where that lacks letters the installed font that has most of them.
    What is then still missing is written in ASCII, as `\\u5317`, and not as boxes. Spaces become single ones.
    """
    text = unicodedata.normalize("NFC", "\n".join(" ".join(line.split()) for line in text.split("\n")))
    wanted = frozenset(c for c in text if c.isprintable() and c not in UNSEEN)
    file = _font_for(wanted)
    if wanted - _found_in(file, wanted):
        _tell_once()
    drawn = {c for c in _found_in(file, set(text)) if c.isprintable() or c in UNSEEN} | {"\n"}
    kept = ["" if c in UNSEEN and c not in drawn else c for c in text]
    return "".join(c if c in drawn else c.encode("unicode_escape").decode() for c in kept), file


def font_of_size(size: int, file: str | None = None) -> ImageFont.FreeTypeFont:
    """A font that `readable` has named (DejaVu Sans unless given), its letters `size` pixels high."""
    return _opened(file or _plain(), size)


def wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """Break `text` at spaces so that every line fits `width` pixels, and inside a word that is longer than a line.

    >>> print(wrap("the generator, before", 100, font_of_size(16)))
    the
    generator,
    before
    """
    return "\n".join(line for paragraph in text.split("\n") for line in _lines(paragraph, width, font))


def fitted(text: str, width: int, font: ImageFont.FreeTypeFont, most: int) -> str:
    """`wrap`, in at most that many lines: of a longer text both ends are kept, and its middle is left out.

    >>> print(fitted("the generator before the person was erased from it", 100, font_of_size(16), most=2))
    the
    gen…from it
    """

    def shortened(kept: int) -> str:
        head, tail = text[: kept - kept // 2], text[len(text) - kept // 2 :]
        return wrap(f"{head.rstrip()}{DOTS}{tail.lstrip()}", width, font)

    if (whole := wrap(text, width, font)).count("\n") < most:
        return whole
    kept = bisect_right(range(len(text)), most, key=lambda kept: shortened(kept).count("\n") + 1) - 1
    return shortened(max(kept, 0))


def _lines(paragraph: str, width: int, font: ImageFont.FreeTypeFont) -> Iterator[str]:
    line = ""
    for word in paragraph.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            longer = word
        *full, line = _pieces(longer, width, font)
        yield from full
    yield line


def _pieces(word: str, width: int, font: ImageFont.FreeTypeFont) -> Iterator[str]:
    """A word cut so that every piece fits, if it does not; accents stay on their letters."""
    while len(word) > 1 and font.getlength(word) > width:
        cut = max(bisect_right(range(len(word)), width, key=lambda end: font.getlength(word[:end])) - 1, 1)
        while cut > 1 and unicodedata.category(word[cut])[0] == "M":
            cut -= 1
        yield word[:cut]
        word = word[cut:]
    yield word


@lru_cache(maxsize=1)
def _plain() -> str:
    load_matplotlib()
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"))


@lru_cache(maxsize=32)
def _opened(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


@lru_cache(maxsize=64)
def _font_for(wanted: frozenset[str]) -> str:
    """The file of the font that has most of these letters; of several the plainest."""
    best = (-len(_found_in(_plain(), wanted)), False, False, _plain())
    if -best[0] == len(wanted):
        return _plain()
    from matplotlib.font_manager import findSystemFonts  # those, too, that were installed a minute ago
    from matplotlib.ft2font import FT2Font

    for file in findSystemFonts():
        with suppress(OSError, RuntimeError, ValueError):  # damaged, or of a kind that is not read here
            font, count = FT2Font(file), len(_found_in(file, wanted))
            family, style = font.family_name.lower(), font.style_name.lower()
            rank = (-count, style not in REGULAR, "sans" not in family, file)
            if font.scalable and not any(word in family for word in PICTURES) and rank < best:
                _opened(file, 16)
                best = rank
    return best[-1]


def _found_in(file: str, letters: Set[str]) -> set[str]:
    """Those of the letters for which a font has a glyph."""
    from matplotlib.ft2font import FT2Font

    index = FT2Font(file).get_char_index
    return {letter for letter in letters if index(ord(letter))}


@lru_cache(maxsize=1)
def _tell_once() -> None:
    example = "install one for their script, for example of Noto Sans"
    print(f"no font here has all letters of the names, so some are written like \\u5317; {example}", file=sys.stderr)
