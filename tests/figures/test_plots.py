"""The pictures hold what was asked for: pixels are read back and compared with explicit loops."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from guide_lib.figures import layout, plots
from guide_lib.generators import FFHQ
from guide_lib.perception.detection import detect_faces
from guide_lib.perception.faces import align

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@dataclass
class FakeStep:
    index: int
    losses: dict[str, float]


def field(colour: tuple[int, int, int], size: int = 12) -> Image.Image:
    return Image.new("RGB", (size, size), colour)


def box_of(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the pixels of exactly this colour."""
    y, x = np.nonzero((np.asarray(picture) == colour).all(axis=2))
    return (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else None


def test_to_pil_rounds_every_pixel_and_clips(rng: torch.Generator) -> None:
    image = torch.randn(3, 5, 7, generator=rng)
    picture = plots.to_pil(image)
    assert picture.size == (7, 5)
    for y in range(5):
        for x in range(7):
            expected = [round(min(max((float(v) + 1) * 127.5, 0), 255)) for v in image[:, y, x]]
            assert list(picture.getpixel((x, y))) == pytest.approx(expected, abs=1)
    extremes = plots.to_pil(torch.tensor([-9.0, 9.0, 1.0]).view(1, 3, 1, 1))
    assert extremes.getpixel((0, 0)) == (0, 255, 255)


def test_to_pil_refuses_a_batch() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3, 4, 4\]"):
        plots.to_pil(torch.zeros(2, 3, 4, 4))


def test_png_bytes_lose_nothing_and_jpeg_bytes_are_smaller(rng: torch.Generator) -> None:
    picture = plots.to_pil(torch.rand(3, 64, 64, generator=rng) * 2 - 1)
    png, jpeg = plots.png_bytes(picture), plots.jpeg_bytes(picture)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), np.asarray(picture))
    assert Image.open(io.BytesIO(jpeg)).size == picture.size
    assert len(jpeg) < len(png)


def test_grid_places_rows_and_columns() -> None:
    grid = plots.image_grid([[field(RED), field(GREEN)], [field(BLUE)]], ["one", "two"], ["a", "b"], tile=40)
    red, green, blue = (box_of(grid, colour) for colour in (RED, GREEN, BLUE))
    for left, top, right, bottom in (red, green, blue):
        assert (right - left, bottom - top) == (40, 40)
    assert green[0] == red[2] + layout.GAP and green[1] == red[1]
    assert blue[0] == red[0] and blue[1] == red[3] + layout.GAP
    assert red[0] > 0 and red[1] > 0, "labels need room"
    assert np.asarray(grid)[: red[1], red[0] : red[2]].min() < 128, "the column label is drawn"


def test_grid_without_labels_wastes_no_room() -> None:
    assert plots.image_grid([[field(RED), field(GREEN)]], tile=30).size == (60 + layout.GAP, 30)


@pytest.mark.parametrize(
    ("rows", "row_labels", "column_labels"),
    [
        ([], None, None),
        ([[]], None, None),
        ([[field(RED)]], ["a", "b"], None),
        ([[field(RED)]], None, ["a", "b"]),
    ],
)
def test_grid_refuses_what_does_not_fit(rows: list, row_labels: list, column_labels: list) -> None:
    with pytest.raises(ValueError):
        plots.image_grid(rows, row_labels, column_labels)


def test_before_after_shows_every_picture_once() -> None:
    others = [field((40 * i, 90, 10)) for i in range(1, 5)]
    changed = [field((40 * i, 10, 90)) for i in range(1, 5)]
    figure = plots.before_after(field(GREEN), field(BLUE), others, changed, "caption", source=field(RED))
    photo, before, after = (box_of(figure, colour) for colour in (RED, GREEN, BLUE))
    assert photo[2] < before[0] and before[2] < after[0]
    for i in range(1, 5):
        above, below = box_of(figure, (40 * i, 90, 10)), box_of(figure, (40 * i, 10, 90))
        assert above[0] == below[0] and above[3] < below[1], "same person, same column"
        assert after[3] < above[1]


def test_before_after_without_a_photo_and_with_a_longer_caption() -> None:
    short = plots.before_after(field(GREEN), field(BLUE), [], [], "one line")
    long = plots.before_after(field(GREEN), field(BLUE), [], [], "many words " * 60)
    assert box_of(short, RED) is None
    assert long.width == short.width and long.height > short.height
    with pytest.raises(ValueError, match="1 other people before, but 0 after"):
        plots.before_after(field(RED), field(RED), [field(RED)], [], "")


def test_more_than_eight_others_continue_on_new_rows() -> None:
    few, many = [field(RED)] * 8, [field(RED)] * 9
    eight = plots.before_after(field(GREEN), field(BLUE), few, few, "")
    nine = plots.before_after(field(GREEN), field(BLUE), many, many, "")
    assert nine.width == eight.width and nine.height > eight.height


