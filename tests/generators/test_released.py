"""The accidents of the authors' script, one by one; that the clean generator has none of them; and the views."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_eg3d import TINY64, tiny64
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual, TurningGenerator

from guide_lib import experiment
from guide_lib.__main__ import main
from guide_lib.errors import GuideError
from guide_lib.generators import View, as_released, cameras
from guide_lib.generators.eg3d import EG3D
from guide_lib.generators.released import ReleasedEG3D
from guide_lib.generators.volume import Sampling
from guide_lib.losses import adjacency_offsets, preservation_loss
from guide_lib.metrics.identity import evaluate
from guide_lib.session import session as sessions
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn

NETWORKS = {"perceptual": TinyPerceptual(), "embedder": TinyEmbedder()}


def small() -> EG3D:
    """16 px, as the tiny embedder expects."""
    config = replace(TINY64, z_dim=6, w_dim=6, plane_size=8, plane_channels=4, channel_base=64, channel_max=8)
    config = replace(config, render_size=4, enlarge_from=4, sampling=Sampling(coarse=4, fine=4))
    generator = EG3D.random(config, torch.Generator().manual_seed(1))
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.2)
    return generator


def two_steps(generator: EG3D) -> list:
    w_u = generator.sample(1, torch.Generator().manual_seed(3))
    return list(unlearn(generator, w_u, ufo_target(w_u, generator.w_avg), UnlearningSettings(steps=2), **NETWORKS))


def test_its_cameras_look_at_the_origin():
    view = View(12, 7)
    pose, k = as_released(tiny64()).camera(view)
    assert torch.equal(pose[0], cameras.look_at(12, 7, 2.7, (0, 0, 0)))
    assert not torch.allclose(pose, tiny64().camera(view)[0], atol=1e-3)
    assert torch.equal(k, tiny64().camera(view)[1])


def test_every_pass_draws_afresh_so_two_equal_generators_differ(rng):
    clean, teacher = small(), as_released(small())
    ws, view = clean.sample(2, rng), View(5, 7, jitter=3)
    for generator, equal in ((clean, True), (teacher, False)):
        loss = preservation_loss(generator.student(), generator, ws, view, TinyPerceptual()).item()
        assert (loss == 0) is equal
    first, second = (teacher.picture(ws, view) for _ in range(2))
    assert not torch.equal(first, second)


def test_the_planes_of_the_loss_are_not_those_of_the_picture(rng, monkeypatch):
    """Two passes of the backbone for a synthesis, one for a picture alone: 8 for the 5 latents of a step, not 5."""
    for generator, expected in ((small(), 5), (as_released(small()), 8)):
        seen = []
        original = type(generator).planes

        def counted(self, ws, *noise, original=original, seen=seen):
            seen.append(ws.shape[0])
            return original(self, ws, *noise)

        monkeypatch.setattr(type(generator), "planes", counted)
        two_steps(generator)
        assert sum(seen) == 2 * 2 * expected  # two networks, two steps
        monkeypatch.undo()
    one = as_released(small())
    ws = one.sample(1, rng)
    rendering = one.synthesis(ws, View())
    features, _ = one.render(rendering.features, *one.camera(View()))
    assert not torch.allclose(one.superresolution(features, ws), rendering.image, atol=1e-3)


def test_latents_near_the_person_are_in_double_precision(monkeypatch):
    for generator, expected in ((small(), torch.float32), (as_released(small()), torch.float64)):
        seen = set()
        original = adjacency_offsets

        def watched(w_u, neighbours, alpha, seen=seen, original=original):
            delta = original(w_u, neighbours, alpha)
            seen.add((w_u + delta).dtype)
            return delta

        monkeypatch.setattr("guide_lib.unlearning.objective.adjacency_offsets", watched)
        steps = two_steps(generator)
        assert seen == {expected}
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in steps[-1].student.parameters())


def test_a_released_run_can_be_repeated_and_trains_the_same_parameters():
    teacher = as_released(small())
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    runs = [two_steps(teacher)[-1] for _ in range(2)]
    assert runs[0].losses == runs[1].losses
    for name, tensor in runs[0].student.state_dict().items():
        assert torch.equal(tensor, before[name]) is (name not in teacher.trainable_parameters()), name
    assert isinstance(runs[0].student, ReleasedEG3D)


def test_only_eg3d_has_such_a_script():
    with pytest.raises(GuideError, match="The authors' script is about EG3D; leave --quirks out"):
        as_released(TinyGenerator())


def test_apples_gpu_is_refused_in_one_sentence(monkeypatch):
    generator = small()
    monkeypatch.setattr(EG3D, "w_avg", SimpleNamespace(device=torch.device("mps")))
    with pytest.raises(GuideError, match="has no double precision, .*; choose --device cpu"):
        as_released(generator)


@pytest.mark.parametrize("quirks", [[], ["--quirks"]])
def test_the_command_line_runs_either_mode(quirks, tmp_path, monkeypatch):
    networks, seen = experiment.Networks(small(), *NETWORKS.values(), TinyEmbedder(seed=8)), []
    monkeypatch.setattr(sessions, "load_networks", lambda *_: networks)
    original = sessions.Session.run
    monkeypatch.setattr(sessions.Session, "run", lambda given, *rest: seen.append(given) or original(given, *rest))
    options = ["--person", "3", "--generator", "eg3d-ffhq-512", "--preset", "paper", "--steps", "1"]
    assert main(["unlearn", *options, *quirks, "--out", str(tmp_path)]) == 0
    assert isinstance(seen[0].generator, ReleasedEG3D) is bool(quirks)
    assert '"undetected": 0' in (tmp_path / "metrics.json").read_text()


def test_eg3d_is_compared_by_vgg_and_flat_generators_by_alexnet(monkeypatch):
    nets = []
    monkeypatch.setattr(experiment, "load_lpips", lambda net, device: nets.append(net))
    for generator in (small(), TinyGenerator()):
        monkeypatch.setattr(experiment, "load_generator", lambda *_, generator=generator: generator)
        for loader in ("load_embedder", "load_judge"):
            monkeypatch.setattr(experiment, loader, lambda *_, **__: None)
        experiment.load_networks()
    assert nets == ["vgg", "alex"]


# --- the mean over views ---


def test_identity_is_judged_from_eleven_yaws_and_flat_generators_from_the_front():
    views = tiny64().judging_views()
    assert [view.yaw for view in views] == [-15, -12, -9, -6, -3, 0, 3, 6, 9, 12, 15]
    assert {(round(view.pitch, 2), view.jitter) for view in views} == {(7.31, None)}
    assert TinyGenerator().judging_views() == [View()]


def test_id_is_the_mean_over_the_views_and_the_others_are_seen_from_the_front():
    class Turned(TurningGenerator):
        """The same turn adds light; a judge that looks at single pixels sees each view differently."""

    generator, student, judge = Turned(), Turned(seed=1), TinyEmbedder(seed=8)
    ws = generator.sample(4, torch.Generator().manual_seed(2))
    views = [View(float(yaw)) for yaw in (-15, 0, 9)]
    report = evaluate(student, generator, ws[:1], ws[1:], judge, TinyPerceptual(), views)

    def cosine(w: torch.Tensor, view: View) -> float:
        a, b = (judge.embed(g.synthesis(w, view).image)[0] for g in (generator, student))
        return (a @ b).item()

    each = [cosine(ws[:1], view) for view in views]
    assert max(each) - min(each) > 0.01
    assert report.id == pytest.approx(sum(each) / 3, abs=1e-5)
    assert report.retention == pytest.approx(sum(cosine(w, View()) for w in ws[1:].split(1)) / 3, abs=1e-5)
