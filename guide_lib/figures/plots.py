"""Pictures out of tensors: grids with labels, the before/after figure, the loss curves, what alignment sees.

>>> before, after = generator.picture(w_u), student.picture(w_u)
>>> picture = image_grid([[before, after]], ["Ada"], ["before", "after"])
>>> picture.save(tmp_path / "grid.png")

Everything returns a PIL image on a white background; nothing touches matplotlib's global state.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw

from guide_lib.figures.charts import add_legend, blank_chart, name_axes, rasterise
from guide_lib.figures.layout import (
    GAP,
    INK,
    NARROWEST,
    QUIET,
    WHITE,
    beside,
    header,
    label_width,
    padded,
    sentence,
    stack,
    tile_label,
    tile_row,
)
from guide_lib.figures.letters import font_of_size
from guide_lib.generators.alignment import FFHQ, Alignment
from guide_lib.perception.crops import cut_out, to_uint8
from guide_lib.perception.detection import SMALLEST_FACE, Face, detect_faces

if TYPE_CHECKING:
    from guide_lib.unlearning import Step

Picture = torch.Tensor | Image.Image

WIDTH = 960  # pixels inside the margins of the before/after figure
MARGIN = 20
# Okabe and Ito's colours, told apart by colour-blind readers; the dashes tell them apart in print.
CURVES = {
    "total": ("#000000", "-"),
    "local": ("#d55e00", "--"),
    "adjacency": ("#0072b2", "-."),
    "global": ("#009e73", ":"),
    "W": ("#0072b2", "-"),
    "W+": ("#d55e00", "--"),
}
BOX, SQUARE, POINT = "#0072b2", "#d55e00", "#f0e442"  # blue, orange and yellow of the same set


def to_pil(image: Picture) -> Image.Image:
    """Return `image` [3, S, S] or [1, 3, S, S] in [-1, 1] as an RGB picture; values outside are clipped.

    Raises:
        ValueError: the shape is another one.

    >>> to_pil(torch.full((3, 4, 4), 1.0)).getpixel((0, 0)), to_pil(torch.full((3, 4, 4), -5.0)).getpixel((0, 0))
    ((255, 255, 255), (0, 0, 0))
    >>> to_pil(torch.zeros(2, 3, 4, 4))
    Traceback (most recent call last):
    ValueError: expected one image of shape [3, S, S], got [2, 3, 4, 4]
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"expected one image of shape [3, S, S], got {list(image.shape)}")
    return Image.fromarray(to_uint8(image[None])[0])


def png_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file.

    >>> png_bytes(to_pil(photo))[1:4]
    b'PNG'
    """
    return _encoded(picture, format="PNG", optimize=True)


def jpeg_bytes(picture: Image.Image, quality: int = 88) -> bytes:
    """The picture as a JPEG file, a tenth of the PNG's size: for notebooks stored with their outputs."""
    return _encoded(picture, format="JPEG", quality=quality)


