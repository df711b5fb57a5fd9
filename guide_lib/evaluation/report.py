"""One HTML page for a run: its pictures, tables and curves, in a single file that asks the network for nothing.

>>> _ = (tmp_path / "metrics.json").write_text('{"id": 0.21, "settings": {"steps": 140}}')
>>> page = write_report(tmp_path)
>>> page.name, "0.210" in page.read_text(encoding="utf-8")
('report.html', True)

Whatever comes from files is escaped; pictures are inside the page as data.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean
from string import Template
from typing import Any

from guide_lib.errors import GuideError
from guide_lib.evaluation.results import cells_of, read_rows, summarise
from guide_lib.files import from_json, shown
from guide_lib.metrics.columns import METRICS, Metric

PAGE = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
body { font: 16px/1.5 sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; font-size: 14px; } th, td { border: 1px solid #ccc; padding: 4px 8px; }
th { text-align: left; } img, svg { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
</style></head><body><h1>$title</h1>
$body
</body></html>
"""
)
# Okabe and Ito's colours, but for the yellow; the dashes tell the lines apart in print.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#56b4e9", "#e69f00")
DASHES = ("", "6 4", "2 3", "10 4 2 4")
RELEARNT = len(COLOURS) * len(DASHES)  # lines that can be told apart
KINDS = {".png": "image/png", ".jpg": "image/jpeg"}
NEIGHBOURS = {"neighbours_mapped": "toward other people", "neighbours_random": "in random directions of W+"}
Line = Sequence[tuple[float, float]]


def write_report(folder: Path) -> Path:
    """Write report.html into the folder of a run of `unlearn`, `invert`, `compare` or `evaluate`; returns its path.

    Raises:
        GuideError: there is no such folder, no run in it, one whose files are damaged, or no room for the page.
    """
    if not folder.is_dir():
        raise GuideError(f"There is no folder at {folder}; check the path.")
    try:
        parts = [*_evaluation(folder), *_single_run(folder)]
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise GuideError(f"{folder} holds damaged results ({type(error).__name__}); make them again.") from error
    if not parts:
        raise GuideError(f"{folder} holds no results; name the folder of a run.")
    page = PAGE.substitute(title=escape(f"Results of {shown(folder.resolve().name)}"), body="\n".join(parts))
    path = folder / "report.html"
    try:
        path.write_text(page, encoding="utf-8", errors="backslashreplace")  # names may be in any encoding
    except OSError as error:
        raise GuideError(f"Cannot write {path} ({error.strerror}); copy the folder to where you may write.") from error
    return path


def _evaluation(folder: Path) -> Iterator[str]:
    """Tables, curves and pictures of a folder of people."""
    rows = read_rows(folder / "people.jsonl")
    if not rows:
        return
    summary = summarise(rows)
    head, *lines = cells_of(summary)
    yield "<h2>Means over people, with 95 % intervals</h2>" + table(head, lines)
    for key, words in NEIGHBOURS.items():
        yield from _neighbours([row for row in rows if row.get(key)], key, words)
    yield from _relearning([row for row in rows if row.get("relearn_curve")])
    yield "<h2>Every person</h2>" + _people(rows)
    yield "<h2>What the numbers are</h2>" + _meanings(_found([*rows, *summary.values()]))
    for path in sorted((folder / "pictures").glob("*.jpg")):
        alt = f"{path.stem.replace('_', ' ')}: the erased person and three others, before above after"
        yield picture(path, alt)


def _single_run(folder: Path) -> Iterator[str]:
    """The figures of metrics.json and every picture of a run on one face."""
    metrics = folder / "metrics.json"
    if metrics.exists():
        figures = from_json(metrics.read_bytes())
        settings = _flat(figures.pop("settings", {}))
        yield "<h2>Figures</h2>" + table(["", "value"], [_figure(*named) for named in _flat(figures)])
        if settings:
            yield "<h2>Settings</h2>" + table(["", "value"], [[key, str(value)] for key, value in settings])
    for path in sorted(folder.glob("*.png")):
        yield picture(path, path.stem.replace("_", " "))


def _flat(figures: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """What is inside a dictionary in a dictionary gets both names; lists are left out."""
    found = []
    for key, value in figures.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}: ")
        elif not isinstance(value, list):
            found.append((f"{prefix}{key}", value))
    return found


