"""Relearning by every tuner, from an equal start, from other people; and layers mixed with a stranger's."""

from dataclasses import replace

import pytest
import torch
from test_attacks import JUDGE, LPIPS, TUNING, Bent, Blind
from tiny import TinyEmbedder, TinyGenerator

from guide_lib.attacks import from_equal_start, lessons_of, mixing_curve, relearn, relearn_beside
from guide_lib.errors import GuideError
from guide_lib.inversion.pivotal import pivotal_tuning
from guide_lib.targets import scale_to_rows, ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn

KNOWN = {"perceptual": LPIPS, "judge": JUDGE, "threshold": 0.9}


@pytest.fixture(scope="module")
def case():
    """generator, student, w_u, w_t, photo."""
    generator = TinyGenerator()
    w_u = generator.sample(1, torch.Generator().manual_seed(11))
    w_t, settings = ufo_target(w_u, generator.w_avg, d=6.0), UnlearningSettings(steps=150, learning_rate=3e-3)
    *_, last = unlearn(generator, w_u, w_t, settings, perceptual=LPIPS, embedder=TinyEmbedder())
    return generator, last.student, w_u, w_t, generator.picture(w_u)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd", "learning_rate": 0.3}, {"trained": "lora"}])
def test_every_tuner_brings_the_person_back_and_none_moves_without_a_rate(case, changes):
    _, student, w_u, _, photo = case
    settings = replace(TUNING, **changes)
    found = relearn(student, w_u, photo, settings=settings, **KNOWN)
    assert found.curve[0][1] < 0.5 and found.steps and found.curve[-1][1] >= 0.9
    still = relearn(student, w_u, photo, settings=replace(settings, steps=10, learning_rate=0.0), **KNOWN)
    assert still.steps is None and still.curve[-1][1] == pytest.approx(still.curve[0][1], abs=1e-5)


def test_tuners_differ_in_what_they_move(case):
    generator, _, w_u, _, _ = case
    photo = TinyGenerator(seed=5).picture(w_u)
    moved = {}
    for trained in ("weights", "styles", "lora"):
        settings = replace(TUNING, steps=3, trained=trained)
        *_, step = pivotal_tuning(generator, w_u, photo, settings, perceptual=LPIPS)
        before, after = generator.trainable_parameters(), step.student.trainable_parameters()
        moved[trained] = {name for name in before if not torch.equal(before[name], after[name])}
    weight, bias = "backbone.weight", "backbone.bias"
    assert moved == {"weights": {weight, bias}, "styles": {bias}, "lora": {weight}}
    with pytest.raises(GuideError, match="There is no optimiser 'newton'; choose one of: adam, sgd"):
        next(pivotal_tuning(generator, w_u, photo, replace(TUNING, optimizer="newton"), perceptual=LPIPS))


def test_sgd_moves_along_the_gradient_with_momentum(case):
    """The first step of SGD is the rate times the gradient, as finite differences give it."""
    generator, _, w_u, _, _ = case
    photo, rate = TinyGenerator(seed=5).picture(w_u), 1e-3
    settings = replace(TUNING, steps=1, optimizer="sgd", learning_rate=rate)
    (step,) = pivotal_tuning(generator, w_u, photo, settings, perceptual=LPIPS)
    moved = step.student.backbone.bias - generator.backbone.bias
    place, eps = int(moved.abs().argmax()), 1e-2

    def loss(shift: float) -> float:
        twin = generator.student()
        with torch.no_grad():
            twin.backbone.bias[place] += shift
            picture = twin.picture(w_u)
            return (LPIPS(picture, photo) + (picture - photo).square().mean()).item()

    slope = (loss(eps) - loss(-eps)) / (2 * eps)
    assert moved[place].item() == pytest.approx(-rate * slope, rel=2e-2)


