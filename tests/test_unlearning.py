import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pretend import Pretend
from tiny import TinyEmbedder, TinyGenerator, TinyPerceptual, TurningGenerator

from guide_lib.checkpoint import load_tensors, networks_digest, save_tensors
from guide_lib.errors import GuideError
from guide_lib.generators import Rendering
from guide_lib.losses import (
    Distance,
    DistanceWeights,
    adjacency_loss,
    adjacency_offsets,
    local_loss,
    observe_teacher,
    preservation_loss,
)
from guide_lib.runtime import step_rng
from guide_lib.targets import ufo_target
from guide_lib.unlearning import Step, UnlearningSettings, loop, objective, unlearn
from guide_lib.unlearning.objective import fits_one_pass

NETWORKS = dict(perceptual=TinyPerceptual(), embedder=TinyEmbedder())
SETTINGS = UnlearningSettings(steps=30, learning_rate=3e-3)


def person(generator: TinyGenerator, seed: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    w_u = generator.sample(1, torch.Generator().manual_seed(seed))
    return w_u, ufo_target(w_u, generator.w_avg, d=6.0)


def run(generator: TinyGenerator, settings: UnlearningSettings = SETTINGS, **options):
    return list(unlearn(generator, *person(generator), settings, **NETWORKS, **options))


def weights(step) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in step.student.trainable_parameters().items()}


def assert_same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_the_person_moves_to_the_target():
    generator = TinyGenerator()
    w_u, w_t = person(generator)
    student = run(generator, replace(SETTINGS, steps=300))[-1].student
    target, source = generator.synthesis(w_t).image, generator.synthesis(w_u).image
    assert (student.synthesis(w_u).image - target).norm() < 0.25 * (source - target).norm()


def test_the_global_loss_protects_the_others():
    generator, settings = TinyGenerator(), replace(SETTINGS, steps=200, n_global=8)
    student = run(generator, settings)[-1].student
    careless = run(generator, replace(settings, weight_global=0.0))[-1].student
    others = generator.sample(64, torch.Generator().manual_seed(99))
    before = generator.synthesis(others).image
    moved, moved_carelessly = ((s.synthesis(others).image - before).norm() for s in (student, careless))
    assert moved < 0.7 * moved_carelessly


def test_the_teacher_and_the_frozen_parts_never_change():
    generator = TinyGenerator()
    before = {name: t.clone() for name, t in generator.state_dict().items()}
    student = run(generator)[-1].student
    assert all(torch.equal(t, before[name]) for name, t in generator.state_dict().items())
    changed = {name for name, t in student.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"backbone.weight", "backbone.bias"} == set(student.trainable_parameters())


@pytest.mark.parametrize("kind", [TinyGenerator, TurningGenerator])
def test_one_step_has_the_gradient_of_the_plain_sum_of_the_three_losses(kind):
    """Adam's first step hides the gradient's size, so compare the losses and gradients of step 3 with a plain loop."""
    generator = kind()
    w_u, w_t = person(generator)
    *_, second, third = islice(unlearn(generator, w_u, w_t, SETTINGS, **NETWORKS), 3)
    gradients = {name: p.grad.clone() for name, p in third.student.trainable_parameters().items()}
    student = run(generator, replace(SETTINGS, steps=2))[-1].student
    rng, distance = step_rng(SETTINGS.seed, 3), Distance(**NETWORKS)
    view = generator.sample_views(1, rng)[0]
    neighbours, others = generator.sample(2, rng), generator.sample(2, rng)
    alpha = 15 * torch.rand(2, generator=rng)
    delta = adjacency_offsets(w_u, neighbours, alpha)
    parts = {
        "local": local_loss(student, w_u, observe_teacher(generator, w_t, view, distance), view, distance),
        "adjacency": adjacency_loss(student, generator, w_u, w_t, delta, view, distance),
        "global": preservation_loss(student, generator, others, view, NETWORKS["perceptual"]),
    }
    student.zero_grad()
    sum(parts.values()).backward()
    for name, value in parts.items():
        assert value.item() > 1e-4
        assert third.losses[name] == pytest.approx(value.item(), rel=1e-5)
    assert third.losses["total"] == pytest.approx(sum(parts.values()).item(), rel=1e-5)
    for name, p in student.trainable_parameters().items():
        torch.testing.assert_close(gradients[name], p.grad, rtol=1e-4, atol=1e-6)
    assert second.index == 2


