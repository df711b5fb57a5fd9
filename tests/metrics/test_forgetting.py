import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import TinyEmbedder, TinyGenerator, TurningGenerator

from guide_lib.generators import View
from guide_lib.metrics.forgetting import (
    OTHER_PICTURES,
    YAWS,
    acceptance_threshold,
    identity_collapse,
    impostor_cosines,
    measure_forgetting,
    other_pictures,
    rejection_threshold,
    yaw_views,
)

JUDGE = TinyEmbedder(seed=8)
DIRECTIONS = {name: torch.randn(6, generator=torch.Generator().manual_seed(k)) for k, name in enumerate("abc")}
DIRECTIONS = dict(zip(("yaw", "pitch", "smile"), (0.02 * v for v in DIRECTIONS.values()), strict=True))


@pytest.fixture
def person():
    generator = TinyGenerator()
    return generator, generator.sample(1, torch.Generator().manual_seed(2))


def test_views_are_eleven_turns_from_minus_to_plus_fifteen_degrees(person):
    _, w = person
    views = yaw_views(w, DIRECTIONS)
    assert len(views) == len(YAWS) == 11 and (YAWS[0], YAWS[-1], YAWS[1] - YAWS[0]) == (-15, 15, 3)
    for yaw, view in zip(YAWS, views, strict=True):
        assert torch.allclose(view, w[0] + yaw * DIRECTIONS["yaw"], atol=1e-5)


def test_other_pictures_are_no_views_and_move_as_they_say(person):
    _, w = person
    pictures = other_pictures(w, DIRECTIONS)
    for amounts, picture in zip(OTHER_PICTURES, pictures, strict=True):
        assert set(amounts) != {"yaw"}
        expected = w[0] + sum(amount * DIRECTIONS[name] for name, amount in amounts.items())
        assert torch.allclose(picture, expected, atol=1e-5)


def test_forgetting_equals_a_loop_over_pictures(person):
    generator, w = person
    student = TinyGenerator(seed=1)
    found = measure_forgetting(student, generator, w, DIRECTIONS, JUDGE, threshold=0.1)

    def cosine(code):
        return F.cosine_similarity(*(JUDGE.embed(g.synthesis(code[None]).image) for g in (generator, student))).item()

    views, others = ([cosine(c) for c in codes] for codes in (yaw_views(w, DIRECTIONS), other_pictures(w, DIRECTIONS)))
    assert found.id == pytest.approx(np.mean(views), abs=1e-5)
    assert found.id_others == pytest.approx(np.mean(others), abs=1e-5)
    assert found.accepted == pytest.approx(np.mean(np.array(views) >= 0.1))
    assert found.accepted_others == pytest.approx(np.mean(np.array(others) >= 0.1))
    given = measure_forgetting(student, generator, w, DIRECTIONS, JUDGE, others=w)
    assert given.id_others == pytest.approx(cosine(w[0]), abs=1e-5) and given.id == pytest.approx(found.id)


class WithCameras(TurningGenerator):
    def judging_views(self):
        return [View(-150.0), View(), View(150.0)]


def test_a_generator_with_cameras_is_looked_at_through_them(person):
    _, w = person
    generator, student = WithCameras(), WithCameras(seed=1)
    more = generator.sample(2, torch.Generator().manual_seed(3))
    found = measure_forgetting(student, generator, w, None, JUDGE, others=more)

    def cosines(codes):
        pairs = [
            [JUDGE.embed(g.synthesis(codes, v).image) for g in (generator, student)] for v in generator.judging_views()
        ]
        return torch.cat([F.cosine_similarity(*pair) for pair in pairs])

    assert len(set(cosines(w).tolist())) == 3  # every camera sees something else
    assert found.id == pytest.approx(cosines(w).mean().item(), abs=1e-5)
    assert found.id_others == pytest.approx(cosines(more).mean().item(), abs=1e-5)
    alone = measure_forgetting(student, generator, w, None, JUDGE)
    assert (alone.id_others, alone.accepted_others) == (None, None) and alone.id == pytest.approx(found.id)


def test_nobody_is_forgotten_by_an_unchanged_generator(person):
    generator, w = person
    found = measure_forgetting(generator.student(), generator, w, DIRECTIONS, JUDGE)
    assert (found.accepted, found.accepted_others, found.undetected) == (1.0, 1.0, 0)
    assert found.id == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_the_threshold_lets_in_the_stated_share_and_no_more(rate, rng):
    scores = torch.randn(5000, generator=rng)
    threshold = acceptance_threshold(scores, rate)
    accepted = (scores >= threshold).sum().item()
    assert accepted == int(5000 * rate)
    assert (scores >= threshold - 1e-4).float().mean() <= rate + 2 / 5000
    with pytest.raises(ValueError, match="99 scores cannot show a rate of 0.01"):
        acceptance_threshold(scores[:99], 0.01)


@pytest.mark.parametrize("rate", [0.001, 0.04, 0.1])
def test_the_threshold_keeps_out_the_stated_share_and_no_more(rate, rng):
    scores = torch.randn(5000, generator=rng)
    threshold = rejection_threshold(scores, rate)
    assert (scores < threshold).sum().item() == int(5000 * rate)
    assert (scores < threshold + 1e-4).float().mean() >= rate
    with pytest.raises(ValueError, match="24 scores cannot show a rate of 0.04; give at least 25"):
        rejection_threshold(scores[:24])


def test_impostors_are_all_pairs_of_different_people(rng):
    embeddings = F.normalize(torch.randn(6, 4, generator=rng), dim=1)
    people = torch.tensor([0, 0, 1, 1, 2, 2])
    expected = [
        (embeddings[i] @ embeddings[j]).item() for i in range(6) for j in range(i + 1, 6) if people[i] != people[j]
    ]
    assert impostor_cosines(embeddings, people).tolist() == pytest.approx(expected, abs=1e-6)
    assert len(impostor_cosines(embeddings)) == 15


def test_collapse_is_one_for_one_face_and_small_for_strangers(rng):
    faces = F.normalize(torch.randn(5, 64, generator=rng), dim=1)
    assert identity_collapse(faces[:1].expand(4, -1)) == pytest.approx(1, abs=1e-5)
    assert abs(identity_collapse(faces)) < 0.2
