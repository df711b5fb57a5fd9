"""The README's numbers are those of the stored results."""

import json
import re
from dataclasses import asdict

import pytest
from project import ROOT, recipe

from guide_lib.evaluation.results import contrast, read_rows, summarise, table_of
from guide_lib.unlearning import UnlearningSettings

README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "data" / "results"


@pytest.mark.parametrize(
    ("name", "page"), [("main", "README"), ("attacks", "README"), ("ablation", "README"), ("shortcuts", "docs/speed")]
)
def test_the_tables_of_methods_are_of_the_stored_people(name, page):
    module = recipe("evaluation")
    rows, table = module.complete(read_rows(RESULTS / f"{name}-people.jsonl")), module.TABLES[name]
    stored = (RESULTS / f"{name}.md").read_text(encoding="utf-8").strip()
    assert table_of(summarise(rows), table.quoted, sideways=table.attacks) == stored
    assert table_of(summarise(rows)) == (RESULTS / f"{name}-table.md").read_text(encoding="utf-8").strip()
    assert stored in (ROOT / f"{page}.md").read_text(encoding="utf-8")
    assert {"summary": summarise(rows)} == json.loads((RESULTS / f"{name}-summary.json").read_bytes())


def test_conda_and_pip_get_the_same_versions():
    """The least ones: what conda brings below them pip would install a second time."""
    conda = (ROOT / "environment.yml").read_text(encoding="utf-8")
    pip = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    names = {"pytorch": "torch", "matplotlib-base": "matplotlib", "pillow": "Pillow"}
    least = dict(re.findall(r"^  - ([\w-]+) >=([\d.]+)", conda, re.MULTILINE))
    assert len(least) > 10
    for name, bound in least.items():
        if name != "python":
            assert re.search(rf'"{names.get(name, name)}>={re.escape(bound)}[",]', pip), name


def test_the_differences_between_methods_are_those_of_the_stored_people():
    rows = read_rows(RESULTS / "main-people.jsonl")
    others, kept = (contrast(rows, key, "GUIDE", "baseline") for key in ("id_others", "retention"))
    assert f"{-others.mean:.2f} lower [{-others.high:.2f}, {-others.low:.2f}]" in README
    assert f"{kept.mean:.2f} higher [{kept.low:.2f}, {kept.high:.2f}]" in README


def test_the_photos_that_the_judge_still_accepts_are_counted():
    rows = [row for row in read_rows(RESULTS / "main-people.jsonl") if row["scenario"] == "ood"]
    photos = recipe("evaluation").PHOTOS - 1  # of each person besides the erased one
    still = {
        name: sum(round(photos * row["accepted_others"]) for row in rows if row["method"] == name)
        for name in ("GUIDE", "baseline")
    }
    words = {2: "two", 3: "three"}
    text = " ".join(README.split())
    assert not any(row["accepted_w_u"] for row in read_rows(RESULTS / "main-people.jsonl"))
    count = photos * len({row["person"] for row in rows})
    accepted = f"accepts {words[still['GUIDE']]} with GUIDE, and {words[still['baseline']]} with the baseline"
    assert f"of the {count} other photos (*ood*) it still {accepted}" in text


def test_what_the_attacks_are_said_to_find_is_what_they_found():
    text, rows = " ".join(README.split()), read_rows(RESULTS / "attacks-people.jsonl")
    found = {"GUIDE": [], "GUIDE without adjacency": []}
    for row in rows:
        found[row["method"]].append(row)
    assert all(row["accepted_w_u"] == 0 for row in rows)
    near, bare = (
        max(point["student_max"] for row in of for point in row["neighbours_mapped"]) for of in found.values()
    )
    assert f"the highest cosine is {near:.2f} with adjacency; without it {bare:.2f}" in text and near < 0.716 < bare
    guide = found["GUIDE"]
    again = sum(row["reinverted_w_accepted"] for row in guide)
    assert (again, len(guide)) == (5, 6) and "a search finds five of six in W" in text
    assert max(row["reinverted_w_seconds"] for row in guide) < 90
    gap = contrast(rows, "reinverted_w", "GUIDE", "GUIDE without adjacency")
    assert f"Adjacency takes {-gap.mean:.2f} [{-gap.high:.2f}, {-gap.low:.2f}] off" in text
    steps = [row["relearn_steps"] for row in guide]
    assert all(row["relearnt"] for row in guide) and f"Some {min(steps)} to {max(steps)} steps of tuning" in text
    assert sum(row["relearn_steps"] < row["relearn_steps_control"] for row in guide) == 5
    assert all(row["relearn_curve"][0][1] > row["relearn_curve_control"][0][1] for row in guide)
    assert all(row["fingerprint_rank"] == 0 for row in guide)
    assert (
        sum(row["fingerprint_rank_control"] <= 1 for row in guide) == 2 and "two of them are among the flattest" in text
    )


