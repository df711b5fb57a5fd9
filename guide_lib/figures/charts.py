"""Curves and histograms as PIL pictures, in colours and dashes that survive print and colour-blindness.

>>> picture = curves([0, 1, 2], {"local": [3, 2, 1], "global": [0, 1, 1]}, "step", "loss", mark=1)
>>> picture.save(tmp_path / "curves.png")

Sizes are in pixels. Nothing touches matplotlib's global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from guide_lib.figures.layout import QUIET
from guide_lib.metrics.columns import METRICS
from guide_lib.metrics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours.
STYLES = (("#d55e00", "--"), ("#0072b2", "-."), ("#009e73", ":"), ("#000000", "-"), ("#cc79a7", "-"))


def blank_chart(width: int, height: int) -> tuple[Figure, Axes]:
    """Empty axes without the upper and the right line, `width` x `height` pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6")
    return figure, axes


def rasterise(figure: Figure) -> Image.Image:
    """The figure as an RGB picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")


def curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    mark: float | None = None,
    size: tuple[int, int] = (640, 260),
) -> Image.Image:
    """Lines over a common x, with a vertical line at `mark`; `size` in pixels, as in the other charts.

    >>> curves([0, 1], {"W": [2.0, 1.0]}, "step", "loss", size=(320, 200)).size
    (320, 200)
    """
    figure, axes = blank_chart(*size)
    for (name, values), (colour, dashes) in zip(lines.items(), STYLES, strict=False):
        axes.plot(x, values, dashes, color=colour, label=name, linewidth=1.8)
    if mark is not None:
        axes.axvline(mark, color=QUIET, linewidth=1)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if len(lines) > 1:
        figure.legend(frameon=False, loc="outside upper center", ncols=len(lines))
    return rasterise(figure)


def histogram(
    groups: Mapping[str, Sequence[float]], xlabel: str, mark: float | None = None, size: tuple[int, int] = (640, 260)
) -> Image.Image:
    """The share of each group in 40 bins between its extremes, with a vertical line at `mark`.

    >>> histogram({"one person": [0.7, 0.8], "two people": [0.1, 0.2]}, "cosine", mark=0.5).size
    (640, 260)
    """
    figure, axes = blank_chart(*size)
    low, high = (f(f(values) for values in groups.values()) for f in (min, max))
    for (name, values), (colour, _) in zip(groups.items(), STYLES, strict=False):
        weights = [1 / len(values)] * len(values)
        axes.hist(values, bins=40, range=(low, high), weights=weights, color=colour, alpha=0.6, label=name)
    if mark is not None:
        axes.axvline(mark, color=QUIET, linewidth=2)
    axes.set(xlabel=xlabel, ylabel="share of the pairs")
    figure.legend(frameon=False, loc="outside upper center", ncols=len(groups))
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
    axes.set(xlabel=xlabel, yticks=range(len(groups)), yticklabels=list(groups))
    axes.margins(y=0.15)
    axes.invert_yaxis()
    return rasterise(figure)