@pytest.mark.parametrize("switch", ["weight_local", "weight_adjacency", "weight_global"])
def test_a_weight_scales_its_own_loss_only(switch):
    generator, name = TinyGenerator(), switch.removeprefix("weight_")
    full, without = run(generator)[0].losses, run(generator, replace(SETTINGS, **{switch: 0.0}))[0].losses
    assert without[name] == 0.0
    for other in {"local", "adjacency", "global"} - {name}:
        assert without[other] == full[other], "switching a loss off must not change another one's random draws"


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    first, second = weights(run(TinyGenerator())[-1]), weights(run(TinyGenerator())[-1])
    assert_same_bits(first, second)
    other = weights(run(TinyGenerator(), replace(SETTINGS, seed=1))[-1])
    assert not torch.equal(first["backbone.weight"], other["backbone.weight"])


def test_stopping_and_resuming_gives_the_same_bits(tmp_path):
    generator, path = TinyGenerator(), tmp_path / "run" / "checkpoint.safetensors"
    whole = run(generator)
    w_u, w_t = person(generator)
    steps = unlearn(generator, w_u, w_t, SETTINGS, **NETWORKS, checkpoint=path, checkpoint_seconds=0)
    for step in steps:
        if step.index == 13:
            break  # as a reader's stop button does: the state of step 13 is kept, not of step 12
    steps.close()
    resumed = run(generator, checkpoint=path)
    assert resumed[0].index == 13
    assert [s.index for s in resumed[1:]] == list(range(14, 31))
    assert_same_bits(weights(whole[-1]), weights(resumed[-1]))
    assert resumed[-1].losses == whole[-1].losses
    again = run(generator, checkpoint=path)
    assert len(again) == 1
    assert_same_bits(weights(whole[-1]), weights(again[-1]))


CHILD = """
import sys
sys.path[:0] = {path!r}
from test_unlearning import *
generator = TinyGenerator()
steps = unlearn(generator, *person(generator), replace(SETTINGS, steps=4000), **NETWORKS,
                checkpoint=Path(sys.argv[1]), checkpoint_seconds=0)
for step in steps:
    print(step.index, flush=True)
"""


def test_sigkill_at_a_random_moment_loses_nothing_that_was_saved(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    here = Path(__file__).parent
    child = CHILD.format(path=[str(here), str(here / "device"), str(here.parent)])
    process = subprocess.Popen([sys.executable, "-c", child, str(path)], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) > 20:
            break
    time.sleep(0.05 + 0.2 * (os.getpid() % 10) / 10)
    process.send_signal(signal.SIGKILL)
    process.wait()
    generator = TinyGenerator()
    w_u, w_t = person(generator)
    settings = replace(SETTINGS, steps=4000)
    resumed = unlearn(generator, w_u, w_t, settings, **NETWORKS, checkpoint=path)
    start = next(resumed)
    assert start.index >= 20
    resumed = next(s for s in resumed if s.index == start.index + 9)
    straight = next(s for s in unlearn(generator, w_u, w_t, settings, **NETWORKS) if s.index == resumed.index)
    assert_same_bits(weights(resumed), weights(straight))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_weights(tmp_path):
    generator, path = TinyGenerator(), tmp_path / "checkpoint.safetensors"
    networks = dict(NETWORKS, embedder=TinyEmbedder())
    steps = unlearn(generator, *person(generator), SETTINGS, **networks, checkpoint=path)
    for step in steps:
        good = weights(step)
        if step.index == 7:
            networks["embedder"].projection.fill_(float("nan"))
            break
    with pytest.raises(GuideError, match=r"became nan at step 8; try a smaller learning rate than 0.003"):
        next(steps)
    kept = next(unlearn(generator, *person(generator), SETTINGS, **NETWORKS, checkpoint=path))
    assert kept.index == 7
    assert_same_bits(weights(kept), good)


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path):
    generator, path = TinyGenerator(), tmp_path / "checkpoint.safetensors"
    run(generator, checkpoint=path)
    with pytest.raises(GuideError, match="belongs to another run"):
        run(generator, replace(SETTINGS, seed=1), checkpoint=path)
    for change in ({"embedder": TinyEmbedder(seed=2)}, {"perceptual": type("Another", (TinyPerceptual,), {})()}):
        with pytest.raises(GuideError, match="belongs to another run"):
            next(unlearn(generator, *person(generator), SETTINGS, **NETWORKS | change, checkpoint=path))
    with pytest.raises(GuideError, match="belongs to another run"):
        run(TurningGenerator(), checkpoint=path)  # the same weights under another mode of drawing
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(GuideError, match="is damaged .* delete it to start the run afresh"):
        run(generator, checkpoint=path)


