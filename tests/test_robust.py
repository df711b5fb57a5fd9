from dataclasses import replace
from itertools import islice

import pytest
import torch
from tiny import GreyEncoder, TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.attacks import Attacker
from guide_lib.closed_form import erase, forgetful
from guide_lib.errors import GuideError
from guide_lib.inversion import InversionSettings
from guide_lib.inversion.methods import encoded
from guide_lib.metrics.identity import render
from guide_lib.robust import RobustSettings, forget_for_good
from guide_lib.unlearning import UnlearningSettings, unlearn

NETWORKS = dict(perceptual=TinyPerceptual(), embedder=TinyEmbedder())
SETTINGS = RobustSettings(
    rounds=2,
    attacker=Attacker(starts=2, settings=InversionSettings(30, 0, learning_rate=0.2)),
    training=UnlearningSettings(steps=12, learning_rate=3e-3),
    pursuit=0,
)


class Case:
    """A person erased in closed form from a tiny generator, whom a search may find."""

    def __init__(self, seed: int = 11) -> None:
        self.generator = TinyGenerator()
        self.w_u = self.generator.sample(1, torch.Generator().manual_seed(seed))
        self.w_t = self.generator.w_avg.clone()
        self.photo = render(self.generator, self.w_u)
        metric = torch.eye(self.generator.w_dim, dtype=torch.float64)
        self.start = forgetful(self.generator, [erase(self.w_u, self.w_t, self.generator.w_avg, metric)])

    def steps(self, settings: RobustSettings = SETTINGS, **options):
        known = (self.generator, self.w_u, self.w_t, self.photo, settings)
        return forget_for_good(*known, **NETWORKS, **{"start": self.start} | options)

    def off(self, student, codes: torch.Tensor) -> float:
        """How far what the codes draw is from the target's picture."""
        target = render(self.generator, self.w_t)
        return (render(student, codes) - target).square().mean().item()


def weights(student) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in student.trainable_parameters().items()}


def assert_same(a, b) -> None:
    for name, tensor in weights(a).items():
        assert torch.equal(tensor, weights(b)[name]), name


def test_what_was_found_is_drawn_as_the_target_afterwards():
    case = Case()
    training = UnlearningSettings(steps=150, learning_rate=1e-2, weight_adjacency=0.0)
    steps = list(case.steps(replace(SETTINGS, training=training)))
    assert [(s.round, s.index) for s in steps if s.kind == "search"] == [(1, 1), (2, 1)]
    assert [len(s.codes) for s in steps if s.kind == "search"] == [3, 5]
    assert sum(s.kind == "training" for s in steps) == 300
    last = steps[-1]
    assert torch.equal(last.codes[:1], case.w_u)
    found = last.codes[1:]
    alone = [*unlearn(case.generator, case.w_u, case.w_t, training, start=case.start, **NETWORKS)][-1].student
    assert case.off(last.student, found) < 0.9 * min(case.off(alone, found), case.off(case.start, found))


def test_a_round_searches_the_student_of_the_round_before_with_other_starts():
    case = Case()
    steps = list(case.steps())
    first, second = (s for s in steps if s.kind == "search")
    assert first.student is case.start
    assert second.student is steps[12].student
    assert not torch.allclose(second.codes[4], first.codes[2])
    assert SETTINGS.attacker_of(1).seed != SETTINGS.attacker_of(2).seed


@pytest.mark.parametrize("space", ["W", "W+"])
def test_a_pursued_code_goes_on_from_where_the_training_left_it(space):
    case, steps = Case(), (30, 0) if space == "W" else (0, 30)
    attacker = Attacker(starts=2, settings=InversionSettings(*steps, learning_rate=0.2))
    settings = replace(SETTINGS, rounds=3, attacker=attacker, pursuit=4)
    first, second, third = (step.codes for step in case.steps(settings) if step.kind == "search")
    assert len(first) == len(second) == len(third) == 3 and torch.equal(second[:1], case.w_u)
    for before, after in ((first, second), (second, third)):
        moved, anew = (after[1:] - before[1:]).abs().max(), (after[1:] - case.generator.w_avg).abs().max()
        assert 0 < moved <= 4 * 0.2 and moved < anew
        one_row = torch.equal(after[:, :1].expand_as(after), after)
        assert one_row == (space == "W")


def test_once_begins_every_round_anew():
    case = Case()
    before = weights(case.start)
    steps = list(case.steps(replace(SETTINGS, once=True)))
    assert sum(s.kind == "training" and s.round == 2 for s in steps) == 24
    for name, tensor in weights(case.start).items():
        assert torch.equal(tensor, before[name]), "the start itself stays"
    other = list(case.steps())
    assert not all(
        torch.equal(a, b)
        for a, b in zip(weights(steps[-1].student).values(), weights(other[-1].student).values(), strict=True)
    )


@pytest.mark.parametrize("pursuit", [0, 3])
@pytest.mark.parametrize("stop", [1, 5, 13, 14, 20])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path, stop, pursuit):
    case, settings = Case(), replace(SETTINGS, pursuit=pursuit)
    whole = list(case.steps(settings))[-1]
    begun = case.steps(settings, folder=tmp_path)
    assert len(list(islice(begun, stop))) == stop
    begun.close()
    rest = list(case.steps(settings, folder=tmp_path))
    assert torch.equal(rest[-1].codes, whole.codes)
    assert_same(rest[-1].student, whole.student)


def test_the_folder_of_another_run_is_refused(tmp_path):
    next(Case().steps(folder=tmp_path))
    with pytest.raises(GuideError, match="found-1.safetensors belongs to another run"):
        next(Case(seed=12).steps(folder=tmp_path))


def test_an_attacker_may_start_at_an_encoders_answer():
    case = Case()
    attacker = Attacker("encoder", starts=1, settings=InversionSettings(1, 0, learning_rate=1e-6))
    settings = replace(SETTINGS, attacker=attacker)
    with pytest.raises(GuideError, match="needs an encoder"):
        next(case.steps(settings))
    encoder = GreyEncoder(case.generator.w_avg)
    first = next(case.steps(settings, encoder=encoder))
    answer = encoded(encoder, case.generator, case.photo)[0]
    assert torch.allclose(first.codes[1:], answer.mean(1, keepdim=True).expand_as(answer), atol=1e-4)


def test_without_a_start_the_untouched_generator_is_searched():
    case = Case()
    first = next(case.steps(start=None))
    assert_same(first.student, case.generator)
    assert case.off(first.student, case.w_u) > 0
