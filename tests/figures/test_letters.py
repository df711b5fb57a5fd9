"""Names in every script and of any length: real letters or codes, no boxes, and all of it inside the picture."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image, ImageDraw
from project import ROOT

from guide_lib.figures import charts, layout, letters, plots
from guide_lib.metrics.intervals import Interval

LONG = "holiday_on_the_island_" * 9 + "17.jpg"
NAMES = {
    "Chinese": "北京的照片.jpg",
    "Japanese": "写真アルバム",
    "Korean": unicodedata.normalize("NFD", "사진"),  # as some systems write names, letter by letter
    "Arabic": "صورة",
    "Hebrew": "תמונה",
    "Thai": "รูปถ่าย",
    "Devanagari": "तस्वीर",
    "emoji": "Ada 🥰👩‍👩‍👧",
    "a newline and an escape": "two\nlines\x1b[31m",
    "dollars": "$5 and $6",
    "a wrong formula": r"$\frac$",
    "an underscore": "_hidden",
    "a name that is no text": os.fsdecode(b"caf\xe9"),
    "long": LONG,
    "long, without an end": "x" * 255,
    "long Chinese": "京" * 200,
    "nothing": "",
}


@pytest.fixture(autouse=True)
def forgetful():
    for kept in (letters.readable, letters._font_for, letters._tell_once):
        kept.cache_clear()
    yield
    for kept in (letters.readable, letters._font_for, letters._tell_once):
        kept.cache_clear()


@pytest.fixture
def squares(tmp_path, monkeypatch) -> Path:
    """The only font installed: every letter of 北京アabc and the digits is a black square, and any other a thin bar."""
    path, covered = tmp_path / "squares.ttf", "北京アabc0123456789. "
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *(f"g{i}" for i in range(len(covered)))])
    builder.setupCharacterMap({ord(c): f"g{i}" for i, c in enumerate(covered)})
    shapes = {".notdef": 60} | {f"g{i}": 900 for i in range(len(covered))}
    builder.setupGlyf({name: rectangle(width) for name, width in shapes.items()})
    builder.setupHorizontalMetrics(dict.fromkeys(shapes, (1000, 50)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares Sans", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_: [str(tmp_path / "no font"), str(path)])
    (tmp_path / "no font").write_text("damaged")
    return path


@pytest.fixture
def none_installed(monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_: [])


def rectangle(width):
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for corner in ((50, 800), (50 + width, 800), (50 + width, 0)):
        pen.lineTo(corner)
    pen.closePath()
    return pen.glyph()


def ink(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L")) < 128


# --- which letters


def test_an_installed_font_draws_what_dejavu_lacks(squares: Path, capsys) -> None:
    """Three squares of 0.9 x 0.8 of 20 px, where boxes of the missing glyph would be thin bars."""
    assert letters.readable("北京 ア") == ("北京 ア", str(squares))
    assert ink(layout.sentence("北京ア", 200, 20, "#000000")).sum() == pytest.approx(3 * 18 * 16, rel=0.1)
    assert capsys.readouterr().err == ""


def test_latin_stays_in_dejavu_whatever_is_installed(squares: Path) -> None:
    assert Path(letters.readable("abc")[1]).name == Path(letters.readable("Zoë")[1]).name == "DejaVuSans.ttf"


def test_letters_of_the_text_that_the_font_lacks_become_codes(squares: Path) -> None:
    assert letters.readable("北京ア龍") == (r"北京ア\u9f8d", str(squares))


@pytest.mark.usefixtures("none_installed")
def test_without_a_font_the_codes_are_written_and_it_is_said_once(capsys) -> None:
    shown = layout.sentence("北京.jpg", 300, 16, layout.INK)
    assert np.array_equal(np.asarray(shown), np.asarray(layout.sentence(r"\u5317\u4eac.jpg", 300, 16, layout.INK)))
    layout.sentence("龍", 300, 16, layout.INK)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "install one for their script" in said


@pytest.mark.usefixtures("none_installed")
@pytest.mark.parametrize("name", NAMES)
def test_every_letter_that_is_drawn_has_a_glyph(name: str) -> None:
    """By the font's own table, read by another library."""
    from fontTools.ttLib import TTFont

    text, file = letters.readable(NAMES[name])
    assert set(map(ord, text)) - {ord("\n")} <= TTFont(file).getBestCmap().keys()
    assert text or not NAMES[name]


def test_fonts_without_letters_of_ink_are_passed_over(squares: Path, monkeypatch) -> None:
    """Matplotlib ships one that has a box for every letter there is."""
    boxes = [font.fname for font in font_manager.fontManager.ttflist if font.name.startswith("Last Resort")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_: [*boxes, str(squares)])
    assert letters.readable("北京ア龍")[1] == str(squares)


# --- inside the picture


