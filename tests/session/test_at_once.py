"""People whom a session erases without training: by name, with several photos, before a training and after one."""

import pytest
import torch
from tiny import AnySize, TinyGenerator, TinyPerceptual

from guide_lib.closed_form import erase, forgetful, metric_of
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, Person, other_people, sample_person
from guide_lib.metrics import identity_similarity
from guide_lib.session import Session
from guide_lib.session import session as sessions
from guide_lib.targets import average_target
from guide_lib.unlearning import UnlearningSettings, unlearn
from guide_lib.widgets import ManyForgotten, forgotten

NETWORKS = Networks(TinyGenerator(), TinyPerceptual(), AnySize(), AnySize(seed=8))
GENERATOR = NETWORKS.generator
METRIC = metric_of(GENERATOR)
SETTINGS = UnlearningSettings(steps=3, learning_rate=3e-3)
NAMES = {"generator": "tiny", "embedder": "sface", "judge": "dlib", "quirks": False, "resolution": 16}


@pytest.fixture
def session(tmp_path):
    return Session(NETWORKS, tmp_path, NAMES)


def forget(session, seed, target="average"):
    session.choose(seed=seed)
    session.target(target)
    return session.erase_at_once()


def crowd():
    return torch.cat([sample_person(GENERATOR, seed) for seed in range(1, 9)])


def same(a, b, bound=1e-5):
    return bool((a.picture(crowd()) - b.picture(crowd())).abs().max() <= bound)


def alone(seeds):
    """Solved by hand for all of them at once, to the mean face."""
    w_u = torch.cat([sample_person(GENERATOR, seed) for seed in seeds])
    return forgetful(GENERATOR, [erase(w_u, average_target(w_u, GENERATOR.w_avg), GENERATOR.w_avg, METRIC)])


def test_everybody_is_solved_for_together_and_each_can_be_taken_back(session):
    for count, seed in enumerate((1, 2, 3), start=1):
        student = forget(session, seed)
        assert student is session.student and same(student, alone(range(1, count + 1)))
    assert same(session.undo("2"), alone((1, 3)))
    assert same(session.undo(), alone((1,)))  # the last one
    assert session.undo("1") is GENERATOR
    with pytest.raises(GuideError, match="Nobody was erased"):
        session.undo()


def test_by_default_the_target_is_the_natural_one(session):
    session.choose(seed=1)
    student, drawn = session.erase_at_once(), session.w_t
    w_t = session.target("natural")
    assert (student.picture(session.person.w_u) - GENERATOR.picture(drawn)).abs().max() < 1e-5
    by_hand = erase(session.person.w_u, w_t, GENERATOR.w_avg, METRIC)
    assert same(student, forgetful(GENERATOR, [by_hand])) and not same(student, GENERATOR)


def test_nobody_is_erased_twice_and_nobody_unknown_is_taken_back(session):
    student = forget(session, 1)
    with pytest.raises(GuideError, match="'1' is forgotten already"):
        session.erase_at_once()
    with pytest.raises(GuideError, match=r"'7' is not among the forgotten \(1\)"):
        session.undo("7")
    assert session.student is student


def test_a_measurement_is_of_the_generator_as_it_is_now(session):
    forget(session, 1)
    found = session.measure()
    assert found.id < 0.9 and session.report is found
    session.undo("1")
    assert session.report is None and session.measure().id > 0.999


def test_all_photos_of_a_person_are_erased_and_undone_as_one(session):
    codes = torch.cat([sample_person(GENERATOR, seed) for seed in (1, 2, 3)])
    session.take(Person("ada", codes[:1], others=codes[1:]))
    session.target("average")
    assert same(session.erase_at_once(), alone((1, 2, 3)))
    assert session.undo("ada") is GENERATOR


def test_training_goes_on_from_there_with_the_teacher_who_knows_the_person(session):
    first = forget(session, 1)
    at_once = forget(session, 2)
    for _ in session.erase(SETTINGS):
        pass
    known = {"perceptual": NETWORKS.perceptual, "embedder": NETWORKS.embedder}
    *_, by_hand = unlearn(first, session.person.w_u, session.w_t, SETTINGS, start=at_once, **known)
    assert same(session.student, by_hand.student, 1e-6) and not same(session.student, at_once)
    with pytest.raises(GuideError, match=r"'2' is not among the forgotten \(nobody\)"):
        session.undo("2")  # a training has built on it
    assert same(session.undo(), at_once) and same(session.undo(), first)