def test_what_each_setting_is_said_to_do_is_what_was_measured():
    rows, text = read_rows(RESULTS / "ablation-people.jsonl"), " ".join(README.split())

    def more(method, key="id_others"):
        found = contrast(rows, key, method, "GUIDE")
        return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]", found.mean

    assert f"{more('d = 0')[0]} and {more('alpha = 0')[0]} higher" in text
    assert all(more(method)[1] > 0 for method in ("d = 50", "alpha = 30"))
    assert f"(d = 15) forgets as much here and keeps more: retention is {more('d = 15', 'retention')[0]} higher" in text
    assert abs(more("d = 15")[1]) < 0.01
    assert more("N_a = 4")[1] < 0 < more("N_g = 4")[1]
    assert more("N_a = 4", "retention")[1] < 0 < more("N_g = 4", "retention")[1]
    assert f"ID_others is {more('local x 3 without adjacency')[0]} higher" in text
    assert f"makes it {more('GUIDE without adjacency')[0]}." in text


def test_what_the_fast_paths_change_is_what_was_measured():
    rows = read_rows(RESULTS / "shortcuts-people.jsonl")
    text = " ".join((ROOT / "docs" / "speed.md").read_text(encoding="utf-8").split())
    for first, second in (("GUIDE", "GUIDE in single precision"), ("GUIDE by styles", "GUIDE")):
        for key in ("id", "retention", "fid_pre"):
            assert str(contrast(rows, key, first, second)) in text


def test_the_table_of_inversions_is_the_stored_one():
    assert (RESULTS / "inversion.md").read_text(encoding="utf-8").strip() in README


def test_the_figures_on_real_faces_are_the_stored_ones():
    stored = json.loads((RESULTS / "inversion_roc.json").read_text(encoding="utf-8"))
    line = next(line for line in README.splitlines() if "ORL faces" in line and "area" in line)
    for value in (stored["encoder"]["auc"], *stored["encoder"]["mean_cosine"].values()):
        assert f"{value:.2f}" in line


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


def test_the_picture_is_of_the_preset_that_make_demo_takes():
    run = json.loads((ROOT / "docs" / "hero.json").read_text(encoding="utf-8"))["settings"]
    assert run == asdict(UnlearningSettings.styles(mixed_precision=run["mixed_precision"]))


FULL_SIZE = json.loads((RESULTS / "eg3d-full-size.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["picture", *(name for name in FULL_SIZE if name.endswith("step"))])
def test_the_full_size_figures_are_the_stored_ones(name):
    """And they keep what was asked of them: 2 GB for a picture, the backbone's synthesis alone trained."""
    costs = FULL_SIZE[name]
    assert f"{costs['cpu_seconds']:.0f} CPU-seconds and {costs['peak_gib']:.1f} GiB" in README
    if name == "picture":
        assert costs["peak_gib"] <= 2 and costs["picture"] == [3, 512, 512]
        return
    assert costs["trained_parameters"] == 28_207_533 and costs["everything_else_unchanged"]
    # equal networks give equal pictures in clean mode, and other ones in the authors' script
    assert 0 < costs["losses"]["total"] < 100 and (costs["losses"]["global"] == 0) is (name != "paper step")


def test_the_full_size_step_against_the_naive_loop_is_the_stored_one():
    """One loss for both; the ratios that docs/speed.md states."""
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    names = {
        "naive loop": "naive loop",
        "naive loop, the allocator of the library": "naive loop, same allocator",
        "library": "clean step",
        "library, bfloat16": "mixed step",
    }
    for name, line in names.items():
        costs = FULL_SIZE[line]
        assert f"| {name} | {costs['cpu_seconds']:.0f} | {costs['peak_gib']:.1f} |" in speed
    naive, kept, single, mixed = (FULL_SIZE[line]["cpu_seconds"] for line in names.values())
    assert f"{naive / single:.1f} times as fast as the naive loop, in bfloat16 {naive / mixed:.1f} times" in speed
    assert f"with the same allocator {kept / single:.1f} and {kept / mixed:.1f} times" in speed
    for line in ("naive loop", "naive loop, same allocator"):
        assert FULL_SIZE[line]["losses"] == pytest.approx(FULL_SIZE["clean step"]["losses"], rel=1e-4, abs=1e-7)
