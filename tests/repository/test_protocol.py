"""docs/protocol.md says of judge, people, seeds and presets what the code has."""

import inspect
import json

import pytest
from project import DATA, RESULTS, page, recipe, sentences
from safetensors.torch import load_file

from guide_lib import attacks
from guide_lib.attacks import relearning
from guide_lib.attacks.found import APART
from guide_lib.evaluation import protocol, scenarios
from guide_lib.experiment import OTHERS_SEED, other_people
from guide_lib.inversion.optimise import InversionSettings
from guide_lib.metrics import distribution, forgetting
from guide_lib.metrics.columns import METRICS
from guide_lib.metrics.thresholds import ACCEPTANCE, STRICT
from guide_lib.session import attacking
from guide_lib.unlearning import UnlearningSettings

TEXT = sentences("docs/protocol.md")


def default(function, name):
    return inspect.signature(function).parameters[name].default


MEASURED = json.loads((RESULTS / "judge_threshold.json").read_text(encoding="utf-8"))
JUDGES = MEASURED["judges"]


def share(counted, digits):
    low, high = (100 * end for end in counted["interval_pairs"])
    return f"{100 * counted['share']:.{digits}f} % [{low:.{digits}f}, {high:.{digits}f}]"


def test_the_judge_and_both_thresholds():
    large, small = (JUDGES["dlib"][size]["accepted"] for size in ("256", "128"))
    assert f"a cosine of at least {ACCEPTANCE}, which one in a thousand pairs" in TEXT
    assert MEASURED["false_accepts"] == 1e-3 and MEASURED["false_rejects"] == 1 / 25
    rejected = f"{large['orl_false_rejects']['share']:.0%}".replace("%", " %")
    assert f"it also rejects {rejected} of the pairs of one person" in TEXT
    assert f"**Strict** is {STRICT}, the highest cosine that rejects at most one in 25" in TEXT
    used = recipe("evaluation").RESOLUTION
    assert f"set at 256 px and is used at {used} px, too, where the same people give {small['threshold']:.3f}," in TEXT
    low, high = small["interval"]
    assert low < small["threshold"] < ACCEPTANCE < high and "with an interval over people that holds both" in TEXT


def test_the_second_judge():
    assert f"strangers have a mean cosine of {JUDGES['edgeface']['256']['strangers_mean']:.2f} as they are" in TEXT
    assert all(found["accepted"] == found["strict"] for found in JUDGES["edgeface"].values())
    assert MEASURED["orl"]["edgeface"]["auc"] > MEASURED["orl"]["dlib"]["auc"]


def test_the_table_of_thresholds():
    lines = []
    for judge, by_size in JUDGES.items():
        for size, found in by_size.items():
            cells = [f"{judge}, {size} px"]
            for kind in ("accepted", "strict"):
                low, high = found[kind]["interval"]
                cells.append(f"{found[kind]['threshold']:.3f} [{low:.3f}, {high:.3f}]")
                cells += [share(found[kind]["false_accepts"], 3), share(found[kind]["orl_false_rejects"], 1)]
            lines.append(f"| {' | '.join(cells)} |")
    assert len(lines) == 4 and "\n".join(lines) in page("docs/protocol.md")
    pairs = JUDGES["dlib"]["128"]["accepted"]
    assert f"({pairs['false_accepts']['pairs']:,} pairs)" in TEXT
    assert f"pairs of one person {pairs['orl_false_rejects']['pairs']:,} of ORL" in TEXT


def test_how_well_the_recognisers_tell_people_apart():
    names = {"sface": "SFace", "mobilefacenet": "MobileFaceNet", "dlib": "dlib ResNet", "edgeface": "EdgeFace-S"}
    assert set(names) == set(MEASURED["orl"])
    for name, found in MEASURED["orl"].items():
        line = f"| {names[name]} | {found['auc']:.5f} | {100 * found['accepted']:.1f} % | {found['threshold']:.3f} |"
        assert line in page("docs/networks.md")


def test_strangers_in_the_raw_embeddings():
    """The squared length of a mean of unit vectors is the mean cosine of all pairs."""
    (centre,) = load_file(DATA / "judge-dlib-centre.safetensors").values()
    assert f"a cosine of about {centre.square().sum():.2f}" in TEXT


def test_views_and_other_pictures():
    yaws = forgetting.YAWS
    assert f"over {len(yaws)} yaws from {yaws[0]} to {yaws[-1]} degrees" in TEXT
    assert len(forgetting.OTHER_PICTURES) == 6 and "six moves of `w_u` in pitch, yaw and smile" in TEXT
    assert {name for moves in forgetting.OTHER_PICTURES for name in moves} == {"pitch", "yaw", "smile"}
    assert distribution.SEED == 0 and "the same z and camera; seed 0" in TEXT


