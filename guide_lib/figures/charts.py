"""Curves and histograms as PIL pictures, in colours and dashes that survive print and colour-blindness.

>>> picture = curves([0, 1, 2], {"local": [3, 2, 1], "global": [0, 1, 1]}, "step", "loss", mark=1)
>>> picture.save(tmp_path / "curves.png")

Sizes are in pixels. Nothing touches matplotlib's global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from guide_lib.figures.layout import QUIET
from guide_lib.figures.letters import fitted, font_of_size, load_matplotlib, readable
from guide_lib.metrics.columns import METRICS
from guide_lib.metrics.intervals import Interval
from guide_lib.metrics.thresholds import ACCEPTANCE, STRICT

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Transform

# Okabe and Ito's colours.
STYLES = (("#d55e00", "--"), ("#0072b2", "-."), ("#009e73", ":"), ("#000000", "-"), ("#cc79a7", "-"))

# From the upper one on the judge accepts a person, under the lower one nobody is recognised; between lies doubt.
LEVELS = {"accepted": ACCEPTANCE, "strict": STRICT}


def blank_chart(width: int, height: int) -> tuple[Figure, Axes]:
    """Empty axes without the upper and the right line, `width` x `height` pixels."""
    load_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6")
    return figure, axes


def write(text: Text, words: str, width: float) -> None:
    """Put words into a text of a chart: as they are, in letters that exist, on one line of at most `width` pixels."""
    words, file = readable(" ".join(words.split()))
    points = text.get_fontsize()
    text.set_parse_math(False)  # a $ is a $
    text.set(text=fitted(words, int(width), font_of_size(round(points / 0.72), file), most=1))
    text.set(fontproperties=Path(file), fontsize=points)


def name_axes(axes: Axes, xlabel: str, ylabel: str, share: float = 0.6) -> None:
    """Write what is along the axes, as far as there is room: along x that share of the chart."""
    size = axes.figure.bbox
    write(axes.xaxis.label, xlabel, share * size.width)
    write(axes.yaxis.label, ylabel, 0.8 * size.height)


def add_legend(figure: Figure, lines: Mapping[str, Artist]) -> None:
    """Name the lines above the axes, in as few rows as the names allow."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    for columns in range(len(lines), 0, -1):
        # numbers first: a label with an underscore before it would be left out
        numbered = [list(lines.values()), [str(i) for i in range(len(lines))]]
        legend = figure.legend(*numbered, frameon=False, loc="outside upper center", ncols=columns)
        for text, name in zip(legend.get_texts(), lines, strict=True):
            write(text, name, 0.8 * figure.bbox.width)
        if columns == 1 or legend.get_window_extent(renderer).width <= figure.bbox.width:
            return
        legend.remove()


def rasterise(figure: Figure) -> Image.Image:
    """The figure as an RGB picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")


def _name_line(
    axes: Axes, words: str, place: tuple[float, float], transform: Transform, side: str, valign: str = "bottom"
) -> None:
    """A word beside a level's line, on white so that curves do not cross it."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    offset = {"xytext": (3 if side == "left" else -3, 2 if valign == "bottom" else -2), "textcoords": "offset points"}
    axes.annotate(words, place, xycoords=transform, ha=side, va=valign, color=QUIET, fontsize=8, bbox=box, **offset)


def curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    mark: float | None = None,
    size: tuple[int, int] = (640, 260),
    levels: Mapping[str, float] | None = None,
) -> Image.Image:
    """Lines over a common x, with a vertical line at `mark`; `size` in pixels, as in the other charts.

    levels: values of y to draw a line at, by name; of cosines `LEVELS`.

    >>> curves([0, 1], {"W": [2.0, 1.0]}, "step", "loss", size=(320, 200)).size
    (320, 200)
    """
    figure, axes = blank_chart(*size)
    drawn = {}
    for (name, values), (colour, dashes) in zip(lines.items(), STYLES, strict=False):
        (drawn[name],) = axes.plot(x, values, dashes, color=colour, linewidth=1.8)
    if mark is not None:
        axes.axvline(mark, color=QUIET, linewidth=1)
    for name, value in (levels or {}).items():
        axes.axhline(value, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
        side = "top" if value == min(levels.values()) < max(levels.values()) else "bottom"
        _name_line(axes, f"{name} {value:.2f}", (1.0, value), axes.get_yaxis_transform(), "right", side)
    name_axes(axes, xlabel, ylabel)
    if len(lines) > 1:
        add_legend(figure, drawn)
    return rasterise(figure)


def histogram(
    groups: Mapping[str, Sequence[float]],
    xlabel: str,
    mark: float | None = None,
    size: tuple[int, int] = (640, 260),
    levels: Mapping[str, float] | None = None,
) -> Image.Image:
    """The share of each group in 40 bins between its extremes, with a vertical line at `mark`.

    levels: values of x to draw a thinner line at, by name; of cosines `LEVELS`.

    >>> histogram({"one person": [0.7, 0.8], "two people": [0.1, 0.2]}, "cosine", mark=0.5).size
    (640, 260)
    """
    figure, axes = blank_chart(*size)
    low, high = (f(f(values) for values in groups.values()) for f in (min, max))
    drawn = {}
    for (name, values), (colour, _) in zip(groups.items(), STYLES, strict=False):
        weights = [1 / len(values)] * len(values)
        _, _, bars = axes.hist(values, bins=40, range=(low, high), weights=weights, color=colour, alpha=0.6)
        drawn[name] = bars
    if mark is not None:
        axes.axvline(mark, color=QUIET, linewidth=2)
    for place, (name, value) in enumerate((levels or {}).items()):
        axes.axvline(value, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
        _name_line(axes, f"{name} {value:.2f}", (value, 1 - 0.12 * place), axes.get_xaxis_transform(), "left", "top")
    name_axes(axes, xlabel, "share of the pairs")
    add_legend(figure, drawn)
    return rasterise(figure)


def intervals(
    groups: Mapping[str, Interval],
    xlabel: str,
    mark: float | None = None,
    size: tuple[int, int] = (640, 260),
    keys: Sequence[str] = (),
) -> Image.Image:
    """A mean with its interval for each name, from above, with a vertical line at `mark`.

    keys: the metric of each line, in `METRICS`, whose better side is then written at that end of the line.

    >>> intervals({"GUIDE": Interval(0.2, 0.1, 0.3, 8), "baseline": Interval(0.4, None, None, 1)}, "ID").size
    (640, 260)
    """
    figure, axes = blank_chart(*size)
    for place, key in enumerate(keys):
        end, align, inward = (1.0, "right", -4) if METRICS[key].higher_is_better else (0.0, "left", 4)
        above = {"xytext": (inward, 5), "textcoords": "offset points", "ha": align, "va": "bottom"}
        axes.annotate(METRICS[key].arrow, (end, place), **above, xycoords=axes.get_yaxis_transform(), color=QUIET)
    for place, interval in enumerate(groups.values()):
        low, high = (interval.mean if end is None else end for end in (interval.low, interval.high))
        axes.plot([low, high], [place, place], color=STYLES[1][0], linewidth=2.5)
        axes.plot([interval.mean], [place], "o", color=STYLES[1][0])
    if mark is not None:
        axes.axvline(mark, color=QUIET, linewidth=1)
    name_axes(axes, xlabel, "", share=0.45)  # names stand beside it
    axes.set_yticks(range(len(groups)))
    labels = axes.set_yticklabels([""] * len(groups))
    for label, name in zip(labels, groups, strict=True):
        write(label, name, 0.4 * size[0])
    axes.set_yticklabels([label.get_text() for label in labels])  # drawing takes the words from here, not from them
    axes.margins(y=0.15)
    axes.invert_yaxis()
    return rasterise(figure)