def test_nothing_is_drawn_beside_the_page(monkeypatch) -> None:
    """Text is drawn on a page with room on every side: what is in that room would have been cut off."""
    real, beside = ImageDraw.ImageDraw.multiline_text, []

    def on_a_larger_page(self, at, text, **options):
        width, height = self._image.size
        page = Image.new("RGB", (3 * width, 3 * height), "white")
        real(ImageDraw.Draw(page), (at[0] + width, at[1] + height), text, **options)
        page.paste("white", (width, height, 2 * width, 2 * height))
        beside.append(ink(page).sum())
        real(self, at, text, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "multiline_text", on_a_larger_page)
    field = Image.new("RGB", (12, 12), "red")
    for tile in (48, 128, 256):
        names = list(NAMES.values())
        grid = plots.image_grid([[field] * len(names)] * len(names), names, names, tile=tile)
        assert grid.width <= (len(names) + 1) * (max(tile, layout.NARROWEST) + layout.GAP)
        for name in names:
            plots.before_after(field, field, [field], [field], name)
    assert len(beside) > 100 and max(beside) == 0


def test_a_long_name_keeps_both_ends_and_its_row() -> None:
    """The row is as high as its tile; above a column there may be as much text as the tile is wide."""
    field = Image.new("RGB", (12, 12), "red")
    assert plots.image_grid([[field]], [LONG], tile=64).height == 64
    assert plots.image_grid([[field]], None, [LONG], tile=160).height <= 2 * 160 + layout.GAP
    font = letters.font_of_size(15)
    short = letters.fitted(LONG, 200, font, most=2)
    assert short.startswith("holiday") and short.endswith("17.jpg") and short.count("\n") == 1


@given(text=st.text(alphabet="abc_京é́ \n", max_size=90), width=st.integers(40, 300), most=st.integers(1, 4))
def test_fitted_lines_fit(text: str, width: int, most: int) -> None:
    font = letters.font_of_size(16)
    lines = letters.fitted(text, width, font, most).split("\n")
    assert len(lines) <= most and all(font.getlength(line) <= width for line in lines)
    whole = letters.wrap(text, width, font)
    assert whole.count("\n") >= most or lines == whole.split("\n")


def test_accents_stay_on_their_letters() -> None:
    lines = letters.wrap("ɓ́" * 40, 60, letters.font_of_size(16)).split("\n")
    assert len(lines) > 3 and all(line == "ɓ́" * (len(line) // 2) for line in lines)


@pytest.mark.filterwarnings("error")  # "Glyph missing", "constrained layout not applied"
@pytest.mark.parametrize("size", [(640, 260), (320, 200)])
@pytest.mark.parametrize("name", NAMES)
def test_words_of_charts_stay_inside(name: str, size: tuple[int, int], monkeypatch) -> None:
    words, drawn, real = NAMES[name], [], charts.rasterise
    monkeypatch.setattr(charts, "rasterise", lambda figure: drawn.append(figure) or real(figure))
    lines = {words: [1, 2], words + " again": [2, 1], "third": [0, 1]}
    charts.curves([0, 1], lines, words, words, size=size)
    charts.histogram(lines, words, size=size)
    charts.intervals({key: Interval(0.5, 0.4, 0.6, 4) for key in lines}, words, size=size)
    for figure in drawn:
        box = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer()).extents * 100
        assert box[:2].min() >= -1 and (box[2:] <= np.add(size, 1)).all(), box
    legends = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in drawn[:2]]
    assert all(len(names) == 3 and names[2] == "third" for names in legends)
    if "$" in words or words.startswith("_"):
        assert legends[0][0] == words, "as it is, neither a formula nor left out"


def test_numbers_in_the_preview_stay_inside() -> None:
    for size, corner in (((60, 60), (4, 2)), ((94, 94), (4, 2)), ((200, 50), (190, 45)), ((200, 50), (-40, -9))):
        picture = Image.new("RGB", size, "white")
        plots._number(picture, "12: too small", corner)
        inked = ink(picture)
        assert inked[1:-1, 1:-1].any() and not any(edge.any() for edge in (inked[[0, -1]], inked[:, [0, -1]]))


def test_a_ribbon_has_a_preview() -> None:
    ribbon = plots.align_preview(Image.new("RGB", (64, 40_000), "white"), height=200)
    assert ribbon.width >= layout.NARROWEST


# --- the backend


@pytest.mark.parametrize(("backend", "then"), [("nonsense", "agg"), ("svg", "svg"), ("", "agg")])
def test_pictures_need_no_backend(backend: str, then: str) -> None:
    """Before, an unknown one ended a run at its first figure; a known one is still what pyplot gets."""
    code = (
        "import os; from guide_lib.figures import curves, image_grid; from PIL import Image\n"
        "image_grid([[Image.new('RGB', (9, 9))]], ['Ada']); curves([0, 1], {'a': [0, 1]}, 'x', 'y')\n"
        "import matplotlib.pyplot as plt; print(plt.get_backend().lower(), os.environ['MPLBACKEND'])"
    )
    environment = os.environ | {"MPLBACKEND": backend, "PYTHONPATH": str(ROOT)}
    asked = [sys.executable, "-c", code]
    ran = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.split() == f"{then} {backend}".split()