def elsewhere(code: torch.Tensor) -> torch.Tensor:
    """The same latent from another device: other last digits."""
    return code * (1 + 1e-6)


def begun(path: Path, settings: UnlearningSettings, steps: int = 7) -> TinyGenerator:
    """The first steps of a run, interrupted."""
    generator = TinyGenerator()
    run = unlearn(generator, *person(generator), settings, **NETWORKS, checkpoint=path)
    assert [step.index for step in islice(run, steps)][-1] == steps
    run.close()
    return generator


@pytest.mark.parametrize("precisions", [(True, False), (False, True), (True, True)])
def test_a_run_goes_on_elsewhere_with_the_latents_and_the_precision_it_was_begun_with(precisions, tmp_path):
    """An interrupted run on another machine ends with the bits of one that was never interrupted."""
    first, second = (replace(SETTINGS, mixed_precision=mixed) for mixed in precisions)
    whole = run(TinyGenerator(), first)[-1]
    generator = begun(tmp_path / "c", first)
    w_u, w_t = map(elsewhere, person(generator))
    *_, last = unlearn(generator, w_u, w_t, second, **NETWORKS, checkpoint=tmp_path / "c")
    assert_same_bits(weights(last), weights(whole))
    assert last.losses == whole.losses


@pytest.mark.parametrize(
    "change", [{"w_u": 1.01}, {"w_t": 0.99}, {"steps": 31}, {"seed": 1}, {"distance": DistanceWeights(features=0.02)}]
)
def test_another_person_or_setting_is_another_run(change, tmp_path):
    generator = begun(tmp_path / "c", SETTINGS)
    w_u, w_t = (w * change.get(name, 1) for name, w in zip(("w_u", "w_t"), person(generator), strict=True))
    settings = replace(SETTINGS, **{name: value for name, value in change.items() if not name.startswith("w_")})
    before = (tmp_path / "c").read_bytes()
    with pytest.raises(GuideError, match="belongs to another run"):
        next(unlearn(generator, w_u, w_t, settings, **NETWORKS, checkpoint=tmp_path / "c"))
    assert (tmp_path / "c").read_bytes() == before


def test_a_checkpoint_from_before_the_run_was_kept_in_it_is_resumed(tmp_path):
    """It holds a digest instead: the same settings and latents to the last bit."""
    generator, path = begun(tmp_path / "c", SETTINGS), tmp_path / "c"
    tensors, metadata = load_tensors(path)
    w_u, w_t = person(generator)
    facts = json.dumps(asdict(SETTINGS), sort_keys=True) + networks_digest(generator, *NETWORKS.values())
    digest = hashlib.sha256(facts.encode() + w_u.numpy().tobytes() + w_t.numpy().tobytes()).hexdigest()
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("latent/")}
    old = {"fingerprint": digest, "step": metadata["step"], "losses": metadata["losses"]}
    save_tensors(path, kept, old)
    assert next(unlearn(generator, w_u, w_t, SETTINGS, **NETWORKS, checkpoint=path)).index == 7
    for codes in ((elsewhere(w_u), w_t), (w_u, elsewhere(w_t))):
        with pytest.raises(GuideError, match="belongs to another run"):
            next(unlearn(generator, *codes, SETTINGS, **NETWORKS, checkpoint=path))
    *_, last = unlearn(generator, w_u, w_t, SETTINGS, **NETWORKS, checkpoint=path)
    assert_same_bits(weights(last), weights(run(TinyGenerator())[-1]))


def test_a_setting_that_is_newer_than_the_checkpoint_has_its_default(tmp_path):
    generator, path = begun(tmp_path / "c", SETTINGS), tmp_path / "c"
    tensors, metadata = load_tensors(path)
    settings = json.loads(metadata["settings"])
    del settings["walk"]
    save_tensors(path, tensors, metadata | {"settings": json.dumps(settings)})
    assert next(unlearn(generator, *person(generator), SETTINGS, **NETWORKS, checkpoint=path)).index == 7


