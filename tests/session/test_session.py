"""A session from the choice of a person to undo, on tiny networks; what it saves, another one loads."""

import json
from dataclasses import replace

import pytest
import torch
from tiny import AnySize, TinyGenerator, TinyPerceptual

from guide_lib.attacks import Attacker
from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, other_people, sample_person
from guide_lib.inversion import InversionSettings
from guide_lib.metrics.identity import evaluate
from guide_lib.robust import RobustSettings
from guide_lib.session import Session, saving
from guide_lib.session import session as sessions
from guide_lib.session.attacking import ATTACKS
from guide_lib.targets import average_target, midway_target, natural_target, searched_ufo_target, ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn
from guide_lib.widgets import (
    BeforeAfter,
    CameraOrbit,
    LatentExplorer,
    LatentWalk,
    PeopleGrid,
    TargetSlider,
    UnlearningDashboard,
)

NETWORKS = Networks(TinyGenerator(), TinyPerceptual(), AnySize(), AnySize(seed=8))
SETTINGS = UnlearningSettings(steps=6, learning_rate=3e-3)
NAMES = {"generator": "tiny", "embedder": "sface", "judge": "dlib", "quirks": False, "resolution": 16}


@pytest.fixture
def session(tmp_path):
    opened = Session(NETWORKS, tmp_path, NAMES)
    opened.choose(seed=3)
    return opened


def erased(session, settings=SETTINGS):
    for _ in session.erase(settings):
        pass
    return session.student


def weights(generator):
    return torch.cat([p.detach().flatten() for p in generator.trainable_parameters().values()])


def test_the_student_is_the_one_that_the_loop_alone_makes(session):
    w_u = sample_person(NETWORKS.generator, 3)
    *_, alone = unlearn(
        NETWORKS.generator, w_u, ufo_target(w_u, NETWORKS.generator.w_avg), SETTINGS,
        perceptual=NETWORKS.perceptual, embedder=NETWORKS.embedder,
    )  # fmt: skip
    assert torch.equal(weights(erased(session)), weights(alone.student))
    judged = evaluate(
        alone.student, NETWORKS.generator, w_u, other_people(NETWORKS.generator), NETWORKS.judge, NETWORKS.perceptual
    )
    assert session.measure() == judged and session.report == judged


def test_who_stops_early_keeps_the_student_of_that_step(session):
    steps = session.erase(SETTINGS)
    stopped = [next(steps), next(steps)][-1]
    steps.close()
    assert session.student is stopped.student and stopped.index == 2


def test_an_erasure_that_was_stopped_goes_on_and_not_on_top_of_itself(session, tmp_path):
    whole = weights(erased(session))
    session.undo()
    steps = session.erase(SETTINGS, checkpoint=tmp_path / "state.safetensors")
    next(steps)
    steps.close()
    indices = [step.index for step in session.erase(SETTINGS, checkpoint=tmp_path / "state.safetensors")]
    again = session.student
    assert indices == [1, 2, 3, 4, 5, 6] and session.undo() is NETWORKS.generator
    assert torch.equal(weights(again), whole)


def test_a_second_person_is_erased_from_the_student_and_each_can_be_undone(session):
    first = erased(session)
    session.choose(seed=4)
    second = erased(session)
    assert first is not second
    *_, by_hand = unlearn(
        first, session.person.w_u, session.w_t, SETTINGS, perceptual=NETWORKS.perceptual, embedder=NETWORKS.embedder
    )
    assert torch.equal(weights(second), weights(by_hand.student))
    assert session.undo() is first and session.undo() is NETWORKS.generator
    with pytest.raises(GuideError, match="Nobody was erased"):
        session.undo()


def test_targets_by_name(session):
    w_u, w_avg = session.person.w_u, NETWORKS.generator.w_avg
    assert torch.equal(session.target(d=5.0), ufo_target(w_u, w_avg, 5.0)) and torch.equal(
        session.w_t, session.target(d=5.0)
    )
    assert torch.equal(session.target("average"), average_target(w_u, w_avg))
    assert torch.equal(session.target("self"), w_u)
    with pytest.raises(GuideError, match="There is no target 'stranger'"):
        session.target("stranger")
    strangers = session.strangers
    found = natural_target(w_u, NETWORKS.generator, NETWORKS.embedder, strangers)
    assert torch.equal(session.target("natural"), found) and session.strangers is strangers
    found = searched_ufo_target(w_u, NETWORKS.generator, NETWORKS.embedder, strangers)
    assert torch.equal(session.target("searched ufo"), found)
    found = midway_target(w_u, NETWORKS.generator, NETWORKS.embedder, strangers)
    assert torch.equal(session.target("midway"), found)


