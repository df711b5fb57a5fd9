"""The benchmark of a step, without running it: its ratios, its tables, and how it counts operations."""

import json
import statistics

import pytest
import torch
import torch.nn.functional as F
from machine import counted_gflop
from project import DATA, sentences
from scaling import erase_many, people_figure, pictures_figure
from step_report import ratios, report, table
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.experiment import Networks


def test_ratios_are_taken_round_by_round():
    rows = ratios({"slow": [4.0, 8.0, 6.0], "fast": [2.0, 1.0, 2.0], "faster": [1.0, 1.0, 1.0]})
    assert [row["pair"] for row in rows] == ["slow / fast", "slow / faster", "fast / faster"]
    assert (rows[0]["median"], rows[0]["min"], rows[0]["max"]) == (3.0, 2.0, 8.0)  # 2, 8, 3
    assert (rows[2]["median"], rows[2]["min"], rows[2]["max"]) == (2.0, 1.0, 2.0)
    assert ratios({"alone": [1.0]}) == []


def test_a_table_is_markdown_with_three_digits():
    rows = [{"side": "naive", "seconds": 1.23456, "MiB": 12345.6}, {"side": "ours", "seconds": 0.5, "MiB": 99.5}]
    expected = ["| side | seconds | MiB |", "| --- | --- | --- |", "| naive | 1.23 | 12,346 |", "| ours | 0.5 | 99.5 |"]
    assert table(rows).splitlines() == expected


def side(seconds: list[float], precision: str = "float32") -> dict[str, object]:
    memory = {"before_mib": 500.0, "peak_mib": 1700.0}
    work = {"gflop": 60.0, "precision": precision, "first_loss": 0.123456}
    return {"seconds": seconds, "cpu_seconds": [2 * s for s in seconds]} | memory | work


@pytest.mark.parametrize("measure, speed, share", [("seconds", "30 |", "15 %"), ("cpu_seconds", "15 |", "8 %")])
def test_the_report_states_time_memory_and_share_of_the_peak(measure, speed, share):
    part = {"part": "LPIPS, forward", "precision": "bfloat16", "seconds": 0.02, "gflop": 4.0}
    text = report(
        {
            "generator": "tiny",
            "resolution": 256,
            "repeats": 3,
            "measure": measure,
            "threads": 2,
            "torch": "2",
            "machine": "x86_64",
            "sides": {"naive": side([3.0, 2.0, 1.0]), "library": side([1.0, 1.0, 1.0], "bfloat16")},
            "peak_gflops": {"float32": 200.0, "bfloat16": 800.0},
            "parts": [part],
        }
    )
    naive = next(line for line in text.splitlines() if line.startswith("| naive |"))
    assert "| 500 | 1,700 | 1,200 | 60 |" in naive and f"| {speed} {share} | 0.12346 |" in naive
    assert "| naive / library | 2 | 1 | 3 |" in text
    assert "| LPIPS, forward | bfloat16 | 0.02 | 4 | 200 | 25 % |" in text
    assert "| bfloat16 | 800 |" in text


@pytest.mark.parametrize("size", [128, 256])
def test_the_tables_of_the_documentation_are_the_stored_ones(size):
    stored = json.loads((DATA / "results" / f"step-mobilestylegan-ffhq-{size}.json").read_text(encoding="utf-8"))
    _, _, sides, pairs, *_ = report(stored).split("\n\n")
    text = (DATA.parent / "docs" / "speed.md").read_text(encoding="utf-8")
    assert sides in text and pairs in text


def test_what_a_step_on_heads_takes_is_the_stored_time():
    stored = json.loads((DATA / "results" / "step-heads-eg3d.json").read_text(encoding="utf-8"))
    sides, text = stored["sides"], sentences("docs/eg3d.md")
    median = {name: statistics.median(side["seconds"]) for name, side in sides.items()}
    mib = {name: side["peak_mib"] - side["before_mib"] for name, side in sides.items()}
    (pair,) = ratios({name: sides[name]["seconds"] for name in ("naive", "library")})
    assert f"a step of the paper's settings {median['library']:.2f} s and {mib['library']:.0f} MiB" in text
    assert f"by the naive loop {median['naive']:.2f} s and {mib['naive']:.0f} MiB" in text
    assert f"{pair['median']:.2f} times as fast ({pair['min']:.2f} to {pair['max']:.2f})" in text
    assert f"gains little ({median['library-bfloat16']:.2f} s)" in text
    assert f"a picture takes {stored['parts'][0]['seconds']:.2f} s" in text


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_costs_once_forward_and_twice_backward_whatever_its_groups(groups, transposed):
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    weight = torch.randn(4, 4 // groups, 3, 3, requires_grad=True)
    convolve = F.conv_transpose2d if transposed else F.conv2d
    forward = 2 * 2 * 36 * 4 * (4 // groups) * 9 / 1e9
    assert counted_gflop(lambda: convolve(x, weight, padding=1, groups=groups)) == pytest.approx(forward)
    both = counted_gflop(lambda: convolve(x, weight, padding=1, groups=groups).sum().backward())
    assert both == pytest.approx(3 * forward)
    frozen = counted_gflop(lambda: convolve(x, weight.detach(), padding=1, groups=groups).sum().backward())
    assert frozen == pytest.approx(2 * forward)


def test_a_matrix_product_counts_its_multiplications_and_additions():
    assert counted_gflop(lambda: torch.ones(3, 5) @ torch.ones(5, 7)) == pytest.approx(2 * 3 * 5 * 7 / 1e9)


def test_every_person_costs_time_memory_and_disk(tmp_path):
    networks = Networks(TinyGenerator(), TinyPerceptual(), TinyEmbedder(), TinyEmbedder(seed=8))
    costs = erase_many(networks, 3, tmp_path)
    assert {key: len(values) for key, values in costs.items()} == {"seconds": 3, "resident_mib": 3, "disk_mib": 3}
    assert all(value > 0 for values in costs.values() for value in values)
    sizes = [file.stat().st_size for file in (tmp_path / "2").iterdir()]
    assert costs["disk_mib"][2] == pytest.approx(sum(sizes) / 2**20)


def test_the_figures_of_scaling_show_each_cost():
    flat = {"seconds": [2.0] * 6, "resident_mib": [900.0] * 6, "disk_mib": [30.0] * 6}
    growing = flat | {"resident_mib": [900.0 + 300 * k for k in range(6)]}
    assert people_figure(flat).tobytes() != people_figure(growing).tobytes()
    at = {size: {"library": {"seconds": [1.0, k, 9.0]}} for k, size in enumerate(("128", "256"), start=2)}
    assert pictures_figure(at).size == people_figure(flat).size
