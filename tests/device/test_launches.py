"""What a GPU is told in one step at full size, and how often it is waited for; the figures are in docs/speed.md."""

from __future__ import annotations

import json

import pytest
import torch
from pretend import Pretend
from project import DATA, ROOT

from guide_lib.experiment import load_networks
from guide_lib.losses import Distance
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn
from guide_lib.unlearning.objective import Objective

STORED = json.loads((DATA / "results" / "launches.json").read_text(encoding="utf-8"))
MOST_LAUNCHES, MOST_WAITS = 2000, 1


def counted(mixed: bool, one_pass: bool | None) -> dict[str, int]:
    """Of the third step of the preset `fast`, by shapes alone."""
    with Pretend("cuda", empty=True) as seen:
        networks = load_networks(resolution=STORED["resolution"], device="cuda")
        generator, known = networks.generator, {"perceptual": networks.perceptual, "embedder": networks.embedder}
        w_u = generator.sample(1, torch.Generator().manual_seed(7))
        settings = UnlearningSettings.fast(steps=9, mixed_precision=mixed)
        steps = unlearn(generator, w_u, ufo_target(w_u, generator.w_avg), settings, **known, one_pass=one_pass)
        next(steps), next(steps)
        seen.reset()
        next(steps)
    counters = {"launches": seen.kernels, "waits": seen.waits, "copies": seen.copies}
    return {name: counter.total() for name, counter in counters.items()}


@pytest.mark.parametrize("mixed", [False, True], ids=["single", "mixed"])
def test_a_step_is_few_launches_and_one_wait(mixed):
    """A card of 80 GB takes the one pass by itself. Another PyTorch may split an operation differently."""
    found = counted(mixed, one_pass=None)
    assert found["launches"] <= MOST_LAUNCHES and found["waits"] <= MOST_WAITS
    precision = "mixed" if mixed else "single"
    (row,) = (row for row in STORED["rows"] if (row["step"], row["precision"]) == ("one pass", precision))
    assert found == {key: pytest.approx(row[key], rel=0.05) for key in found}


def test_the_table_of_the_documentation_is_the_stored_one():
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    for row in STORED["rows"]:
        cells = row["step"], row["precision"], f"{row['launches']:,}", row["waits"], row["copies"]
        assert f"| {' | '.join(map(str, cells))} |" in text


def test_one_pass_of_the_real_networks_has_the_loss_and_the_gradient_of_three():
    """Of a student that has learned something: in the first step the global loss has no gradient."""
    networks = load_networks(resolution=128)
    generator, found = networks.generator, []
    w_u = generator.sample(1, torch.Generator().manual_seed(7))
    for one_pass in (False, True):
        student, rng = generator.student(), torch.Generator().manual_seed(8)
        with torch.no_grad():
            for parameter in student.trainable_parameters().values():
                noise = torch.randn(parameter.shape, generator=rng)
                parameter += 0.01 * parameter.square().mean().sqrt() * noise
        codes, distance = (w_u, ufo_target(w_u, generator.w_avg)), Distance(networks.perceptual, networks.embedder)
        objective = Objective(generator, *codes, UnlearningSettings(), distance, one_pass)
        losses = objective.backward(student, index=1)
        assert losses["global"] > 1e-3
        gradient = torch.cat([p.grad.flatten() for p in student.trainable_parameters().values()])
        found.append((losses["total"], gradient))
    (three, apart), (one, together) = found
    assert one == pytest.approx(three, rel=1e-5)
    assert (together - apart).norm() <= 1e-3 * apart.norm()
