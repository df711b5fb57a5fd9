"""The tables of `step.py`, from what it measured."""

from __future__ import annotations

import statistics
from itertools import combinations


def ratios(times: dict[str, list[float]]) -> list[dict[str, object]]:
    """How many times as fast the second of each pair is, round by round."""
    rows = []
    for slow, fast in combinations(times, 2):
        each = [a / b for a, b in zip(times[slow], times[fast], strict=True)]
        rows.append({"pair": f"{slow} / {fast}", "median": statistics.median(each), "min": min(each), "max": max(each)})
    return rows


def side_row(name: str, side: dict[str, object], measure: str, peak: float) -> dict[str, object]:
    """One line of the first table. The first step's loss shows that all sides compute the same."""
    times, before, most = side[measure], side["before_mib"], side["peak_mib"]
    spread = {"median": statistics.median(times), "min": min(times), "max": max(times)}
    memory = {"MiB before": before, "MiB at most": most, "MiB of the steps": most - before}
    loss = {"first loss": f"{side['first_loss']:.5f}"}
    return {"side": name} | spread | memory | use(side["gflop"], spread["median"], peak) | loss


def use(gflop: float, seconds: float, peak: float) -> dict[str, object]:
    """peak: of matrix products, in GFLOP/s."""
    return {"GFLOP": gflop, "GFLOP/s": gflop / seconds, "of the peak": f"{100 * gflop / seconds / peak:.0f} %"}


def table(rows: list[dict[str, object]]) -> str:
    """Rows with the same keys, in Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """A number with at least three digits."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def report(result: dict[str, object]) -> str:
    """All tables of a result."""
    sides, peaks, measure = result["sides"], result["peak_gflops"], result["measure"]
    rows = [side_row(name, side, measure, peaks[side["precision"]]) for name, side in sides.items()]
    parts = [
        {"part": row["part"], "precision": row["precision"], "seconds": row["seconds"]}
        | use(row["gflop"], row["seconds"], peaks[row["precision"]])
        for row in result["parts"]
    ]
    tables = [rows, ratios({name: side[measure] for name, side in sides.items()}), parts]
    tables.append([{"matrix product": name, "GFLOP/s": peak} for name, peak in peaks.items()])
    size = f" at {result['resolution']} px" if result["resolution"] else ""
    title = f"{result['generator']}{size}: {measure} of a step"
    machine = f"{result['threads']} threads, torch {result['torch']}, {result['machine']}, {result['repeats']} rounds"
    return "\n\n".join([f"# {title}", machine, *(table(rows) for rows in tables if rows)])