def test_a_person_is_erased_at_once_from_a_trained_student(session):
    session.choose(seed=1)
    for _ in session.erase(SETTINGS):
        pass
    trained = session.student
    assert not same(forget(session, 2), trained)
    assert session.undo("2") is trained and session.undo() is GENERATOR


@pytest.mark.parametrize("trained_before", [False, True])
def test_a_list_is_saved_and_people_are_taken_back_later(session, tmp_path, monkeypatch, trained_before):
    monkeypatch.setattr(sessions, "load_networks", lambda *_: NETWORKS)
    if trained_before:
        session.choose(seed=5)
        for _ in session.erase(SETTINGS):
            pass
    base = session.student
    for seed in (1, 2):
        forget(session, seed)
    session.save()
    loaded = Session.load(tmp_path, "cpu")
    assert list(loaded.lists[-1]) == ["1", "2"] and same(loaded.student, session.student)
    assert same(loaded.undo("1"), session.undo("1")) and same(loaded.undo("2"), base)
    loaded.save()
    assert not (tmp_path / "forgotten.safetensors").exists() and same(Session.load(tmp_path, "cpu").student, base)


def test_a_list_in_the_metric_of_the_fibre_is_saved_and_left_again(session, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "load_networks", lambda *_: NETWORKS)
    for seed, fibre in ((1, True), (2, None)):  # None is what held before
        session.choose(seed=seed)
        session.target("average")
        student = session.erase_at_once(fibre=fibre)
    assert session.lists[-1].fibre and not same(student, alone([1, 2]))
    session.save()
    loaded = Session.load(tmp_path, "cpu")
    assert loaded.lists[-1].fibre and same(loaded.student, student)
    session.choose(seed=3)
    session.target("average")
    assert same(session.erase_at_once(fibre=False), alone([1, 2, 3]))
    session.start_over(session.choose(seed=1))
    assert same(forget(session, 1), alone([1]))


def test_several_photos_are_kept(session, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "load_networks", lambda *_: NETWORKS)
    codes = torch.cat([sample_person(GENERATOR, seed) for seed in (1, 2, 3)])
    session.take(Person("ada", codes[:1], others=codes[1:]))
    session.erase_at_once()
    session.save()
    person = Session.load(tmp_path, "cpu").person
    assert person.name == "ada" and torch.equal(person.w_u, codes[:1]) and torch.equal(person.others, codes[1:])


def test_the_view_of_many_draws_them_as_if_each_had_been_erased_by_hand(session):
    """Whoever is erased already does not count: the view starts from the untouched generator."""
    forget(session, 5)
    view = ManyForgotten.of(session, most=4, shown=2, others=3)
    view.set(people=3)
    w_u = torch.cat([sample_person(GENERATOR, seed) for seed in (1, 2, 3)])
    student = forgetful(GENERATOR, [erase(w_u, session.strangers.ws[:3], GENERATOR.w_avg, METRIC)])
    watched = torch.cat([w_u[:2], other_people(GENERATOR, 3)])
    before, after = GENERATOR.picture(watched), student.picture(watched)
    expected = identity_similarity(NETWORKS.judge, before, after)[0].tolist()
    assert view.cosines() == (pytest.approx(expected[:2], abs=1e-4), pytest.approx(expected[2:], abs=1e-4))
    assert ManyForgotten.of(session, most=10_000, shown=1, others=1).controls["people"].max == len(session.strangers.ws)


def test_the_view_of_many_erases_adults_and_replaces_them_by_adults(session, monkeypatch):
    """Here seeds 1 and 3 draw children, and so do the first and the third stranger."""
    children = torch.cat([sample_person(GENERATOR, seed) for seed in (1, 3)] + [session.strangers.ws[[0, 2]]])

    def grown_up(ws, generator):
        assert generator is GENERATOR
        return torch.tensor([not any(torch.equal(w, child) for child in children) for w in ws])

    monkeypatch.setattr(forgotten, "adults", grown_up)
    view = ManyForgotten.of(session, most=2, shown=2, others=1)
    view.set(people=2)
    w_u = torch.cat([sample_person(GENERATOR, seed) for seed in (2, 4)])
    student = forgetful(GENERATOR, [erase(w_u, session.strangers.ws[[1, 3]], GENERATOR.w_avg, METRIC)])
    expected = identity_similarity(NETWORKS.judge, GENERATOR.picture(w_u), student.picture(w_u))[0].tolist()
    assert view.cosines()[0] == pytest.approx(expected, abs=1e-4)
    full = ManyForgotten.of(session, most=10_000, shown=1, others=1)
    assert full.controls["people"].max == len(session.strangers.ws) - 2
