"""`guide doctor --gpu` on devices that are not there: with the numbers of the CPU, and with wrong ones."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from pretend import Pretend, There
from tiny import networks_on

from guide_lib.__main__ import main
from guide_lib.errors import GuideError
from guide_lib.gpu import examine, report, table, write_examination
from guide_lib.gpu.parity import ALLOWED, answers, apart, compared
from guide_lib.gpu.speed import measured, spread
from guide_lib.gpu.trials import TRIALS, tried

PICTURES = "step, single", "step, mixed", "inversion step", "judge, 8 pictures"


def test_every_operation_works_there(device):
    assert tried(device) == dict.fromkeys(TRIALS, "works")


def test_an_operation_that_is_refused_or_wrong_is_named(monkeypatch):
    real_sample, real_convolve = F.grid_sample, F.conv2d

    def refused(x, *args, **kwargs):
        if isinstance(x, There):
            raise RuntimeError("No kernel image is available. For debugging consider CUDA_LAUNCH_BLOCKING=1.")
        return real_sample(x, *args, **kwargs)

    def wrong(x, *args, **kwargs):
        out = real_convolve(x, *args, **kwargs)
        return out * 2 if isinstance(x, There) and kwargs.get("groups") else out

    monkeypatch.setattr(F, "grid_sample", refused)
    monkeypatch.setattr(F, "conv2d", wrong)
    with Pretend("cuda"):
        found = tried(torch.device("cuda"))
    assert found["grid_sample"] == "No kernel image is available"
    assert found["depthwise convolution"] == "wrong by 300%"  # the gradient of a square
    assert found["convolution"] == found["bfloat16"] == "works"


def test_a_device_that_computes_as_the_cpu_passes(device):
    result = examine(device, networks_on, repeats=2)
    single = [row for row in result["parity"] if row["precision"] == "single"]
    assert [row["what"] for row in single] == list(ALLOWED)
    assert all(row["passed"] for row in result["parity"]), result["parity"]
    assert [row["what"] for row in result["parity"] if row["precision"] == "mixed"] == ["loss", "gradient, 1 - cosine"]
    assert any(row["precision"] == "TF32" for row in result["parity"]) == (device.type == "cuda")
    assert [row["what"] for row in result["speed"]] == list(PICTURES)
    assert all(row["seconds"] > 0 and row["peak_mib"] > 0 for row in result["speed"])
    assert result["spread"].keys() == {"loss", "gradient"} and max(result["spread"].values()) < 1e-3
    lines = table(result).splitlines()
    facts = ["card", "torch", "system"] + ["CUDA", "cuDNN", "kernels for"] * (device.type == "cuda")
    assert all(any(line.startswith(fact) for line in lines) for fact in facts)
    assert len(lines) == len(result["facts"]) + len(TRIALS) + len(result["parity"]) + 2 + len(PICTURES)


def test_the_convolutions_keep_ten_bits_only_while_that_is_measured(monkeypatch):
    seen, before = [], torch.backends.cudnn.allow_tf32
    real = report.answers
    monkeypatch.setattr(report, "answers", lambda nets: seen.append(torch.backends.cudnn.allow_tf32) or real(nets))
    with Pretend("cuda"):
        examine(torch.device("cuda"), networks_on, repeats=1)
    assert seen[1:] == [False, True] and torch.backends.cudnn.allow_tf32 is before


@pytest.mark.parametrize("part, failing", [("generator", "picture"), ("embedder", "embedder"), ("judge", "judge's")])
def test_a_network_that_is_off_fails(part, failing):
    """A twentieth of one weight in each."""
    wrong = networks_on("cpu")
    network = getattr(wrong, part)
    with torch.no_grad():
        weight = network.head.weight if part == "generator" else network.projection
        weight += 0.05 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    rows = compared(answers(wrong), answers(networks_on("cpu")), "single")
    assert any(row["what"].startswith(failing) and not row["passed"] for row in rows)
    assert next(row for row in rows if row["what"] == "w")["passed"]
    text = table({"facts": {}, "trials": {}, "parity": rows, "spread": {}, "speed": []})
    assert "FAIL" in text and "pass" in text


def test_differences_are_those_of_the_definition():
    a, b = torch.tensor([3.0, 4.0]).double(), torch.tensor([4.0, 3.0]).double()
    assert apart("picture", a, b) == pytest.approx(2**0.5 / 5)
    assert apart("gradient, 1 - cosine", a, b) == pytest.approx(1 - 24 / 25)
    assert apart("judge's cosine", a[:1], b[:1]) == 1.0


def test_what_is_not_a_number_fails():
    nothing = {"loss": torch.tensor([float("nan")])}
    assert not compared(nothing, {"loss": torch.ones(1)}, "single")[0]["passed"]


def test_repetitions_that_differ_are_seen(monkeypatch):
    losses = iter([1.0, 1.0, 1.1])
    monkeypatch.setattr(
        "guide_lib.gpu.speed.one_step",
        lambda networks: {"loss": torch.tensor([next(losses)]), "gradient, 1 - cosine": torch.ones(3)},
    )
    assert spread(networks_on("cpu")) == {"loss": pytest.approx(0.1 / 1.1), "gradient": 0.0}


def test_clocks_are_read_when_the_device_is_done():
    with Pretend("cuda") as seen:
        measured(networks_on("cuda"), repeats=3)
    waits = {place: count for (place, kind), count in seen.waits.items() if kind == "synchronize"}
    assert waits == {place: count for place, count in waits.items() if place.startswith("runtime.py")}
    assert sum(waits.values()) == len(PICTURES) * (3 + 2) * 2


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_the_command_writes_a_file_and_prints_a_table(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "load_networks", lambda device: networks_on(device))
    monkeypatch.setattr(report.write_examination, "__defaults__", (report.load_default, 1))
    with Pretend(kind):
        assert main(["doctor", "--gpu", str(tmp_path / "new" / "gpu.json")]) == 0
    found = json.loads((tmp_path / "new" / "gpu.json").read_text())
    assert found.keys() == {"facts", "trials", "parity", "spread", "speed"}
    out = capsys.readouterr().out
    assert table(found) in out and "FAIL" not in out and out.endswith("gpu.json\n")


def test_without_a_gpu_it_says_so_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "pick_device", lambda: torch.device("cpu"))
    assert main(["doctor", "--gpu"]) == 2
    assert capsys.readouterr().err == (
        "error: No GPU that works is on this machine; `guide doctor` says what PyTorch sees.\n"
    )


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with Pretend("cuda"), pytest.raises(GuideError, match="Cannot write .*; name another file after --gpu"):
        write_examination(tmp_path / "file" / "gpu.json", networks_on, repeats=1)
