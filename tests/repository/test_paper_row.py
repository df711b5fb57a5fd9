"""The regression script on a tiny model: every number by a second way, its verdicts, and its refusals."""

import importlib.util

import pytest
import torch
from project import ROOT
from test_released import small
from tiny import TinyEmbedder, TinyPerceptual

from guide_lib.experiment import Networks
from guide_lib.generators import View, as_released
from guide_lib.metrics.distribution import frechet_distance
from guide_lib.unlearning import UnlearningSettings

BENCHMARKS = ROOT / "benchmarks"


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAPER_ROW = script("paper_row")


def inception(images: torch.Tensor) -> torch.Tensor:
    """Four features of a picture."""
    return torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3)), images[:, 0, 3, 3], images[:, 1, 8, 2]], dim=1)


@pytest.mark.parametrize("released", [False, True])
def test_the_row_equals_its_definitions(released, tmp_path):
    generator = as_released(small()) if released else small()
    judge = TinyEmbedder(seed=8)
    networks = Networks(generator, TinyPerceptual(), TinyEmbedder(), judge)
    ws = generator.sample(3, torch.Generator().manual_seed(5))
    real = torch.randn(6, 4)
    settings = UnlearningSettings.paper(steps=2, learning_rate=0.05)
    row = PAPER_ROW.paper_row(networks, ws[:1], ws[1:], real, inception, tmp_path, settings, count=6)
    assert list(row) == list(PAPER_ROW.RANGES) == list(PAPER_ROW.PUBLISHED)
    assert all(abs(value) < float("inf") for value in row.values())
    assert (tmp_path / "before.safetensors").is_file()
    if released:
        return  # its passes differ from each other, so nothing can be computed twice
    again = PAPER_ROW.paper_row(networks, ws[:1], ws[1:], real, inception, tmp_path, settings, count=6)
    assert again == pytest.approx(row, abs=1e-5)
    student = student_of(networks, ws[:1], settings)

    def cosine(w: torch.Tensor) -> float:
        views = [View(float(yaw), 7.3141) for yaw in range(-15, 16, 3)]
        pairs = [[judge.embed(g.synthesis(w, view).image)[0] for g in (generator, student)] for view in views]
        return sum((a @ b).item() for a, b in pairs) / 11

    assert row["ID"] == pytest.approx(cosine(ws[:1]), abs=1e-3)
    assert row["ID_others"] == pytest.approx((cosine(ws[1:2]) + cosine(ws[2:])) / 2, abs=1e-3)
    assert row["ID"] < 0.9999 and row["FID_pre"] > 0
    features = []
    for network in (generator, student):
        features.append(PAPER_ROW.generated_features(network, 6, inception))
    assert row["FID_pre"] == pytest.approx(frechet_distance(*features), rel=1e-3)
    before, after = (frechet_distance(real, part) for part in features)
    assert row["dFID_real"] == pytest.approx(after - before, abs=1e-4)


def student_of(networks: Networks, w_u: torch.Tensor, settings: UnlearningSettings):
    known = {"perceptual": networks.perceptual, "embedder": networks.embedder}
    *_, last = PAPER_ROW.unlearn(
        networks.generator, w_u, PAPER_ROW.ufo_target(w_u, networks.generator.w_avg), settings, **known
    )
    return last.student


def test_the_published_figures_are_in_range_and_the_baselines_are_not():
    """But for its ID at the one latent, which is low too."""
    published = [
        {"ID": 0.0183, "ID_others": 0.2797, "FID_pre": 7.497, "dFID_real": 3.331},
        {"ID": 0.02, "ID_others": 0.23, "FID_pre": 7.44, "dFID_real": 3.36},
    ]
    for row in published:
        assert "OUTSIDE" not in PAPER_ROW.table(row)
    baseline = {"ID": 0.0818, "ID_others": 0.4122, "FID_pre": 9.487, "dFID_real": 4.891}
    assert PAPER_ROW.table(baseline).count("OUTSIDE") == 3
    assert PAPER_ROW.table({"ID": float("nan")}).count("OUTSIDE") == 1


@pytest.mark.parametrize("values", [(0.0, 0.25, 7.5, 3.3), (0.9, 0.25, 7.5, 3.3)])
def test_the_exit_status_says_whether_the_row_is_in_range(values, tmp_path, monkeypatch, capsys):
    row = dict(zip(PAPER_ROW.RANGES, values, strict=True))
    monkeypatch.setattr(PAPER_ROW, "measure", lambda args, folder: row)
    options = ["me.jpg", "--others", "o", "--real", "r", "--out", str(tmp_path / "out")]
    assert PAPER_ROW.main(options) == int(values[0] > 0.12)
    assert "| ID_others | 0.250 | 0.23 to 0.28 |" in capsys.readouterr().out
    assert (tmp_path / "out" / "paper_row.json").is_file()


def test_without_the_files_it_says_where_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    options = ["me.jpg", "--others", "o", "--real", "r", "--out", str(tmp_path / "out")]
    assert PAPER_ROW.main(options) == 2
    line = capsys.readouterr().err
    assert "download ffhqrebalanced512-128.pkl yourself" in line and line.count("\n") == 1