def test_loss_curves_draw_the_numbers() -> None:
    history = [FakeStep(i, {"total": 10.0 - i, "local": 0.5 * i}) for i in range(1, 10)]
    pixels = np.asarray(plots.loss_curves(history, width=400, height=200)).astype(int)
    assert pixels.shape == (200, 400, 3)
    inside = pixels[40:150, 60:390]  # the plotting area
    heights = {}
    for name, colour in {"total": (0, 0, 0), "local": (0xD5, 0x5E, 0x00)}.items():
        y, x = np.nonzero(np.abs(inside - colour).sum(axis=2) < 30)
        heights[name] = np.corrcoef(x, y)[0, 1]
    assert heights["total"] > 0.9, "falls: further right is further down"
    assert heights["local"] < -0.9, "rises"


def test_a_marked_step_is_a_line_at_that_step() -> None:
    history = [FakeStep(i, {"W": 1.0}) for i in range(1, 11)]

    def column(mark: int) -> int:
        pictures = (plots.loss_curves(history, width=400, height=200, mark=k) for k in (None, mark))
        plain, marked = (np.asarray(picture).astype(int) for picture in pictures)
        return int(np.abs(marked - plain).sum(axis=(0, 2)).argmax())

    columns = [column(mark) for mark in (2, 5, 8)]
    assert columns[1] - columns[0] == pytest.approx(columns[2] - columns[1], abs=2) and columns[0] < columns[1]


def test_loss_curves_of_nothing_and_global_state() -> None:
    import matplotlib.pyplot as plt

    assert plots.loss_curves([]).size == (720, 360)
    assert plt.get_fignums() == []


def test_the_preview_marks_every_face_and_shows_what_is_cut_out(pair: Image.Image) -> None:
    """600 px are twice the photo's height; the marks are looked for where the detector puts them."""
    picture = plots.align_preview(pair, height=600)
    pixels = np.asarray(picture).astype(int)

    def seen(colour: str, x: float, y: float) -> bool:
        """Is there a pixel of this colour, give or take two pixels, where the photo has (x, y)?"""
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        u, v = (round(2 * (c + 0.5) - 0.5) for c in (x, y))
        return bool((np.abs(pixels[v - 2 : v + 3, u - 2 : u + 3] - rgb).sum(axis=2) < 10).any())

    for face in detect_faces(pair):
        points = face.landmarks
        left, top, right, bottom = face.box
        assert all(seen(plots.POINT, x, y) for x, y in points)
        assert seen(plots.BOX, right, (top + bottom) / 2) and seen(plots.BOX, (left + right) / 2, bottom)
        inside = [(x, y) for x, y in FFHQ.square(points) if 2 < x < 497 and 2 < y < 297]
        assert all(seen(plots.SQUARE, x, y) for x, y in inside)
    tile = (picture.width - 1000 - 2 * layout.GAP) // 2
    for i in range(2):
        left = 1000 + layout.GAP + i * (tile + layout.GAP)
        shown = np.asarray(picture.crop((left, 30, left + tile, tile))).astype(int)
        cut = np.asarray(plots.to_pil(align(pair, tile, face=i))).astype(int)[30:]
        assert np.abs(shown - cut).max() <= 1


def test_the_preview_of_faces_too_small_and_of_none(portrait: Image.Image) -> None:
    small = plots.align_preview(portrait.resize((180, 180), Image.Resampling.LANCZOS), height=200)
    assert small.width == 200 + layout.GAP + 200
    empty = plots.align_preview(Image.new("RGB", (900, 100), "white"), height=200)
    assert empty.width == 400, "wide photos do not make the figure ever wider"
    assert np.asarray(empty).min() < 128, "the sentence is drawn"


@given(position=st.floats(-0.5, 1.5))
def test_wipe_is_before_left_of_the_line_and_after_right_of_it(position: float) -> None:
    pixels = np.asarray(plots.wipe(field(RED, 40), field(BLUE, 40), position))
    edge = round(min(max(position, 0), 1) * 40)
    assert (pixels[:, : max(edge - 2, 0)] == RED).all()
    assert (pixels[:, edge + 2 :] == BLUE).all()


def test_wipe_and_fade_at_their_ends() -> None:
    before, after = field(RED, 20), field(BLUE, 10)
    for mix in (plots.wipe, plots.fade):
        assert box_of(mix(before, after, 0.0), BLUE if mix is plots.wipe else RED) == (0, 0, 20, 20)
        assert box_of(mix(before, after, 1.0), RED if mix is plots.wipe else BLUE) == (0, 0, 20, 20)
    assert plots.fade(before, after, 0.5).getpixel((3, 3)) == pytest.approx((127, 0, 127), abs=1)


@given(text=st.text(alphabet="abc WIM\n", max_size=120), width=st.integers(60, 300))
def test_wrapped_lines_fit_and_keep_every_word(text: str, width: int) -> None:
    font = layout.font_of_size(16)
    wrapped = layout.wrap(text, width, font)
    assert wrapped.split() == text.split()
    for line in wrapped.split("\n"):
        assert font.getlength(line) <= width or " " not in line
