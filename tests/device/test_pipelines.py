"""What a user does, from photo to attack, on every device: with tiny networks the numbers are those of the CPU."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_networks import CARD, CPU, seeded
from tiny import DeepGenerator, GreyEncoder, TinyGenerator, networks_on
from torch import Tensor

from guide_lib.attacks import Attacker, neighbour_curve
from guide_lib.experiment import Networks, other_people
from guide_lib.figures import loss_curves
from guide_lib.inversion.methods import Method, invert_by, reconstructions
from guide_lib.inversion.optimise import InversionSettings, invert
from guide_lib.inversion.pivotal import PivotalSettings
from guide_lib.metrics.distribution import generated_features
from guide_lib.metrics.forgetting import measure_forgetting
from guide_lib.session import Session
from guide_lib.targets import average_target, distance_from_mean, partial_target, ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn
from guide_lib.widgets import UnlearningDashboard

SETTINGS = UnlearningSettings(steps=4, learning_rate=3e-3, walk=0.5)
SHORT = InversionSettings(3, 3)


def assert_near(there: Tensor, here: Tensor) -> None:
    assert (there.cpu() - here).norm() <= CARD * here.norm()


def photo() -> Tensor:
    return TinyGenerator().picture(TinyGenerator().sample(1, seeded(3)))


def steps_of(networks: Networks, folder: Path, trained: str, mixed: bool = False):
    w_u = networks.generator.sample(1, seeded(7))
    settings = UnlearningSettings(steps=4, learning_rate=3e-3, trained=trained, mixed_precision=mixed)
    known = {"perceptual": networks.perceptual, "embedder": networks.embedder, "checkpoint": folder / "c"}
    return unlearn(networks.generator, w_u, ufo_target(w_u, networks.generator.w_avg), settings, **known)


@pytest.mark.parametrize("trained", ["weights", "styles", "lora", "adapters"])
def test_a_run_is_stopped_and_goes_on_there_whatever_learns(trained, device, tmp_path):
    found = []
    for where in (CPU, device):
        folder, networks = tmp_path / where.type, networks_on(where, DeepGenerator())
        with closing(steps_of(networks, folder, trained)) as steps:
            assert len([*islice(steps, 2)]) == 2
        *_, last = steps_of(networks, folder, trained)
        parameters = last.student.state_dict()
        assert all(tensor.device.type == where.type for tensor in parameters.values())
        found.append((last.losses["total"], torch.cat([t.cpu().flatten() for t in parameters.values()])))
    assert found[1][0] == pytest.approx(found[0][0], rel=CARD)
    assert_near(found[1][1], found[0][1])


def test_a_run_that_was_begun_here_goes_on_there(device, tmp_path):
    with closing(steps_of(networks_on(CPU), tmp_path, "weights")) as steps:
        next(steps)
    there = [step.index for step in steps_of(networks_on(device), tmp_path, "weights")]
    assert there == [1, 2, 3, 4]


def test_a_step_in_mixed_precision_is_done_there(device, tmp_path):
    assert len([*steps_of(networks_on(device), tmp_path, "weights", mixed=True)]) == 4


@pytest.mark.parametrize("patience", [None, 1])
def test_photos_are_inverted_there(patience, device):
    settings = InversionSettings(4, 4, patience=patience, tolerance=0.5)
    photos, found = torch.cat([photo(), photo().flip(3)]), []
    for where in (CPU, device):
        n = networks_on(where)
        found.append(invert(n.generator, photos, settings, perceptual=n.perceptual, embedder=n.embedder))
    assert_near(found[1], found[0])


def test_every_stage_of_an_inversion_is_there_and_is_kept(device, tmp_path):
    method, found = Method(True, SHORT, PivotalSettings(steps=2, threshold=0.0)), []
    for where in (CPU, device):
        networks = networks_on(where)
        encoder = GreyEncoder(networks.generator.w_avg)
        for _ in range(2):  # the second time from the file
            stages = invert_by(method, networks, photo(), tmp_path / where.type, encoder)
            assert all(stage.ws.device.type == where.type for stage in stages.values())
        found.append(reconstructions(networks, photo(), stages))
    for stage, here in found[0].items():
        assert_near(found[1][stage].judge, here.judge)
        assert_near(found[1][stage].lpips, here.lpips)


def test_targets_and_other_people_are_there(device):
    found = []
    for where in (CPU, device):
        generator = networks_on(where).generator
        w_u = generator.sample(1, seeded(7))
        targets = average_target(w_u, generator.w_avg), partial_target(w_u, generator.w_avg, range(2))
        found.append([*targets, distance_from_mean(w_u, generator.w_avg), other_people(generator, 3)])
    for here, there in zip(*found, strict=True):
        assert_near(there, here)


def test_a_session_erases_measures_draws_and_saves_there(device, tmp_path):
    found = []
    for where in (CPU, device):
        session = Session(networks_on(where), tmp_path / where.type)
        session.choose(seed=7)
        history = [*session.erase(SETTINGS)]
        report = session.measure(4)
        loss_curves(history)
        with Image.open(session.save() / "before_after.png") as picture:
            assert picture.width > 100
        found.append(torch.tensor([report.id, report.retention, report.retention_min, history[-1].losses["total"]]))
        assert session.draw().device == CPU
    assert_near(found[1], found[0])


ATTACKS = {
    "search": {
        "attacker": Attacker("reflected", starts=2, likelihood=0.1, half="left", settings=InversionSettings(1, 1))
    },
    "search beside": {"attacker": Attacker("random", starts=2, settings=InversionSettings(1, 1))},
    "reinvert": {"settings": InversionSettings(1, 1), "starts": 2},
    "mixing": {"splits": [2], "count": 2},
    "relearn by LoRA": {"settings": PivotalSettings(steps=2, trained="lora", threshold=0.0)},
    "relearn on others": {"settings": PivotalSettings(steps=2, threshold=0.0)},
    "relearn": {"settings": PivotalSettings(steps=2, threshold=0.0)},
    "neighbours": {"distances": (0.0, 5.0), "count": 2},
    "fingerprint": {"probes": 1},
    "fingerprint beside": {},
}


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_is_made_there(name, device):
    session = Session(networks_on(device))
    session.choose(seed=7)
    [*session.erase(SETTINGS)]
    assert session.attack(name, **ATTACKS[name])


def test_neighbours_in_any_direction_are_seen_there(device):
    n = networks_on(device)
    codes = n.generator.student(), n.generator, n.generator.sample(1, seeded(7))
    assert len([*neighbour_curve(*codes, n.judge, distances=(5.0,), kind="random", count=2)]) == 1


def test_forgetting_is_measured_there(device):
    found = []
    for where in (CPU, device):
        n = networks_on(where)
        directions = {name: torch.linspace(-1, 1, 6) for name in ("yaw", "pitch", "smile")}
        w_u = n.generator.sample(1, seeded(7))
        measured = measure_forgetting(n.generator.student(), n.generator, w_u, directions, n.judge)
        found.append(torch.tensor([value for value in vars(measured).values() if isinstance(value, float)]))
    assert_near(found[1], found[0])


def test_features_of_drawn_pictures_are_collected_here(device):
    def extractor(images: Tensor) -> Tensor:
        return images.flatten(1)[:, :5]

    assert generated_features(networks_on(device).generator, 3, extractor).device == CPU


def test_a_dashboard_draws_there(device, tmp_path):
    networks = networks_on(device)
    w_u, generator = networks.generator.sample(1, seeded(7)), networks.generator
    before = generator.picture(w_u)[0]
    board = UnlearningDashboard(4, before, before, render=lambda step: step.student.picture(w_u)[0], every=1)
    for step in steps_of(networks, tmp_path, "weights"):
        board.show(step)
    assert board.png()
