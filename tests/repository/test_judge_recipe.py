"""data/recipes/judge_threshold.py counts what it says it counts, compared with explicit loops."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from project import recipe
from tiny import TinyEmbedder, TinyGenerator

RECIPE = recipe("judge_threshold")


@pytest.fixture
def album(rng):
    """Five people, four pictures each, [20, 8], and who is who."""
    people = torch.arange(5).repeat_interleave(4)
    centres = F.normalize(torch.randn(5, 8, generator=rng), dim=1)
    return F.normalize(centres[people] + 0.25 * torch.randn(20, 8, generator=rng), dim=1), people


def pairs(embeddings, people):
    for i, j in itertools.combinations(range(len(people)), 2):
        yield i, (embeddings[i] @ embeddings[j]).item(), bool(people[i] == people[j])


def test_verdicts_are_counted_pair_by_pair(album):
    embeddings, people = album
    found = RECIPE.verdicts(embeddings, people, 0.5)
    for kind, wrong in (
        ("false_accepts", [cosine >= 0.5 for _, cosine, same in pairs(*album) if not same]),
        ("false_rejects", [cosine < 0.5 for _, cosine, same in pairs(*album) if same]),
    ):
        counted = found[kind]
        assert (counted["pairs"], counted["wrong"]) == (len(wrong), sum(wrong)) and 0 < sum(wrong) < len(wrong)
        assert counted["share"] == pytest.approx(sum(wrong) / len(wrong))
        assert counted["interval_pairs"][0] < counted["share"] < counted["interval_pairs"][1]


def test_people_as_trials_are_few(album):
    """Two of five people whose every pair is rejected are two of five, not twelve of thirty."""
    _, people = album
    itself = torch.eye(20, dtype=torch.bool)
    same = (people[:, None] == people[None]) & ~itself
    counted = RECIPE.errors(same & (people[:, None] < 2), same, people)
    assert (counted["pairs"], counted["wrong"]) == (30, 12)
    assert counted["interval_people"] == pytest.approx([0.0527, 0.8534], abs=1e-3)  # Clopper and Pearson, 2 of 5


def test_one_picture_of_everybody_has_no_false_rejects(album):
    embeddings, _ = album
    assert set(RECIPE.verdicts(embeddings, torch.arange(20), 0.5)) == {"false_accepts"}


def test_the_area_is_the_share_of_pairs_in_the_right_order(album, monkeypatch):
    monkeypatch.setattr(RECIPE, "FALSE_ACCEPTS", 0.05)
    same, different = ([cosine for _, cosine, own in pairs(*album) if own == kind] for kind in (True, False))
    found = RECIPE.told_apart(*album)
    right = sum(a > b for a in same for b in different) / (len(same) * len(different))
    assert found["auc"] == pytest.approx(right)
    assert sum(cosine >= found["threshold"] for cosine in different) == int(0.05 * len(different))
    assert found["accepted"] == pytest.approx(sum(cosine >= found["threshold"] for cosine in same) / len(same))


def test_thresholds_and_their_intervals(album, rng, monkeypatch):
    monkeypatch.setattr(RECIPE, "FALSE_ACCEPTS", 0.05)
    strangers, others = F.normalize(torch.randn(2, 40, 8, generator=rng), dim=2)
    found = RECIPE.judged(strangers, others, *album)
    cosines = [(a @ b).item() for a, b in itertools.combinations(strangers, 2)]
    accepted = found["accepted"]["threshold"]
    assert sum(cosine >= accepted for cosine in cosines) == int(0.05 * len(cosines))
    assert found["accepted"]["false_accepts"]["pairs"] == math.comb(40, 2)  # of the others
    genuine = sorted(cosine for _, cosine, same in pairs(*album) if same)
    highest = genuine[int(len(genuine) / 25)]
    assert found["strict"]["threshold"] == pytest.approx(min(accepted, highest))
    for name in ("accepted", "strict"):
        low, high = found[name]["interval"]
        assert low <= found[name]["threshold"] <= high and low < high


def test_strict_is_never_above_accepted(album, rng, monkeypatch):
    """A judge that rejects hardly anybody at accepted needs no second threshold."""
    monkeypatch.setattr(RECIPE, "FALSE_ACCEPTS", 0.05)
    far = F.normalize(torch.cat([torch.eye(40), 0.1 * torch.randn(40, 40, generator=rng)], dim=1), dim=1)
    found = RECIPE.judged(far, far, *album)
    assert found["accepted"] == found["strict"] and found["strict"]["threshold"] < 0.5


def test_who_is_drawn_twice_is_no_stranger_to_himself(rng, monkeypatch):
    """Of three people with small cosines no bootstrap sees a cosine of one."""
    monkeypatch.setattr(RECIPE, "FALSE_ACCEPTS", 0.5)
    found = RECIPE.accepting(F.normalize(torch.eye(12) + 0.1, dim=1))
    assert found["interval"][1] < 0.5


def test_everybody_is_seen_once_by_every_recogniser(monkeypatch):
    monkeypatch.setattr(RECIPE, "load_generator", lambda resolution: TinyGenerator())
    judges = {"a": TinyEmbedder(), "b": TinyEmbedder(seed=3)}
    found = RECIPE.generated(judges, 16, seed=1, count=20)
    ws = TinyGenerator().sample(20, torch.Generator().manual_seed(1))
    for name, judge in judges.items():
        torch.testing.assert_close(found[name], judge.embed_faces(TinyGenerator().picture(ws))[0])