def test_the_better_side_is_the_declared_one():
    """Lines are named after the metric's label, or after its key where they stand for more than one."""
    lines = page("docs/protocol.md").split("| name | exactly | better |")[1].split("\n\n")[0].splitlines()[2:]
    known = METRICS | {metric.label: metric for metric in METRICS.values()}
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {name: better for name, _, better, _ in cells} == {name: known[name].side for name, *_ in cells}
    assert len(cells) == 16


def test_people_and_seeds():
    settings = recipe("evaluation")
    assert f"from {scenarios.HELD_OUT:,} on, truncation 0.7" in TEXT
    assert scenarios.TRUNCATIONS == (1.0, 0.7) and "0, 1, ...; truncation 1 and 0.7 in turn" in TEXT
    count = default(other_people, "count")
    assert f"The {count} other people are the same in every run" in TEXT and f"(seed {OTHERS_SEED:,}," in TEXT
    assert settings.PHOTOS - 1 == 3 and "three others of each for ID_others" in TEXT
    assert f"5,000 pairs, the tables {settings.PAIRS}" in TEXT


def test_the_attacks_budgets():
    starts, one = default(attacks.reinvert, "starts"), InversionSettings()
    budget = f"({starts * one.steps_w} and {starts * one.steps_w_plus} steps in all)"
    assert starts == 4 and f"from four starts {budget}" in TEXT
    assert default(attacks.neighbour_curve, "count") == 6 and "toward six other people" in TEXT
    assert default(attacks.relearn, "look_every") == 5 and "looked at every five" in TEXT
    assert f"of at most {protocol.RELEARNING_STEPS} steps" in TEXT
    assert f"G_u and {attacking.CANDIDATES} latents | how many of the {attacking.CANDIDATES - 1} others" in TEXT


def test_the_attackers_are_the_declared_ones():
    networks = {"own": "those of the loss", "vgg": "VGG, MobileFaceNet"}
    lines = page("docs/protocol.md").split("| attacker |")[1].split("\n\n")[0].splitlines()[2:]
    told = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cells[0].strip("`") for cells in told] == [*attacks.ATTACKERS]
    starts = {
        "mean": "the mean face",
        "random": "a sample",
        "encoder": "the encoder's answer",
        "reflected": "2 `w_avg`",
    }
    for (_, first, tools, count, steps), attacker in zip(told, attacks.ATTACKERS.values(), strict=True):
        s = attacker.settings
        assert first.startswith(starts[attacker.start]) and tools == networks[attacker.perceptual]
        assert int(count) == attacker.starts and steps == f"{s.steps_w}, {s.steps_w_plus}"
        assert ("improbable" in first) == bool(attacker.likelihood) and ("half" in first) == bool(attacker.half)
    assert f"more than {APART:g} apart" in TEXT and f"{protocol.OTHERS_STEPS} steps on four other" in TEXT
    assert relearning.LESSONS == 4 and protocol.STRANGERS == 1 and "one stranger a person" in TEXT


@pytest.mark.parametrize("name", ["paper", "fast", "styles"])
def test_the_table_of_presets(name):
    settings = getattr(UnlearningSettings, name)()
    cells = next(line for line in page("docs/protocol.md").splitlines() if line.startswith(f"| `{name}` |")).split(
        " | "
    )
    rate, *faster = cells[2].split(", style layers ")
    assert int(cells[1]) == settings.steps and float(rate) == settings.learning_rate
    assert [f"{settings.style_rate:g} times as fast"] * len(faster) == faster and bool(faster) == (name != "paper")
    assert ("style layers" in cells[3]) == (settings.trained == "styles")
    assert cells[4].rstrip(" |") == f"x {settings.weight_global:g}"


def test_the_tables_settings():
    short, fast = UnlearningSettings.table(), UnlearningSettings.fast()
    assert short.steps * 2 == fast.steps and short.learning_rate == 2 * fast.learning_rate and short.mixed_precision
    adapters = scenarios.METHODS["GUIDE by adapters"].changes["learning_rate"]
    rate, slow = (f"{value:.0e}".replace("e-0", "e-") for value in (short.learning_rate, adapters))
    assert f"{short.steps} steps at {rate} (adapters at {slow}), {recipe('evaluation').RESOLUTION} px" in TEXT


def test_fid_beside_torchmetrics():
    stored = json.loads((RESULTS / "fid_check.json").read_text(encoding="utf-8"))
    difference = f"{stored['fid_relative_difference']:.1e}"
    assert f"torchmetrics' FID on {stored['count']:,} pictures it differs by {difference} of the value" in TEXT