def _figure(name: str, value: Any) -> list[str]:
    """A named value in words; the last part of the name may be that of a metric."""
    *where, key = name.split(": ")
    if key in METRICS and METRICS[key].holds(value):
        return [": ".join([*where, METRICS[key].heading]), METRICS[key].show(value)]
    return [name, _number(value)]


def _found(rows: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """The metrics that some row has, in their usual order."""
    return [metric for key, metric in METRICS.items() if any(key in row for row in rows)]


def _people(rows: Sequence[Mapping[str, Any]]) -> str:
    names, metrics = ["scenario", "method", "person"], _found(rows)
    cells = [[*(row[name] for name in names), *(m.show(row.get(m.key)) for m in metrics)] for row in rows]
    return table([*names, *(metric.heading for metric in metrics)], cells)


def _meanings(metrics: Sequence[Metric]) -> str:
    cells = [[m.heading, m.meaning, m.unit, m.source] for m in metrics]
    return table(["", "what it is", "unit", "source"], cells)


def _neighbours(rows: Sequence[Mapping[str, Any]], key: str, words: str) -> Iterator[str]:
    if not rows:
        return
    lines: dict[str, Line] = {}
    for name in dict.fromkeys(map(_name, rows)):
        group = [row[key] for row in rows if _name(row) == name]
        lines[name] = _mean_line([[(point["distance"], point["student"]) for point in line] for line in group])
    untouched = [[(point["distance"], point["generator"]) for point in row[key]] for row in rows]
    lines["the untouched generator"] = _mean_line(untouched)
    yield f"<h2>Neighbours {escape(words)}</h2>"
    yield curve(lines, "distance from the erased latent (paper's scale)", "judge cosine to the person")


def _relearning(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    shown = rows[:RELEARNT]
    lines = {f"{_name(row)}, {row['person']}": [tuple(at) for at in row["relearn_curve"]] for row in shown}
    yield f"<h2>Relearning: {len(shown)} of {len(rows)} runs</h2>"
    yield curve(lines, "steps of pivotal tuning", "judge cosine to the photo")


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['scenario']}: {row['method']}"


def _mean_line(lines: Sequence[Line]) -> Line:
    places = [x for x, _ in lines[0]]
    return [(x, mean(line[i][1] for line in lines)) for i, x in enumerate(places)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; every cell is escaped.

    >>> table(["name"], [["<b>"]])
    '<div class="wide"><table><tr><th scope="col">name</th></tr><tr><td>&lt;b&gt;</td></tr></table></div>'
    """
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


def picture(path: Path, alt: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    words = escape(alt, quote=True)
    image = f'<img alt="{words}" src="data:{KINDS[path.suffix]};base64,{data}">'
    return f"<figure>{image}<figcaption>{words}</figcaption></figure>"


def curve(lines: Mapping[str, Line], x_label: str, y_label: str, width: int = 720, height: int = 320) -> str:
    """Lines of (x, y) points as SVG, the axes from the least to the largest value, and their names below."""
    points = [point for line in lines.values() for point in line]
    (x0, x1), (y0, y1) = ((min(values), max(values)) for values in zip(*points, strict=True))
    left, bottom = 60, height - 40

    def place(x: float, y: float) -> str:
        across, up = (x - x0) / ((x1 - x0) or 1), (y - y0) / ((y1 - y0) or 1)
        return f"{left + across * (width - left - 10):.1f},{bottom - up * (bottom - 10):.1f}"

    drawn, names = [], []
    for i, (name, line) in enumerate(lines.items()):
        colour, dashes = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
        path = " ".join(place(x, y) for x, y in line)
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-dasharray="{dashes}" points="{path}"/>')
        names.append(f'<span style="color:{colour}">{"- - " if dashes else "—— "}{escape(name)}</span>')
    ticks = [(left, height - 22, f"{x0:g}"), (width - 40, height - 22, f"{x1:g}")]
    ticks += [(4, bottom, f"{y0:.2f}"), (4, 18, f"{y1:.2f}"), (width // 2 - 120, height - 6, x_label)]
    texts = "".join(f'<text x="{x}" y="{y}" font-size="13">{escape(text)}</text>' for x, y, text in ticks)
    axes = f'<path d="M{left},10V{bottom}H{width - 10}" fill="none" stroke="#555"/>'
    label = escape(f"{y_label} against {x_label}", quote=True)
    svg = f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}">'
    return f"<p>{escape(y_label)}</p>{svg}{axes}{texts}{''.join(drawn)}</svg><p>{' &nbsp; '.join(names)}</p>"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