def test_pictures_before_and_after(session):
    student = erased(session)
    with torch.no_grad():
        assert torch.equal(session.draw(), student.picture(session.person.w_u))
        assert torch.equal(session.draw(before=True), NETWORKS.generator.picture(session.person.w_u))
    assert torch.equal(session.photo(), session.draw(before=True))  # what an attacker has of a latent


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_by_name(session, name):
    erased(session)
    found = session.attack(name)
    assert found.rank(0) in range(16) if name.startswith("fingerprint") else found


def test_what_was_not_said_yet_is_asked_for(session):
    with pytest.raises(GuideError, match="There is no attack 'magic'; choose one of: search, search beside"):
        session.attack("magic")
    with pytest.raises(GuideError, match="There is no attacker 'magician'; choose one of: own, independent"):
        session.attack("search", attacker="magician")
    session.w_t = None
    with pytest.raises(GuideError, match="The control of relearning needs the target"):
        session.attack("relearn beside")
    with pytest.raises(GuideError, match="The start 'reflected' needs the target"):
        session.attack("search", attacker="reflected")
    with pytest.raises(GuideError, match="Nobody was chosen yet"):
        Session(NETWORKS).measure()
    with pytest.raises(GuideError, match="Name a photo or a seed"):
        session.choose()
    with pytest.raises(GuideError, match="Name a photo or a seed"):
        session.choose(seed=1, photo="me.jpg")


def test_what_one_session_saves_another_loads(session, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "load_networks", lambda *_: NETWORKS)
    report = session.run(SETTINGS)
    assert json.loads((tmp_path / "metrics.json").read_text())["id"] == report.id
    loaded = Session.load(tmp_path)
    assert torch.equal(weights(loaded.student), weights(session.student))
    assert torch.equal(loaded.person.w_u, session.person.w_u) and torch.equal(loaded.w_t, session.w_t)
    assert loaded.person.name == "3" and loaded.measure() == report
    loaded.choose(seed=5)
    assert not torch.equal(weights(erased(loaded)), weights(session.student))  # a second person, from a saved student
    with pytest.raises(GuideError, match="holds no finished run"):
        Session.load(tmp_path / "nothing")


def test_a_run_that_does_not_say_its_resolution_has_that_of_its_student(session, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(sessions, "load_networks", lambda *names: asked.append(names[1]) or NETWORKS)
    monkeypatch.setattr(saving, "load_student", lambda path: NETWORKS.generator if path.exists() else None)
    session.run(SETTINGS)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    del metrics["resolution"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert torch.equal(weights(Session.load(tmp_path).student), weights(session.student)) and asked == [16]


def test_the_photo_is_kept_for_the_attacker(session, tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "load_networks", lambda *_: NETWORKS)
    photo = session.draw(before=True)
    assert list(session.choose(photo=photo).facts["inversion"]) == ["W", "W+"]
    session.run(SETTINGS)
    assert torch.equal(Session.load(tmp_path).photo(), photo)


def test_a_session_without_a_folder_keeps_its_files_to_itself():
    opened = Session(NETWORKS)
    opened.choose(seed=1)
    erased(opened, replace(SETTINGS, steps=1))
    assert (opened.save() / "before_after.png").exists()


def test_every_view_is_drawn_from_a_session(session):
    dashboard = UnlearningDashboard.of(session, SETTINGS)
    for step in session.erase(SETTINGS):
        dashboard.show(step)
    assert "step 6 of 6" in dashboard.state()
    for kind in (BeforeAfter, LatentExplorer, LatentWalk, CameraOrbit, TargetSlider, PeopleGrid):
        assert len(kind.of(session).png()) > 100
    walk = LatentWalk.of(session)
    walk.set(position=0.0)
    assert torch.allclose(
        walk._render(position=0.0)[0], session.draw(NETWORKS.generator.w_avg, before=True)[0], atol=1e-6
    )
    assert TargetSlider.of(session).controls["d"].value == pytest.approx(-TargetSlider.of(session).person)


def test_erasing_for_good_starts_where_the_closed_form_left_the_person(session):
    settings = RobustSettings(1, Attacker(starts=1, settings=InversionSettings(3, 0)), SETTINGS)
    session.target("average")
    before = session.erase_at_once()
    steps = list(session.erase_for_good(settings))
    assert steps[0].student is before and [step.kind for step in steps] == ["search", *["training"] * SETTINGS.steps]
    assert session.student is not before and len(session.lists) == 2
    session.undo()
    assert session.student is before
