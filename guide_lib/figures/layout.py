"""Text and tiles on a white page: the small pieces that `guide_lib.figures.plots` puts together (PIL only)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

INK, QUIET, WHITE = "#1a1a1a", "#555555", "#ffffff"
GAP = 8  # pixels between two tiles


@lru_cache(maxsize=16)
def font_of_size(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib ships: the same letters on every machine."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """Break `text` at spaces so that every line fits `width` pixels (a longer word stays whole).

    >>> print(wrap("the generator, before", 100, font_of_size(16)))
    the
    generator,
    before
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines)


def sentence(text: str, width: int, size: int, colour: str, align: str = "left") -> Image.Image:
    """Text on white, `width` pixels wide and as high as it needs; `size` of the letters in pixels.

    >>> sentence("the generator, before", 200, 16, INK).height < sentence("the generator, before", 100, 16, INK).height
    True
    """
    font = font_of_size(size)
    text = wrap(text, width, font)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    box = ruler.multiline_textbbox((0, 0), text, font=font, spacing=6)
    canvas = Image.new("RGB", (width, int(box[3]) + 4), WHITE)
    x = max(0, (width - int(box[2])) // 2) if align == "center" else 0
    ImageDraw.Draw(canvas).multiline_text((x, 0), text, fill=colour, font=font, spacing=6, align=align)
    return canvas


def tile_label(text: str, tile: int) -> Image.Image:
    """The label above a column of tiles, `tile` pixels wide; small tiles get small letters."""
    return sentence(text, tile, 16 if tile >= 140 else 13, INK, align="center")


def label_width(labels: Sequence[str], tile: int) -> int:
    """Pixels that the row labels need, at most `tile`."""
    if not any(labels):
        return 0
    return min(tile, max(int(font_of_size(15).getlength(text)) for text in labels) + 2) + GAP


def header(labels: Sequence[Image.Image], left: int, tile: int) -> Image.Image | None:
    """Column labels above the tiles, standing on a common base line."""
    if not labels:
        return None
    height = max(label.height for label in labels)
    band = Image.new("RGB", (left + len(labels) * (tile + GAP) - GAP, height), WHITE)
    for i, label in enumerate(labels):
        band.paste(label, (left + i * (tile + GAP), height - label.height))
    return band


def tile_row(pictures: Sequence[Image.Image], label: str, left: int, tile: int) -> Image.Image:
    """A row label (empty: none) and its tiles."""
    band = Image.new("RGB", (left + max(len(pictures), 1) * (tile + GAP) - GAP, tile), WHITE)
    if left and label:
        text = sentence(label, left - GAP, 15, INK)
        band.paste(text, (0, max(0, (tile - text.height) // 2)))
    for i, picture in enumerate(pictures):
        small = picture.resize((tile, tile), Image.Resampling.LANCZOS)
        band.paste(small, (left + i * (tile + GAP), 0))
    return band


def stack(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    """One below the other, left-aligned, `gap` pixels apart.

    >>> stack([Image.new("RGB", (30, 10)), Image.new("RGB", (20, 10))], gap=5).size
    (30, 25)
    """
    height = sum(part.height for part in parts) + gap * (len(parts) - 1)
    page = Image.new("RGB", (max(part.width for part in parts), height), WHITE)
    y = 0
    for part in parts:
        page.paste(part, (0, y))
        y += part.height + gap
    return page


def beside(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    """One to the right of the other, top-aligned, `gap` pixels apart."""
    width = sum(part.width for part in parts) + gap * (len(parts) - 1)
    page = Image.new("RGB", (width, max(part.height for part in parts)), WHITE)
    x = 0
    for part in parts:
        page.paste(part, (x, 0))
        x += part.width + gap
    return page


def padded(picture: Image.Image, margin: int) -> Image.Image:
    """The picture with `margin` white pixels on every side."""
    page = Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), WHITE)
    page.paste(picture, (margin, margin))
    return page
