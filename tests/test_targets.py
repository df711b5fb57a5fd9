import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import TinyEmbedder, TinyGenerator

from guide_lib.closed_form import population_moment
from guide_lib.perception.grid import weave
from guide_lib.targets import (
    DISTANCES,
    FAR,
    SHARES,
    average_target,
    distance_from_mean,
    draw_strangers,
    midway_target,
    natural_target,
    partial_target,
    scale_to_rows,
    searched_ufo_target,
    ufo_target,
)

sizes = st.integers(1, 30)


def latents(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(1, rows, 8, generator=rng), torch.randn(1, 1, 8, generator=rng).expand(1, rows, 8)


def test_ufo_on_a_case_worked_by_hand():
    w_avg = torch.zeros(1, 14, 2)
    w_u = torch.zeros(1, 14, 2)
    w_u[0, 0, 0] = 4.0  # the whole latent has norm 4
    target = ufo_target(w_u, w_avg, d=30.0)
    assert target[0, 0, 0].item() == pytest.approx(-30.0)
    assert target.abs().sum().item() == pytest.approx(30.0)


@given(rows=sizes, seed=st.integers(0, 1000), d=st.floats(0.5, 60))
def test_ufo_lies_on_the_far_side_of_the_mean_at_distance_d(rows, seed, d):
    w_u, w_avg = latents(rows, seed)
    person, target = w_u - w_avg, ufo_target(w_u, w_avg, d) - w_avg
    cosine = (person * target).sum() / (person.norm() * target.norm())
    assert cosine.item() == pytest.approx(-1.0, abs=1e-4)
    assert target.norm().item() == pytest.approx(d * math.sqrt(rows / 14), rel=1e-4)


@given(rows=sizes, seed=st.integers(0, 1000), stretch=st.floats(0.1, 10))
def test_ufo_depends_on_the_direction_of_the_person_only(rows, seed, stretch):
    w_u, w_avg = latents(rows, seed)
    stretched = w_avg + stretch * (w_u - w_avg)
    torch.testing.assert_close(ufo_target(stretched, w_avg), ufo_target(w_u, w_avg), rtol=1e-3, atol=1e-3)


def test_d_of_zero_and_the_baseline_give_the_mean_face():
    w_u, w_avg = latents(23, 0)
    torch.testing.assert_close(ufo_target(w_u, w_avg, d=0.0), w_avg)
    torch.testing.assert_close(average_target(w_u, w_avg), w_avg)


def test_the_paper_distance_is_8_02_per_row_on_any_number_of_rows():
    for rows in (14, 18, 23):
        w_u, w_avg = latents(rows, rows)
        w_u = w_u[:, :1].expand(1, rows, 8)
        per_row = (ufo_target(w_u, w_avg) - w_avg).norm(dim=2)
        torch.testing.assert_close(per_row, torch.full((1, rows), 8.018), rtol=0, atol=1e-3)
    assert scale_to_rows(15.0, 14) == 15.0


def test_the_person_lies_on_ufos_line_at_minus_their_distance():
    w_u, w_avg = latents(23, 0)
    distance = distance_from_mean(w_u, w_avg).item()
    assert torch.allclose(ufo_target(w_u, w_avg, -distance), w_u, atol=1e-5)


def test_a_partial_target_moves_its_rows_only():
    w_u, w_avg = latents(6, 1)
    target = partial_target(w_u, w_avg, [0, 4])
    moved = (target != w_u).any(2)[0].tolist()
    assert moved == [True, False, False, False, True, False]
    assert torch.equal(target[:, 4], ufo_target(w_u, w_avg)[:, 4])


# ---------------------------------------------------------------------------------------------------------
# Targets that are searched for: 16 strangers, so those who are far are fewer than the search walks to


class Search:
    """A tiny generator with its strangers, and what an explicit loop says of any latent."""

    def __init__(self, seed: int, attributes=None, generator=None) -> None:
        self.generator, self.embedder = generator or TinyGenerator(), TinyEmbedder()
        self.moment = population_moment(self.generator, 2000)
        known = self.generator, self.embedder
        self.strangers = draw_strangers(self.generator, self.moment, attributes, count=16)
        self.w_u, self.w_avg = self.generator.sample(1, torch.Generator().manual_seed(seed)), self.generator.w_avg
        self.known = *known, self.strangers

    def cosine(self, w: torch.Tensor) -> float:
        a, b = (self.embedder.embed(self.generator.picture(x))[0] for x in (w, self.w_u))
        return float(a @ b)

    def rarity(self, w: torch.Tensor) -> float:
        x = (w - self.w_avg)[0, 0].double()
        return float(x @ torch.linalg.solve(self.moment, x)) ** 0.5

    def nearest(self, points: list[torch.Tensor], bound: float, rows=slice(None)) -> torch.Tensor:
        """The nearest of the likely points whose cosine is at most the bound."""
        able = [p for p in points if self.cosine(p) <= bound + 1e-6 and self.rarity(p) <= self.strangers.limit]
        return min(able, key=lambda p: float((p - self.w_u)[:, rows].square().sum()))

    def bound(self) -> float:
        return float(torch.tensor([self.cosine(w[None]) for w in self.strangers.ws]).quantile(FAR))


@pytest.mark.parametrize("seed", range(6))
def test_the_natural_target_is_the_nearest_point_as_far_as_the_far(seed):
    search = Search(seed)
    bound = search.bound()
    far = [w[None] for w in search.strangers.ws if search.cosine(w[None]) <= bound + 1e-6]
    assert 2 <= len(far) <= 3
    points = [search.w_u + share * (w - search.w_u) for w in far for share in SHARES]
    found = natural_target(search.w_u, *search.known)
    torch.testing.assert_close(found, search.nearest(points, bound))


@pytest.mark.parametrize("seed", range(3))
def test_the_searched_point_of_ufos_line_is_its_nearest_far_one(seed):
    search = Search(seed)
    points = [ufo_target(search.w_u, search.w_avg, d) for d in DISTANCES]
    try:
        expected = search.nearest(points, search.bound())
    except ValueError:  # none is far enough: the farthest of the likely
        expected = min((p for p in points if search.rarity(p) <= search.strangers.limit), key=search.cosine)
    torch.testing.assert_close(searched_ufo_target(search.w_u, *search.known), expected)


def test_most_samples_are_likely_and_the_paper_distance_is_not():
    search = Search(0)
    samples = search.generator.sample(4000, torch.Generator().manual_seed(5))
    assert search.strangers.likely(samples, search.w_avg).float().mean().item() == pytest.approx(0.95, abs=0.02)
    assert not search.strangers.likely(ufo_target(search.w_u, search.w_avg, 300.0), search.w_avg).any()


def test_an_inverted_person_is_replaced_by_a_face_of_w_nearest_in_the_rows_that_are_drawn():
    class TwoRows(TinyGenerator):
        def drawn_rows(self) -> list[int]:
            return [0, 1]

    search = Search(0, generator=TwoRows())
    woven = search.generator.sample(3, torch.Generator().manual_seed(8))[:, :1].view(1, 3, -1)
    woven[:, 2] *= 1000  # no row of the picture
    search.w_u = woven
    found, start = natural_target(woven, *search.known), woven[:, :2].mean(1, keepdim=True)
    assert torch.equal(found, found[:, :1].expand_as(found))
    far = [w[None] for w in search.strangers.ws if search.cosine(w[None]) <= search.bound() + 1e-6]
    points = [start + share * (w - start) for w in far for share in SHARES]
    torch.testing.assert_close(found, search.nearest(points, search.bound(), rows=[0, 1]))


@pytest.mark.parametrize("seed", range(6))
def test_the_midway_target_and_half_of_the_way_to_it_leave_least_of_the_person(seed):
    search = Search(seed)
    search.w_u = search.w_u + 0.3 * torch.randn(search.w_u.shape, generator=torch.Generator().manual_seed(seed))
    start = search.w_u.mean(1, keepdim=True)
    found = midway_target(search.w_u, *search.known)
    assert search.rarity(found) == pytest.approx(search.strangers.limit, rel=1e-4)
    limit = search.strangers.limit
    ends = []
    for w in search.strangers.ws:  # the end of each way by bisection
        near, far = 0.0, 100.0
        for _ in range(60):
            share = (near + far) / 2
            near, far = (share, far) if search.rarity(start + share * (w - start)) < limit else (near, share)
        ends.append(start + near * (w[None] - start))
    expected = min(ends, key=lambda end: search.cosine(search.w_u + 0.5 * (end - start)) + search.cosine(end))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_only_strangers_who_look_alike_are_walked_to():
    axes = torch.eye(6)
    search = Search(1, attributes={"first": axes[0], "second": axes[1]})
    alike = search.strangers.like(search.w_u)
    ws = search.strangers.ws[alike]
    distances = sorted((w - search.w_u)[0, 0, :2].norm().item() for w in search.strangers.ws)
    assert [(w - search.w_u)[0, 0, :2].norm().item() for w in ws] == pytest.approx(distances[:4])
    seen, _ = search.strangers.seen(alike, search.generator, search.embedder)
    torch.testing.assert_close(seen, search.embedder.embed(search.generator.picture(ws)))
    found = natural_target(search.w_u, *search.known)
    ways = [(found - search.w_u).flatten(), *(ws - search.w_u).flatten(1)]
    assert max(torch.cosine_similarity(ways[0], way, dim=0).item() for way in ways[1:]) == pytest.approx(1, abs=1e-5)


def test_a_stranger_is_drawn_once_and_only_when_needed():
    search = Search(0)
    drawn = []
    picture = search.generator.picture
    search.generator.picture = lambda ws: (drawn.append(len(ws)), picture(ws))[1]
    for which in ([0, 1], [1, 2], [2, 0]):
        identities, weaves = search.strangers.seen(which, search.generator, search.embedder)
        torch.testing.assert_close(identities, search.embedder.embed(picture(search.strangers.ws[which])))
        torch.testing.assert_close(weaves, weave(picture(search.strangers.ws[which])))
    assert drawn == [2, 1]


def test_a_woven_end_is_taken_only_where_there_is_no_other(monkeypatch):
    search = Search(2)
    free = midway_target(search.w_u, *search.known)

    def woven_there(pictures: torch.Tensor) -> torch.Tensor:
        same = (pictures - search.generator.picture(free)).flatten(1).abs().amax(1) < 1e-5
        return same.double()

    monkeypatch.setattr("guide_lib.targets.weave", woven_there)
    search.strangers.looks.clear()
    other = midway_target(search.w_u, *search.known)
    assert not torch.allclose(other, free)
    monkeypatch.setattr("guide_lib.targets.weave", lambda pictures: torch.ones(len(pictures)))
    search.strangers.looks.clear()
    torch.testing.assert_close(midway_target(search.w_u, *search.known), free)
