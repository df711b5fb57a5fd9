"""The README's numbers are those of the stored results."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "data" / "results"


def test_the_table_of_methods_is_the_stored_one():
    assert (RESULTS / "unlearning.md").read_text(encoding="utf-8").strip() in README


def test_the_heads_figures_are_the_stored_ones():
    heads = json.loads((RESULTS / "heads.json").read_text(encoding="utf-8"))
    for size, figures in heads["heads"].items():
        assert f"{figures['lpips_mean']:.3f} at {size} px" in README


@pytest.mark.parametrize(
    "row, keys, digits",
    [
        ("inversion of the portrait", [("inversion", "W"), ("inversion", "W+")], 2),
        ("ID, the erased person", [("id",)], 2),
        ("retention, mean of 32", [("retention",), ("retention_min",)], 2),
        ("LPIPS between the others", [("lpips_others",)], 3),
    ],
)
def test_the_figures_under_the_picture_are_those_of_its_run(row, keys, digits):
    """docs/hero.json is the metrics.json of the run that drew docs/hero.png."""
    line = next(line for line in README.splitlines() if line.startswith(f"| {row}"))
    run = json.loads((ROOT / "docs" / "hero.json").read_text(encoding="utf-8"))
    for key in keys:
        value = run
        for part in key:
            value = value[part]
        assert re.search(rf"(?<![\d.]){re.escape(f'{value:.{digits}f}')}(?!\d)", line), (key, value)