def image_grid(
    rows: Sequence[Sequence[Picture]],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    tile: int = 160,
) -> Image.Image:
    """Lay pictures out as a table, each resized to `tile` x `tile` pixels.

    Rows may have different lengths. Long labels wrap.

    Raises:
        ValueError: there is no picture, or the number of labels is not the number of rows or columns.

    >>> image_grid([[photo, photo], [photo]], tile=64).size                  # 64 + 8 + 64 pixels
    (136, 136)
    >>> image_grid([[photo, photo]], column_labels=["before"])
    Traceback (most recent call last):
    ValueError: 2 columns but 1 column labels
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise ValueError("a grid needs at least one picture")
    if row_labels and len(row_labels) != len(rows):
        raise ValueError(f"{len(rows)} rows but {len(row_labels)} row labels")
    if column_labels and len(column_labels) != columns:
        raise ValueError(f"{columns} columns but {len(column_labels)} column labels")
    left = label_width(row_labels or [], tile)
    head = header([tile_label(text, tile) for text in column_labels or []], left, tile)
    labels = row_labels or [""] * len(rows)
    pictures = [[to_pil(picture) for picture in row] for row in rows]
    bands = [tile_row(row, label, left, tile) for row, label in zip(pictures, labels, strict=True)]
    return stack([head, *bands] if head else bands, GAP)


def before_after(
    before: Picture,
    after: Picture,
    others_before: Sequence[Picture],
    others_after: Sequence[Picture],
    caption: str,
    source: Picture | None = None,
) -> Image.Image:
    """The figure that sums up a run.

    Args:
        before, after: the person to forget, one latent drawn by the untouched and by the changed generator.
        others_before, others_after: other people, the same latents in the same order.
        caption: one or two sentences with the measured numbers; wrapped to the figure's width.
        source: the photo that was inverted, if there was one.

    Raises:
        ValueError: the two lists of other people differ in length.

    >>> after = student.picture(w_u)
    >>> before_after(photo, after, [photo], [photo], "Identity cosine 0.10.").width      # 960 and two margins
    1000
    """
    if len(others_before) != len(others_after):
        raise ValueError(f"{len(others_before)} other people before, but {len(others_after)} after")
    large = [(source, "the photo")] if source is not None else []
    large += [(before, "the generator, before"), (after, "the generator, after")]
    pictures, labels = zip(*large, strict=True)
    parts = [image_grid([pictures], None, labels, tile=(WIDTH - GAP * (len(large) - 1)) // len(large))]
    if others_before:
        parts += [sentence("Other people, drawn from the same latents", WIDTH, 18, INK)]
        parts += [_others(others_before, others_after)]
    return padded(stack([*parts, sentence(caption, WIDTH, 16, QUIET)], 2 * GAP), MARGIN)


@dataclass(frozen=True)
class LossPoint:
    """What `loss_curves` looks at in a step: index: its number; losses: each term by its name."""

    index: int
    losses: dict[str, float]


def loss_curves(
    history: Sequence[Step | LossPoint], width: int = 720, height: int = 360, mark: int | None = None
) -> Image.Image:
    """Loss against step for every term in the history. Size in pixels; an empty history gives empty axes.

    `mark`: a step to draw a line at.

    >>> loss_curves([LossPoint(1, {"total": 3.0}), LossPoint(2, {"total": 2.5})], mark=2).size
    (720, 360)
    """
    figure, axes = blank_chart(width, height)
    steps, drawn = [step.index for step in history], {}
    for name in _terms(history):
        colour, dashes = CURVES.get(name, ("#7f7f7f", "-"))
        values = [float(step.losses.get(name, float("nan"))) for step in history]
        (drawn[name],) = axes.plot(steps, values, dashes, color=colour, linewidth=1.8)
    if mark is not None:
        axes.axvline(mark, color=QUIET, linewidth=1)
    name_axes(axes, "step", "loss")
    axes.set_ylim(0, None)
    axes.xaxis.get_major_locator().set_params(integer=True)
    add_legend(figure, drawn)
    return rasterise(figure)


def align_preview(photo: Image.Image, height: int = 400, alignment: Alignment = FFHQ) -> Image.Image:
    """What alignment sees in a photo, `height` pixels high, beside what it cuts out of it.

    Every face has its box, its five points, its square and its number, counted from 0 at the left: the `face` of
    `align`. Faces that `align` would refuse are there too, and say so; a photo without a face is shown as it is.
    """
    faces = detect_faces(photo)
    parts = [_marked(photo, faces, height, alignment)]
    if faces:
        per_row = math.ceil(math.sqrt(len(faces)))
        tile = (height + GAP) // math.ceil(len(faces) / per_row) - GAP
        tiles = [to_pil(cut_out(photo, face.landmarks, tile, alignment)) for face in faces]
        for i, (face, picture) in enumerate(zip(faces, tiles, strict=True)):
            _number(picture, f"{i}" if face.width >= SMALLEST_FACE else f"{i}: too small", (4, 2))
        parts += [image_grid([tiles[i : i + per_row] for i in range(0, len(tiles), per_row)], tile=tile)]
    figure = beside(parts, GAP)
    marks = "blue: a face and its number; yellow: eyes, nose, mouth; orange: what is cut out"
    legend = sentence(marks if faces else "no face found", max(figure.width, NARROWEST), 15, QUIET)
    return stack([figure, legend], GAP)


def wipe(before: Picture, after: Picture, position: float) -> Image.Image:
    """Show `before` left of a line and `after` right of it; `position` in [0, 1] is where the line stands.

    >>> black, white = Image.new("RGB", (100, 9)), Image.new("RGB", (100, 9), WHITE)
    >>> [wipe(black, white, 0.5).getpixel((x, 0))[0] for x in (10, 90)]
    [0, 255]
    """
    left, right = _same_size(before, after)
    edge = round(min(max(position, 0.0), 1.0) * left.width)
    mixed = right.copy()
    mixed.paste(left.crop((0, 0, edge, left.height)), (0, 0))
    if 0 < edge < left.width:
        ImageDraw.Draw(mixed).line([(edge, 0), (edge, left.height)], fill=WHITE, width=2)
    return mixed


def fade(before: Picture, after: Picture, position: float) -> Image.Image:
    """Mix the two pictures: `position` 0 is all `before`, 1 all `after`.

    >>> black, white = Image.new("RGB", (9, 9)), Image.new("RGB", (9, 9), WHITE)
    >>> [fade(black, white, position).getpixel((0, 0))[0] for position in (0.0, 0.2, 1.0)]
    [0, 51, 255]
    """
    return Image.blend(*_same_size(before, after), min(max(position, 0.0), 1.0))


def _marked(photo: Image.Image, faces: Sequence[Face], height: int, alignment: Alignment) -> Image.Image:
    """The photo, at most `height` high and twice as wide, with boxes, numbers, points and squares."""
    scale = min(height / photo.height, 2 * height / photo.width)
    size = (max(1, round(scale * photo.width)), max(1, round(scale * photo.height)))
    canvas = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(canvas)
    for i, face in enumerate(faces):
        marks = (alignment.square(face.landmarks), face.landmarks, np.reshape(face.box, (2, 2)))
        corners, dots, (start, end) = (scale * (xy + 0.5) - 0.5 for xy in marks)
        pen.line([*map(tuple, corners), tuple(corners[0])], fill=SQUARE, width=2)
        pen.rectangle([tuple(start), tuple(end)], outline=BOX, width=2)
        for x, y in dots:
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=POINT, outline=INK)
        _number(canvas, f"{i}", (start[0], start[1] - 24))
    return canvas


def _number(picture: Image.Image, text: str, corner: tuple[float, float]) -> None:
    """Write it there, or as near as it fits, in smaller letters where it is wider than the picture."""
    font = font_of_size(18)
    font = font_of_size(max(1, min(18, int(18 * (picture.width - 4) / font.getlength(text)))))
    room = (picture.width - font.getlength(text) - 2, picture.height - font.size - 4)
    place = tuple(max(2, min(at, most)) for at, most in zip(corner, room, strict=True))
    ImageDraw.Draw(picture).text(place, text, WHITE, font, stroke_width=2, stroke_fill=INK)


def _encoded(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def _terms(history: Sequence[Step | LossPoint]) -> list[str]:
    """The loss terms that occur, the known ones first and in their usual order."""
    seen = {name for step in history for name in step.losses}
    return [name for name in CURVES if name in seen] + sorted(seen - CURVES.keys())


def _same_size(before: Picture, after: Picture) -> tuple[Image.Image, Image.Image]:
    first, second = to_pil(before), to_pil(after)
    return first, second.resize(first.size, Image.Resampling.LANCZOS)


def _others(before: Sequence[Picture], after: Sequence[Picture]) -> Image.Image:
    """Two rows of small tiles, as wide as the figure; more than eight people continue on further rows."""
    per_row = min(len(before), 8)
    labels = ["before", "after"]
    tile = min((WIDTH - label_width(labels, WIDTH) + GAP) // per_row - GAP, 160)
    starts = range(0, len(before), per_row)
    rows = [part[i : i + per_row] for i in starts for part in (before, after)]
    return image_grid(rows, labels * len(starts), None, tile=tile)
