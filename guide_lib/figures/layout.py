"""Text and tiles on a white page: the small pieces that `guide_lib.figures.plots` puts together (PIL only)."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from guide_lib.figures.letters import LEADING, fitted, font_of_size, readable, wrap

INK, QUIET, WHITE = "#1a1a1a", "#555555", "#ffffff"
GAP = 8  # pixels between two tiles
NARROWEST = 120  # pixels that a label may take beside or above smaller tiles


def sentence(
    text: str, width: int, size: int, colour: str, align: str = "left", height: int | None = None
) -> Image.Image:
    """Text on white, `width` pixels wide and as high as it needs; `size` of the letters in pixels.

    height: if given, the middle of a text that needs more is left out.

    >>> sentence("the generator, before", 200, 16, INK).height < sentence("the generator, before", 100, 16, INK).height
    True
    """
    text, file = readable(text)
    font = font_of_size(size, file)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    line = font.getbbox("A")[3] + LEADING
    text = wrap(text, width, font) if height is None else fitted(text, width, font, max(1, int(height // line)))
    box = ruler.multiline_textbbox((0, 0), text, font=font, spacing=LEADING)
    canvas = Image.new("RGB", (width, int(box[3]) + 4), WHITE)
    x = max(0, (width - int(box[2])) // 2) if align == "center" else 0
    ImageDraw.Draw(canvas).multiline_text((x, 0), text, fill=colour, font=font, spacing=LEADING, align=align)
    return canvas


def tile_label(text: str, tile: int) -> Image.Image:
    """The label above a column of tiles, `tile` pixels wide; small tiles get small letters."""
    return sentence(text, tile, 16 if tile >= 140 else 13, INK, align="center", height=max(tile, NARROWEST))


def label_width(labels: Sequence[str], tile: int) -> int:
    """Pixels that the row labels need, at most `tile` or, beside small tiles, `NARROWEST`."""
    if not any(labels):
        return 0
    longest = max(_length(line, 15) for text in labels for line in text.split("\n"))
    return min(max(tile, NARROWEST), longest + 2) + GAP


def _length(text: str, size: int) -> int:
    """How many pixels a line of text takes."""
    text, file = readable(text)
    return int(font_of_size(size, file).getlength(text))


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
        text = sentence(label, left - GAP, 15, INK, height=tile)
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
