"""The shipped heads: what the network draws beside the photographs of the very people that its latents stand for."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import networks_on

from guide_lib.__main__ import main
from guide_lib.assets import shipped
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks
from guide_lib.generators import View, load_generator, load_student, save_student, volume
from guide_lib.generators.eg3d import EG3D
from guide_lib.generators.heads_eg3d import ALIGNMENT, FILE, HEADS, NAME, PERSON
from guide_lib.heads import NUMBERS, describe, photograph
from guide_lib.metrics.thresholds import ACCEPTANCE, thresholds_of
from guide_lib.perception import load_judge
from guide_lib.session import session as sessions

SIDES = View(-20, 5), View(20, 5)


@cache
def generator():
    return load_generator(NAME)


def latents(count: int, seed: int = 5) -> torch.Tensor:
    return torch.randn(count, NUMBERS, generator=torch.Generator().manual_seed(seed))


def test_the_file_is_small_and_every_number_of_it_is_in_the_network():
    stored = load_file(shipped(FILE))
    assert shipped(FILE).stat().st_size <= 10e6 and {tensor.dtype for tensor in stored.values()} == {torch.float16}
    state = generator().state_dict()
    assert stored.keys() == state.keys() and all(torch.equal(state[n], t.float()) for n, t in stored.items())
    assert not any(p.requires_grad for p in generator().parameters())


def test_the_mean_latent_is_the_mean_of_people():
    w = generator().mapping(latents(4096))[:, 0]
    spread = w.std(0).norm()
    assert (w.mean(0) - generator().w_avg[0, 0]).norm() < 0.1 * spread
    assert generator().w_avg.shape == (1, generator().rows, HEADS.w_dim)


def test_people_are_drawn_as_they_are_photographed_from_both_sides():
    """Each picture is nearer to its own person's photograph than to any other person's, and to its own side's."""
    people = latents(4)
    with torch.no_grad():
        drawn = [generator().picture(generator().mapping(people), view) for view in SIDES]
    poses = [generator().camera(view)[0][0] for view in SIDES]
    photos = [torch.stack([photograph(describe(z), pose, 128, samples=1).image for z in people.numpy()])
              for pose in poses]  # fmt: skip
    for side in (0, 1):
        own = (drawn[side] - photos[side]).abs().mean((1, 2, 3))
        others = (drawn[side][:, None] - photos[side][None]).abs().mean((2, 3, 4))
        assert (others.argmin(1) == torch.arange(4)).all(), others
        assert (own < (drawn[side] - photos[1 - side]).abs().mean((1, 2, 3))).all()
        assert own.max() < 0.2


def test_the_depth_is_that_of_the_photograph():
    z, pose = latents(1, seed=6), generator().camera(SIDES[0])[0]
    with torch.no_grad():
        depth = generator().render(generator().planes(generator().mapping(z)), *generator().camera(SIDES[0]))[1][0, 0]
    truth = photograph(describe(z[0].numpy()), pose[0], HEADS.render_size, samples=1).depth
    assert (depth - truth)[truth > 0].abs().median() < 0.015


@pytest.mark.parametrize("yaw, pitch", [(0, 0), (-20, 7), (12, -6)])
def test_the_camera_of_a_picture_is_found_by_five_points(yaw, pitch):
    pose, camera = generator().camera(View(yaw, pitch))
    inside = (torch.tensor(ALIGNMENT.face) - pose[0, :3, 3]) @ pose[0, :3, :3]
    points = 128 * (inside[:, :2] / inside[:, 2:] * camera[0, 0, 0] + 0.5) - 0.5
    found = generator().view_of(points.numpy())
    assert abs(found.yaw - yaw) < 2 and abs(found.pitch - pitch) < 2
    square = ALIGNMENT.square(points.numpy())
    assert np.abs(square - np.array([[0, 0], [128, 0], [128, 128], [0, 128]]) + 0.5).max() < 6  # the whole picture


def test_what_is_kept_for_the_way_back_gives_the_gradients_of_what_is_computed_again(monkeypatch):
    student, ws, found, checkpoints = generator().student(), generator().mapping(latents(1)), [], []
    again = volume.checkpoint
    monkeypatch.setattr(volume, "checkpoint", lambda *args, **how: checkpoints.append(1) or again(*args, **how))
    for recompute in (False, True):
        student.config = replace(HEADS, sampling=replace(HEADS.sampling, recompute=recompute))
        student.zero_grad()
        student.picture(ws).square().mean().backward()
        found.append([p.grad.clone() for p in student.trainable_parameters().values() if p.grad is not None])
        assert bool(checkpoints) is recompute
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True)) and not HEADS.sampling.recompute


def test_the_judge_is_centred_on_heads_and_accepts_as_it_does_heads():
    """What `load_networks` asks a generator for."""
    drawn, full = generator(), EG3D
    assert (drawn.perceptual, drawn.faces) == ("alex", "heads") and (full.perceptual, full.faces) == ("vgg", "ffhq")
    stored = load_file(shipped("heads-eg3d-centre.safetensors"))["centre"]
    assert torch.equal(load_judge(faces=drawn.faces).centre, stored)
    networks = Networks(drawn, None, None, None)
    assert networks.acceptance == thresholds_of("dlib", 128, "heads").accepted != ACCEPTANCE


def test_pictures_of_another_size_are_refused():
    with pytest.raises(GuideError, match="heads-eg3d draws at 128 px, not at 256; leave the resolution out"):
        load_generator(NAME, 256)


def test_a_student_is_saved_and_found_again(tmp_path):
    student = generator().student()
    with torch.no_grad():
        next(iter(student.trainable_parameters().values())).mul_(1.5)
    save_student(tmp_path / "student.safetensors", student, NAME)
    ws = generator().mapping(latents(1))
    with torch.no_grad():
        again, changed = load_student(tmp_path / "student.safetensors").picture(ws), student.picture(ws)
        assert torch.equal(again, changed) and not torch.equal(changed, generator().picture(ws))


def test_the_command_erases_somebody_who_is_drawn(monkeypatch, tmp_path):
    """There is no photo of such people: without a name of anybody it is not the portrait."""
    asked = []

    def choose(session, **who):
        asked.append(who)
        raise Stopped

    monkeypatch.setattr(sessions, "load_networks", lambda *names: asked.append(names) or networks_on("cpu"))
    monkeypatch.setattr(sessions.Session, "choose", choose)
    with pytest.raises(Stopped):
        main(["unlearn", "--generator", NAME, "--out", str(tmp_path / "run")])
    (name, *_), who = asked
    assert name == NAME and who["seed"] == PERSON and who["photo"] is None


class Stopped(Exception):
    """Enough was seen."""