@pytest.mark.parametrize("one_pass", [False, True])
def test_what_a_generator_draws_next_does_not_change_the_target(one_pass):
    """As compiled code does, this generator writes each picture's features over those of the one before."""

    class Reusing(TinyGenerator):
        def synthesis(self, ws, view=None):
            rendering = super().synthesis(ws, view)
            if rendering.features.requires_grad:
                return rendering
            self.memory = getattr(self, "memory", {})
            kept = self.memory.setdefault(len(ws), torch.empty_like(rendering.features))
            return Rendering(rendering.image, kept.copy_(rendering.features))

    options = {"settings": replace(SETTINGS, n_global=1, n_adjacent=1), "one_pass": one_pass}
    assert run(Reusing(), **options)[-1].losses == run(TinyGenerator(), **options)[-1].losses


def test_one_pass_is_for_gpus_with_enough_memory(monkeypatch):
    generator = TinyGenerator()
    assert not fits_one_pass(generator, SETTINGS)
    monkeypatch.setattr(objective, "device_memory", lambda device: 16 << 30)
    assert fits_one_pass(generator, SETTINGS)
    monkeypatch.setattr(TinyGenerator, "resolution", 1024)
    assert not fits_one_pass(generator, replace(SETTINGS, n_global=60))
    monkeypatch.setattr(TinyGenerator, "drawn_at_once", 1)
    assert not fits_one_pass(generator, SETTINGS)


def on_an_old_card(generator: TinyGenerator, settings: UnlearningSettings, **options):
    """The run's steps on a card that emulates bfloat16; inside of its `Pretend`."""
    there = copy.deepcopy(generator).to("cuda")
    networks = {name: copy.deepcopy(network).to("cuda") for name, network in NETWORKS.items()}
    return unlearn(there, *person(there), settings, **networks, **options)


def test_a_gpu_that_emulates_bfloat16_computes_in_float16_with_scaled_gradients(monkeypatch):
    """Adam sees the gradients of single precision, though on the way back they were a thousand times as large."""
    seen, factors, settings = {}, [], replace(SETTINGS, steps=2)
    real_step, real_scale = torch.optim.Adam.step, torch.amp.GradScaler.scale

    def step(self, closure=None):
        seen[mixed] = torch.cat([p.grad.cpu().flatten() for group in self.param_groups for p in group["params"]])
        return real_step(self, closure)

    def scale(self, loss):
        large = real_scale(self, loss)
        factors.append((large / loss).item())
        return large

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    monkeypatch.setattr(torch.amp.GradScaler, "scale", scale)
    with Pretend("cuda", bfloat16=False):
        for mixed in (False, True):
            *_, last = on_an_old_card(TinyGenerator(), replace(settings, mixed_precision=mixed))
    assert factors == [1.0, 1.0, 1024.0, 1024.0] and last.index == 2
    assert 0 < (seen[True] - seen[False]).norm() < 0.01 * seen[False].norm()


def test_a_step_whose_gradients_overflow_is_left_out_and_the_next_are_scaled_less():
    generator, before = TinyGenerator(), weights(Step(0, 0, {}, 0.0, TinyGenerator()))
    with Pretend("cuda", bfloat16=False):
        steps = on_an_old_card(generator, replace(SETTINGS, mixed_precision=True, weight_global=1e36))
        first = {name: p.cpu() for name, p in weights(next(steps)).items()}
        steps.close()
    assert_same_bits(first, before)


def test_a_run_begun_in_bfloat16_goes_on_in_float16_where_that_is_what_the_gpu_has(tmp_path):
    generator = begun(tmp_path / "c", replace(SETTINGS, mixed_precision=True))
    with Pretend("cuda", bfloat16=False):
        found = on_an_old_card(generator, SETTINGS, checkpoint=tmp_path / "c")
        assert [next(found).index, next(found).index] == [7, 8]
        found.close()


def test_the_state_is_written_by_the_clock_and_at_the_end(tmp_path, monkeypatch):
    """Ten seconds a step."""
    generator, path, clock, written = TinyGenerator(), tmp_path / "c", [0.0], []
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0], perf_counter=time.perf_counter))
    steps = unlearn(generator, *person(generator), replace(SETTINGS, steps=8), **NETWORKS, checkpoint=path)
    for step in steps:
        written.append(int(load_tensors(path)[1]["step"]) if path.exists() else 0)
        clock[0] += 10
        if step.index == 5:
            clock[0] += 1000  # a laptop slept
    assert written == [0, 0, 0, 4, 4, 6, 6, 6]
    assert load_tensors(path)[1]["step"] == "8"