def test_other_peoples_pictures_alone_can_bring_the_person_back_or_not(case):
    """All of the stand-in's people share one linear layer, so the old pictures of many teach it the person again."""
    generator, student, w_u, _, photo = case
    many = relearn(student, w_u, photo, settings=TUNING, lessons=lessons_of(generator, 24), stop=False, **KNOWN)
    assert many.curve[-1][1] > many.curve[0][1] + 0.3
    own = lessons_of(student, 24)  # what the student draws already teaches nothing
    none = relearn(student, w_u, photo, settings=replace(TUNING, steps=20), lessons=own, **KNOWN)
    assert none.curve[-1][1] == pytest.approx(none.curve[0][1], abs=0.05)


def test_a_curve_may_go_on_after_the_judge_accepts(case):
    _, student, w_u, _, photo = case
    stopped = relearn(student, w_u, photo, settings=TUNING, **KNOWN)
    whole = relearn(student, w_u, photo, settings=TUNING, stop=False, **KNOWN)
    assert whole.steps == stopped.steps and whole.curve[-1][0] == 200 > stopped.curve[-1][0]
    assert whole.curve[: len(stopped.curve)] == stopped.curve


def test_from_an_equal_start_the_longer_way_of_the_control_does_not_count():
    line = [(k, 0.02 * k - 0.5) for k in range(0, 60, 5)]  # the same straight line,
    student = [(k - 20, cosine) for k, cosine in line if k >= 20]  # which the student enters after 20 steps
    found = from_equal_start(student, line)
    assert found.entered == 0 and found.entered_control == 20 and found.steps == 35
    assert found.lead == pytest.approx(0) and found.gain == pytest.approx(0.02 * 35 / 2)
    steeper = [(k, 2 * (cosine + 0.1) - 0.1) for k, cosine in student]
    assert from_equal_start(steeper, line).lead == pytest.approx(0.02 * 35 / 2)
    assert from_equal_start(line, steeper).lead == pytest.approx(-0.02 * 35 / 2)  # whoever starts higher is the mark
    assert from_equal_start([(0, 0.9), (5, 0.95)], line) is None  # never reached
    assert from_equal_start([(0, 0.9)], [(0, 0.9), (5, 0.95)]) is None  # nothing follows


def test_relearning_has_its_control_beside_it(case):
    generator, student, w_u, w_t, photo = case
    both = relearn_beside(student, generator, w_u, w_t, photo, settings=TUNING, **KNOWN)
    assert both.student == replace(relearn(student, w_u, photo, settings=TUNING, **KNOWN), seconds=both.student.seconds)
    assert both.control.curve[0] == relearn(generator, w_t, photo, settings=replace(TUNING, steps=1), **KNOWN).curve[0]
    assert both.equal == from_equal_start(both.student.curve, both.control.curve)


def test_mixed_layers_leave_a_narrow_hole_and_not_a_wide_one(case):
    generator, _, w_u, _, _ = case
    untouched = list(mixing_curve(generator, generator, w_u, JUDGE, splits=[1, 2]))
    assert [(m.kept, m.rows) for m in untouched] == [("coarse", 1), ("fine", 2), ("coarse", 2), ("fine", 1)]
    assert all(m.student == pytest.approx(m.generator, abs=1e-6) and m.student_max >= m.student for m in untouched)
    narrow = list(mixing_curve(Bent(w_u, scale_to_rows(0.1, 3)), generator, w_u, JUDGE, splits=[2]))
    assert all(m.student == pytest.approx(m.generator, abs=1e-6) for m in narrow)
    wide = list(mixing_curve(Bent(w_u, 1e3), generator, w_u, JUDGE, splits=[2]))
    assert wide[0].student < wide[0].generator - 0.2
    assert all(m.student_max < 0.8 for m in mixing_curve(Blind(), generator, w_u, JUDGE))
    whole = next(mixing_curve(generator, generator, w_u, JUDGE, splits=[3]))
    assert whole.generator == pytest.approx(1, abs=1e-5)  # all rows are the person's
