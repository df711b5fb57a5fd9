"""What is declared of the metrics: complete, true of what is measured, and said nowhere else."""

import json
import math
import re
from dataclasses import fields, replace

import pytest
import torch
from project import DATA, ROOT
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.errors import GuideError
from guide_lib.evaluation import results
from guide_lib.files import read_rows
from guide_lib.metrics import columns
from guide_lib.metrics.columns import METRICS
from guide_lib.metrics.forgetting import Forgetting, measure_forgetting
from guide_lib.metrics.identity import Reconstruction, Report, evaluate
from guide_lib.metrics.intervals import Interval, share_interval

JUDGE = TinyEmbedder(seed=8)
HEADINGS = {
    "id": "ID (lower)",
    "id_others": "ID_others (lower)",
    "retention": "retention (higher)",
    "lpips_others": "LPIPS of others (lower)",
    "fid_pre": "FID_pre (lower)",
    "kid_pre": "KID (lower)",
    "fid_real_change": "dFID_real (lower)",
    "reinverted_w_seconds": "re-inverted, W: seconds",
    "relearn_steps": "steps to relearn (higher)",
    "relearn_steps_control": "steps of G_s",
    "fingerprint_rank": "fingerprint rank, G_u alone (higher)",
}


def test_headings_say_which_side_is_better():
    assert {key: METRICS[key].heading for key in HEADINGS} == HEADINGS
    assert len({metric.heading for metric in METRICS.values()}) == len(METRICS)
    assert METRICS["id"].arrow == "← better" and METRICS["retention"].arrow == "better →"
    assert METRICS["seconds"].arrow == ""


def test_every_metric_is_declared_in_full():
    for key, metric in METRICS.items():
        low, high = metric.bounds
        assert key == metric.key and low < high and metric.source
        assert re.fullmatch(r"[A-Z].*\.", metric.meaning), key
        assert not metric.share or metric.bounds == (0, 1)
        assert metric.show(1.0) == format(1.0, metric.format) and metric.show(None) == "-"


def test_all_that_reports_and_stored_rows_hold_is_declared():
    words = {"scenario", "method", "person", "seed", "became", "truncation"}
    for path in (DATA / "results").glob("*-people.jsonl"):
        for row in read_rows(path):
            numbers = {key: value for key, value in row.items() if not isinstance(value, list) and key not in words}
            assert numbers.keys() <= METRICS.keys()
            assert all(METRICS[key].holds(value) for key, value in numbers.items())
    reported = {field.name for of in (Report, Forgetting, Reconstruction) for field in fields(of)}
    assert reported - {"pictures"} <= METRICS.keys()


def test_a_unit_has_its_bounds():
    at_least_0 = {"LPIPS", "s", "steps", "rank from 0", ""}
    ends = {"judge cosine": (-1, 1), "difference of cosines": (-2, 2), "share": (0, 1)} | dict.fromkeys(
        at_least_0, (0, math.inf)
    )
    for key, metric in METRICS.items():
        if key != "retention_sd" and metric.unit in ends:
            assert metric.bounds == ends[metric.unit], key
    assert METRICS["fid_pre"].bounds == (0, math.inf)
    assert METRICS["kid_pre"].bounds == METRICS["fid_real_change"].bounds == (-math.inf, math.inf)
    assert METRICS["retention_sd"].holds(torch.tensor([-1.0, 1.0]).std().item())


@pytest.mark.parametrize("key", METRICS)
def test_nothing_outside_of_its_bounds_can_be_a_value(key):
    metric = METRICS[key]
    for end, outward in zip(metric.bounds, (-1, 1), strict=True):
        if math.isfinite(end):
            assert metric.holds(end) and not metric.holds(end + 0.01 * outward)
    assert not any(metric.holds(value) for value in (math.nan, math.inf, -math.inf, "0.5", None, [0.5]))


def test_a_cosine_may_pass_one_by_a_rounding_and_a_share_may_not():
    assert METRICS["id"].holds(1 + 1e-6) and not METRICS["accepted"].holds(1 + 1e-6)


def test_doing_nothing_is_best_for_what_shall_stay_and_worst_for_what_shall_go():
    generator = TinyGenerator()
    w_u, others = generator.sample(7, torch.Generator().manual_seed(2)).split((1, 6))
    directions = {name: 0.02 * torch.eye(6)[i] for i, name in enumerate(("yaw", "pitch", "smile"))}
    report = evaluate(generator.student(), generator, w_u, others, JUDGE, TinyPerceptual())
    forgetting = measure_forgetting(generator.student(), generator, w_u, directions, JUDGE)
    kept = ("retention", "retention_min", "retention_nearest", "retained", "lpips_others")
    stays = {key: getattr(report, key) for key in kept}
    goes = {"id": report.id, "id_views": forgetting.id}
    goes |= {key: getattr(forgetting, key) for key in ("id_others", "accepted", "accepted_others")}
    for measured, end in ((stays, True), (goes, False)):
        for key, value in measured.items():
            low, high = METRICS[key].bounds
            best = high if METRICS[key].higher_is_better is end else low
            assert value == pytest.approx(best, abs=1e-5), key


def test_shares_take_the_exact_interval_and_others_stay_within_their_bounds():
    ones = [1.0, 1.0, 0.0]
    for key, metric in METRICS.items():
        if metric.share:
            assert metric.interval(ones) == share_interval(ones) and metric.difference(ones).low < 0, key
    assert METRICS["accepted_w_u"].interval([0.0] * 6).high == pytest.approx(1 - 0.025 ** (1 / 6))
    assert METRICS["lpips_others"].interval([0.0, 0.1, 0.05]).low == 0.0
    assert METRICS["id"].difference([0.9, 1.4, -0.8]).high > 1  # a difference of cosines is none


def test_a_value_and_an_interval_are_shown_in_the_same_format():
    assert METRICS["id"].show(0.25) == "0.250" and METRICS["seconds"].show(12.3) == "12.30"
    assert METRICS["relearn_steps"].show(Interval(30, 20, 40.25, 6)) == "30.0 [20.0, 40.2]"


DOCSTRING = re.compile(r'""".*?"""', re.DOTALL)


def test_the_better_side_is_written_in_one_place():
    words = re.compile(r"\((lower|higher)\)|(lower|higher) is better|better (→|->)|(←|<-) better")
    spread = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for folder in ("guide_lib", "data/recipes", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if path != ROOT / "guide_lib" / "metrics" / "columns.py"
        for found in words.finditer(DOCSTRING.sub("", path.read_text(encoding="utf-8")))  # examples show what comes out
    ]
    assert not spread
    assert words.search((ROOT / "guide_lib" / "metrics" / "columns.py").read_text(encoding="utf-8"))


def test_headings_and_bounds_of_tables_and_rows_are_the_declared_ones(monkeypatch, tmp_path):
    row = {"scenario": "random", "method": "A", "person": "0", "id": 1.7, "became": [1.0]}
    changed = replace(METRICS["id"], label="likeness", higher_is_better=True, bounds=(0.0, 2.0), format=".1f")
    (tmp_path / "people.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(GuideError, match="id cannot be 1.7"):
        results.read_rows(tmp_path / "people.jsonl")
    monkeypatch.setitem(columns.METRICS, "id", changed)
    assert results.read_rows(tmp_path / "people.jsonl") == [row]
    assert results.table_of(results.summarise([row])).splitlines()[::2] == [
        "| | people | likeness (higher) |",
        "| random: A | 1 | 1.7 |",
    ]
