"""Searches and their controls: where they must succeed, where they must fail, and what is said of what they found."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_attacks import Bent, Blind
from tiny import GreyEncoder, TinyEmbedder, TinyGenerator, TinyPerceptual

from guide_lib.attacks import Attacker, Equipment, Found, Hunted, likelihood_of, reinvert, search, search_beside
from guide_lib.attacks.controls import Beside, strangers_of
from guide_lib.attacks.search import ATTACKERS, half_of, starting_points
from guide_lib.errors import GuideError
from guide_lib.inversion.optimise import InversionSettings
from guide_lib.targets import scale_to_rows

LPIPS, EMBEDDER, JUDGE, SECOND = TinyPerceptual(), TinyEmbedder(), TinyEmbedder(seed=8), TinyEmbedder(seed=9)
QUICK = InversionSettings(steps_w=60, steps_w_plus=60, learning_rate=0.1)
ONE = Attacker(starts=2, settings=QUICK)


@pytest.fixture
def generator() -> TinyGenerator:
    return TinyGenerator()


@pytest.fixture
def tools(generator) -> Equipment:
    networks = {"own": LPIPS, "vgg": LPIPS}, {"own": EMBEDDER, "mobilefacenet": TinyEmbedder(seed=5)}
    return Equipment(*networks, {"judge": JUDGE, "second": SECOND}, likelihood=likelihood_of(generator))


@pytest.fixture
def hunted(generator) -> Hunted:
    w_u = generator.sample(1, torch.Generator().manual_seed(11))
    return Hunted(generator, generator.picture(w_u), w_u, w_t=2 * generator.w_avg - w_u)


def blind(hunted: Hunted) -> Hunted:
    return replace(hunted, student=Blind())


def test_the_search_succeeds_in_the_untouched_generator_by_every_judge_and_fails_in_a_blind_one(hunted, tools):
    in_w, in_w_plus = search([hunted], ONE, tools)[0]
    assert (in_w.space, in_w_plus.space) == ("W", "W+") and in_w.steps == in_w_plus.steps == 120
    assert min(in_w.best("judge"), in_w_plus.best("second")) > 0.9 and in_w.seconds > 0
    pictures = hunted.student.picture(in_w.ws)
    for judge, network in (("judge", JUDGE), ("second", SECOND)):
        expected = F.cosine_similarity(network.embed(pictures), network.embed(hunted.photo))
        assert torch.allclose(in_w.cosines(judge), expected, atol=1e-5)
    own = F.cosine_similarity(EMBEDDER.embed(pictures), EMBEDDER.embed(hunted.photo))
    assert torch.allclose(in_w.own, own, atol=1e-5)
    assert in_w.kept("second") == pytest.approx(in_w.cosines("second")[own.argmax()].item())
    assert all(found.best("judge") < 0.8 for found in search([blind(hunted)], ONE, tools)[0])


def test_judges_do_not_steer(hunted, tools):
    other = replace(tools, judges={"judge": TinyEmbedder(seed=77)})
    for mine, theirs in zip(search([hunted], ONE, tools)[0], search([hunted], ONE, other)[0], strict=True):
        assert torch.equal(mine.ws, theirs.ws) and not torch.equal(mine.cosines("judge"), theirs.cosines("judge"))


@pytest.mark.parametrize("name", [*ATTACKERS])
def test_every_attacker_finds_the_person_in_the_untouched_generator_alone(hunted, tools, name):
    attacker = ATTACKERS[name]
    wide_only = attacker.settings.steps_w == 0
    settings = replace(QUICK, steps_w=0 if wide_only else 60)
    attacker, tools = replace(attacker, settings=settings), replace(tools, encoder=GreyEncoder(hunted.student.w_avg))
    *_, found = search([hunted], attacker, tools)[0]
    *_, nothing = search([blind(hunted)], attacker, tools)[0]
    assert found.best("judge") > 0.85 > nothing.best("judge") and len(found.ws) == attacker.starts


def test_people_in_one_batch_get_what_each_gets_alone(hunted, tools, generator):
    w = generator.sample(1, torch.Generator().manual_seed(12))
    second, third = Hunted(generator, generator.picture(w), w), blind(hunted)
    together = search([hunted, third, second], ONE, tools)
    for person, spaces in zip((hunted, third, second), together, strict=True):
        for alone, found in zip(search([person], ONE, tools)[0], spaces, strict=True):
            assert torch.allclose(alone.ws, found.ws, atol=1e-3) and alone.looks == found.looks
            assert torch.allclose(alone.cosines("judge"), found.cosines("judge"), atol=1e-3)


def test_the_curve_counts_every_start_and_ends_with_what_was_found(hunted, tools):
    in_w, _ = search([hunted], ONE, tools, look_every=25)[0]
    assert [steps for steps, _ in in_w.curve("judge")] == [50, 100, 120]
    assert in_w.curve("judge")[-1][1] == in_w.best("judge") > in_w.curve("judge")[0][1]


def test_a_search_may_end_when_the_judges_are_satisfied(hunted, tools):
    (only,) = search([hunted], ONE, tools, look_every=5, stop_at={"judge": 0.6, "second": 0.6})[0]
    assert only.steps < 120 and min(only.cosines("judge").max(), only.cosines("second").max()) >= 0.6
    whole = search([hunted], ONE, tools, stop_at={"judge": -1.0, "second": 1.1})[0]  # whom only one of them accepts
    assert [found.steps for found in whole] == [120, 120]
    spaces = search([hunted, blind(hunted)], ONE, tools, look_every=5, stop_at={"judge": 0.999})
    assert [len(found) for found in spaces][1] == 2 and spaces[1][1].steps == 120


def test_a_batch_ends_when_everybody_in_it_is_found(hunted, tools):
    photo = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1  # whom nobody draws
    (alone,) = search([replace(hunted, photo=photo)], ONE, tools)
    limit = max(cosine for found in alone for _, cosine in found.curve("judge")) + 0.01
    first, second = search([hunted, replace(hunted, photo=photo)], ONE, tools, stop_at={"judge": limit})
    assert first[0].curve("judge")[0][1] > limit and [found.steps for found in first + second] == [120] * 4


def test_starts_are_where_they_are_said_to_be(hunted, generator):
    mean, random, again = (
        starting_points(hunted, Attacker(start, starts=3, seed=seed))
        for start, seed in (("mean", 0), ("random", 0), ("random", 1))
    )
    assert torch.equal(mean[:1], generator.w_avg) and not torch.equal(random, again)
    assert not torch.equal(random[:1], generator.w_avg) and len(mean) == len(random) == 3
    assert len({tuple(code.flatten().tolist()) for code in mean}) == 3  # no two are the same
    assert torch.equal(starting_points(hunted, Attacker("erased", starts=1)), hunted.w_u)
    assert torch.allclose(starting_points(hunted, Attacker("reflected", starts=1)), hunted.w_u, atol=1e-6)
    encoder = GreyEncoder(generator.w_avg)
    assert torch.equal(starting_points(hunted, Attacker("encoder", starts=1), encoder), encoder(hunted.photo))


def test_a_likely_code_is_nearer_to_what_the_generator_draws_by_itself(hunted, tools):
    photo = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1  # no face of this generator
    person = replace(hunted, photo=photo)
    far, near = (search([person], replace(ONE, likelihood=w), tools)[0][1].unlikelihood for w in (0.0, 1.0))
    assert near.max() < far.min()
    samples = hunted.student.sample(2000, torch.Generator().manual_seed(3))
    assert (tools.likelihood.distance(samples) <= tools.likelihood.usual).float().mean() == pytest.approx(
        0.95, abs=0.02
    )
    assert tools.likelihood.penalty(samples).mean().item() == pytest.approx(1, abs=0.15)


def test_the_half_that_the_attacker_lacks_does_not_count(hunted, tools):
    half = replace(ONE, half="left")
    spoilt = hunted.photo.clone()
    spoilt[..., 8:] = 0.3
    for whole, other in zip(
        *(search([replace(hunted, photo=p)], half, tools)[0] for p in (hunted.photo, spoilt)), strict=True
    ):
        assert torch.equal(whole.ws, other.ws) and torch.allclose(whole.own, other.own)
        assert whole.best("judge") > other.best("judge")
    assert half_of(torch.ones(1, 3, 4, 6), "right").sum() == 3 * 4 * 3
    assert half_of(torch.ones(1, 3, 4, 6), "lower").sum() == 3 * 2 * 6


def found_of(ws, cosines) -> Found:
    return Found(
        "W",
        ws,
        [1],
        {"judge": torch.tensor([cosines])},
        torch.tensor([0.3, 0.9, 0.1]),
        None,
        None,
        None,
        3,
        1.0,
        [0, 1, 2],
    )


def test_recoveries_are_accepted_and_apart():
    unit = scale_to_rows(1.0, 3)
    ws = torch.zeros(3, 3, 6)
    ws[1, 0, 0], ws[2, 0, 0] = 10 * unit, 20 * unit
    assert found_of(ws, [0.8, 0.9, 0.85]).recoveries("judge", 0.7, apart=15.0) == 1  # all near the best, in the middle
    assert found_of(ws, [0.8, 0.75, 0.85]).recoveries("judge", 0.7, apart=15.0) == 2
    assert found_of(ws, [0.8, 0.9, 0.85]).recoveries("judge", 0.82, apart=9.0) == 2
    assert found_of(ws, [0.8, 0.9, 0.85]).recoveries("judge", 0.95) == 0
    assert found_of(ws, [0.8, 0.7, 0.85]).kept("judge") == pytest.approx(0.7)


def test_the_distance_is_from_the_erased_latent_in_the_papers_scale(hunted, tools):
    still = replace(
        ONE, start="erased", starts=1, settings=replace(QUICK, steps_w=1, steps_w_plus=0, learning_rate=0.0)
    )
    assert search([hunted], still, tools)[0][0].distance.item() == 0
    shifted = replace(hunted, w_t=2 * hunted.student.w_avg - hunted.w_u - 1)
    moved = search([shifted], replace(still, start="reflected"), tools)[0][0]
    assert moved.distance.item() == pytest.approx((18**0.5) / scale_to_rows(1.0, 3), rel=1e-4)


def test_controls_tell_a_hole_from_a_search_that_finds_nobody(hunted, tools, generator):
    """A blind generator shows nobody, so nothing is withheld of this person alone; excess is near 0 in both ways."""
    strangers = strangers_of(generator, 2)
    open_ = search_beside(hunted, generator, strangers, ONE, tools)
    assert len(open_.strangers) == 2 and [line.space for line in open_.lines("judge")] == ["W", "W+"]
    for line in open_.lines("judge"):
        assert line.withheld == 0 and abs(line.excess) < 0.1
    for photo, (in_w, _) in zip(strangers.split(1), open_.strangers, strict=True):  # each is sought by their own photo
        cosines = F.cosine_similarity(JUDGE.embed(generator.picture(in_w.ws)), JUDGE.embed(photo))
        assert torch.allclose(in_w.cosines("judge"), cosines, atol=1e-5)
    closed = search_beside(blind(hunted), generator, strangers, ONE, tools)
    for line in closed.lines("judge"):
        assert line.withheld > 0.2 and line.strangers < 0.8
        assert line.excess == pytest.approx(line.best - line.strangers) != line.best - line.untouched
    one, two = (closed.strangers[k][0].best("judge") for k in (0, 1))
    assert closed.lines("judge")[0].strangers == pytest.approx((one + two) / 2)
    narrow = search_beside(replace(hunted, student=Bent(hunted.w_u, 0.5)), generator, strangers, ONE, tools)
    assert isinstance(narrow, Beside) and narrow.untouched[0].best("judge") == open_.untouched[0].best("judge")


def test_strangers_are_nobody_who_is_erased_and_differ_from_person_to_person(generator):
    first, second = (strangers_of(generator, 2, name) for name in ("0", "1"))
    assert first.shape == (2, 3, 16, 16) and not torch.equal(first, second)
    assert torch.equal(first, strangers_of(generator, 2, "0"))


def test_a_row_is_plain_numbers_and_says_what_it_cost(hunted, tools):
    row = search([hunted], ONE, tools)[0][0].row({"judge": 0.7})
    assert row["steps"] == 120 and row["looks"] == [20, 40, 60] and len(row["own"]) == len(row["distance"]) == 2
    assert row["judge"]["recoveries"] >= 1 and "recoveries" not in row["second"]
    assert len(row["judge"]["seen"]) == 3 and row["judge"]["best"] == max(row["judge"]["seen"][-1])
    bare = search([replace(hunted, w_u=None)], ONE, replace(tools, likelihood=None))[0][0].row({})
    assert bare["distance"] is bare["unlikelihood"] is bare["usual"] is None


def test_reinversion_is_the_attacker_with_the_defenders_networks(hunted, tools):
    found = reinvert(
        hunted.student, hunted.photo, perceptual=LPIPS, embedder=EMBEDDER, judge=JUDGE, settings=QUICK, starts=2
    )
    for mine, theirs in zip(found, search([hunted], ONE, tools)[0], strict=True):
        assert torch.equal(mine.ws, theirs.ws) and mine.steps == theirs.steps
        assert torch.allclose(mine.cosines, theirs.cosines("judge"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"start": "nowhere"}, "There is no start 'nowhere'; choose one of: mean, random"),
        ({"start": "encoder"}, "The start 'encoder' needs an encoder, which is not known here"),
        ({"start": "reflected"}, "The start 'reflected' needs the target"),
        ({"start": "erased"}, "The start 'erased' needs the erased latent"),
        ({"half": "inner"}, "There is no half 'inner'; choose one of: left, right, upper, lower"),
        ({"embedder": "mine"}, "There is no recogniser 'mine'; choose one of: own, mobilefacenet"),
        ({"perceptual": "eye"}, "There is no perceptual network 'eye'; choose one of: own, vgg"),
    ],
)
def test_what_an_attacker_lacks_is_said(hunted, tools, changes, message):
    with pytest.raises(GuideError, match=message):
        search([replace(hunted, w_u=None, w_t=None)], replace(ONE, **changes), tools)
    with pytest.raises(GuideError, match="pass likelihood_of"):
        search([hunted], replace(ONE, likelihood=1.0), replace(tools, likelihood=None))