def test_the_rate_is_constant_as_published_or_falls_to_zero_along_a_cosine():
    assert {UnlearningSettings.paper().rate(k) for k in (1, 500, 1000)} == {1e-4}
    settings = UnlearningSettings(steps=10, learning_rate=2.0, decay=True)
    rates = [settings.rate(k) for k in range(1, 11)]
    assert rates[0] == 2.0
    assert rates[5] == pytest.approx(1.0)
    assert rates == sorted(rates, reverse=True) and 0 < rates[-1] < 0.06
    generator = TinyGenerator()
    slow, fast = (run(generator, replace(SETTINGS, decay=decay))[-1] for decay in (True, False))
    assert not torch.equal(weights(slow)["backbone.weight"], weights(fast)["backbone.weight"])


def test_the_rate_decays_once_the_target_has_arrived():
    settings = UnlearningSettings(steps=10, learning_rate=2.0, decay=True, walk=0.6)
    assert [settings.rate(k) for k in range(1, 8)] == [2.0] * 7
    assert settings.rate(9) == pytest.approx(1.0)


def test_the_target_walks_in_a_straight_line_and_then_stays():
    settings = replace(SETTINGS, walk=0.5)
    assert [settings.position(k) for k in (3, 6, 15, 30)] == [0.2, 0.4, 1.0, 1.0]
    assert {SETTINGS.position(k) for k in range(1, 31)} == {1.0}
    generator = TinyGenerator()
    w_u, w_t = person(generator)
    *_, sixth = islice(unlearn(generator, w_u, w_t, settings, **NETWORKS), 6)
    student = run(generator, replace(settings, steps=5, walk=3.0))[-1].student  # the same first five steps
    distance, view = Distance(**NETWORKS), generator.sample_views(1, step_rng(0, 6))[0]
    target = observe_teacher(generator, w_u + 0.4 * (w_t - w_u), view, distance)
    assert sixth.losses["local"] == pytest.approx(local_loss(student, w_u, target, view, distance).item(), rel=1e-4)


def test_style_layers_learn_at_their_own_rate():
    """In the tiny generator "backbone.bias" stands for them; Adam's first step has the size of its rate."""
    generator = TinyGenerator()
    before = {name: p.detach().clone() for name, p in generator.trainable_parameters().items()}
    first = next(unlearn(generator, *person(generator), replace(SETTINGS, style_rate=10.0), **NETWORKS))
    moved = {name: (p - before[name]).abs().max().item() for name, p in weights(first).items()}
    assert moved["backbone.weight"] == pytest.approx(SETTINGS.learning_rate, rel=0.01)
    assert moved["backbone.bias"] == pytest.approx(10 * SETTINGS.learning_rate, rel=0.01)


@pytest.mark.parametrize(
    "change", [{"steps": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"seed": -1}, {"seed": 2**40}]
)
def test_settings_that_no_run_can_have(change):
    with pytest.raises(GuideError, match="A run takes|The learning rate is|The seed is"):
        replace(SETTINGS, **change)


def test_presets_carry_the_published_numbers():
    paper = UnlearningSettings.paper()
    assert (paper.steps, paper.learning_rate, paper.alpha_max) == (1000, 1e-4, 15)
    assert (paper.n_adjacent, paper.n_global) == (2, 2)
    assert (paper.style_rate, paper.walk, paper.decay) == (1.0, 0.0, False)
    assert (paper.weight_local, paper.weight_adjacency, paper.weight_global) == (1, 1, 1)
    assert (paper.distance.features, paper.distance.perceptual, paper.distance.identity) == (0.01, 1.0, 0.1)
    assert UnlearningSettings.fast(seed=3).seed == 3
    assert UnlearningSettings.fast().steps < paper.steps
    styles = UnlearningSettings.styles(seed=3)
    assert (styles.trained, styles.seed) == ("styles", 3) and styles.steps < UnlearningSettings.fast().steps
    assert UnlearningSettings.fast().trained == paper.trained == "weights"


def test_few_latents_at_once_give_the_same_run(monkeypatch):
    whole = run(TinyGenerator())
    monkeypatch.setattr(TinyGenerator, "drawn_at_once", 1)
    parts = run(TinyGenerator())
    assert parts[0].losses == pytest.approx(whole[0].losses, rel=1e-5)
    assert parts[-1].losses == pytest.approx(whole[-1].losses, rel=1e-2)
