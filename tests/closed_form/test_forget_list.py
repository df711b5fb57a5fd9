"""People erased at once, by name: who is on the list does not depend on the way there, and the list fits on a disk."""

import itertools

import pytest
import torch
from safetensors.torch import save_file
from tiny import TinyGenerator

from guide_lib.closed_form import ForgetList, erase, forgetful, metric_of
from guide_lib.errors import GuideError
from guide_lib.generators.mobile import MobileStyleGAN

GENERATOR = TinyGenerator()
METRIC = torch.eye(6, dtype=torch.float64)
NAMES = ("ada", "ben", "eve")


def opposite(w: torch.Tensor) -> torch.Tensor:
    """A target on the person's own line keeps its place whoever else is on the list."""
    return GENERATOR.w_avg - 2 * (w - GENERATOR.w_avg)


WS = {name: GENERATOR.sample(1, torch.Generator().manual_seed(k)) for k, name in enumerate(NAMES)}
WS = {name: torch.cat([w, opposite(w)]) for name, w in WS.items()}  # person and target


def listed(names) -> ForgetList:
    people = ForgetList(GENERATOR, METRIC)
    for name in names:
        people.add(name, WS[name][:1], WS[name][1:])
    return people


def pictures(people: ForgetList) -> torch.Tensor:
    return people.student().picture(torch.cat([*WS.values(), GENERATOR.sample(3, torch.Generator().manual_seed(9))]))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 1e-5)


def test_everybody_arrives_at_their_target_whoever_else_is_on_the_list():
    student = listed(NAMES).student()
    for person in WS.values():
        assert close(student.picture(person[:1]), GENERATOR.picture(person[1:]))


@pytest.mark.parametrize("order", list(itertools.permutations(NAMES)))
def test_neither_the_order_of_adding_nor_that_of_removing_matters(order):
    people = listed(order)
    assert close(pictures(people), pictures(listed(NAMES)))
    left = list(NAMES)
    for name in order:
        people.remove(name)
        left.remove(name)
        assert list(people) == [other for other in order if other in left] and len(people) == len(left)
        assert close(pictures(people), pictures(listed(left)))
    assert people.student() is GENERATOR  # to the last bit


def test_several_are_added_in_one_solution():
    people = ForgetList(GENERATOR, METRIC)
    people.add_all({name: (WS[name][:1], WS[name][1:]) for name in NAMES})
    assert list(people) == list(NAMES) and close(pictures(people), pictures(listed(NAMES)))


def test_without_somebody_leaves_the_list_as_it_is():
    people = listed(NAMES)
    assert close(pictures(people.without("ben")), pictures(listed(("ada", "eve"))))
    assert list(people) == list(NAMES) and close(pictures(people), pictures(listed(NAMES)))
    assert list(people.without("nobody")) == list(NAMES)


def test_several_photos_are_one_person():
    people, photos = ForgetList(GENERATOR, METRIC), torch.cat([WS["ada"][:1], WS["ben"][:1]])
    people.add("ada", photos, WS["eve"][:1])
    alone = forgetful(GENERATOR, [erase(photos, WS["eve"][:1], GENERATOR.w_avg, METRIC)])
    assert list(people) == ["ada"] and close(pictures(people), alone.picture(torch.cat([*WS.values(), *[
        GENERATOR.sample(3, torch.Generator().manual_seed(9))]])))  # fmt: skip
    people.remove("ada")
    assert not people.people


def test_the_target_is_what_is_drawn():
    people = ForgetList(GENERATOR, METRIC)
    people.add("ada", torch.cat([WS["ada"][:1], WS["ben"][:1]]), WS["ben"][1:])
    people.add("eve", WS["eve"][:1], WS["ada"][1:] + 0.3)
    for name in people:
        assert close(people.student().picture(people.people[name].w_u[:1]), GENERATOR.picture(people.target(name)))


def test_who_cannot_be_added_leaves_the_list_as_it_was():
    people = listed(NAMES)
    before = pictures(people)
    with pytest.raises(GuideError, match="'ada' is forgotten already"):
        people.add("ada", WS["ben"][1:], WS["ben"][:1])
    with pytest.raises(GuideError, match="same latent"):
        people.add("ada's twin", WS["ada"][:1], WS["ben"][:1])
    with pytest.raises(GuideError, match=r"'zoe' is not among the forgotten \(ada, ben, eve\)"):
        people.remove("zoe")
    assert list(people) == list(NAMES) and close(pictures(people), before)


def test_a_list_is_kept_with_the_kind_of_its_metric(tmp_path):
    people = ForgetList(GENERATOR, METRIC, fibre=True)
    people.add("ada", torch.cat([WS["ada"][:1], WS["ben"][:1]]), WS["ben"][1:])
    people.add("Zoë\n2", WS["eve"][:1], WS["ben"][:1] * torch.linspace(1, 2, 3)[None, :, None])  # a target of W+
    people.save(tmp_path / "list")
    found = ForgetList.load(tmp_path / "list", GENERATOR, lambda: METRIC)
    assert list(found) == ["ada", "Zoë\n2"] and close(pictures(found), pictures(people))
    assert found.fibre and found.without("ada").fibre and found.upon(GENERATOR).fibre
    with pytest.raises(GuideError, match="erased with their fibre"):
        ForgetList.load(tmp_path / "list", GENERATOR)
    usual = people.solved_in(metric_of(GENERATOR))
    assert not usual.fibre and not close(pictures(usual), pictures(people))
    usual.save(tmp_path / "list")
    found = ForgetList.load(tmp_path / "list", GENERATOR, lambda: pytest.fail("not needed"))
    assert close(pictures(found), pictures(usual))


def test_a_person_of_w_takes_four_kilobytes(tmp_path):
    generator = MobileStyleGAN(128)
    people = ForgetList(generator, torch.eye(512, dtype=torch.float64))
    people.add("one", torch.randn(1, 1, 512).expand(1, 23, 512), torch.randn(1, 1, 512).expand(1, 23, 512))
    people.save(tmp_path / "list")
    assert (tmp_path / "list").stat().st_size < 2 * 512 * 4 + 1000


def test_the_list_of_another_generator_is_refused(tmp_path):
    path = tmp_path / "list"
    listed(NAMES).save(path)
    with pytest.raises(GuideError, match="of this generator"):
        ForgetList.load(path, TinyGenerator(seed=5))
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(GuideError, match="of this generator"):
        ForgetList.load(path, GENERATOR)
    ForgetList(GENERATOR).save(path)
    assert not ForgetList.load(path, GENERATOR).people
