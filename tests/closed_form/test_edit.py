"""The algebra of erasing in closed form against its definition: maps written out as matrices, explicit loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TinyGenerator

from guide_lib.closed_form import Erasure, compose, erase, forgetful, population_moment, weighted_metric
from guide_lib.errors import GuideError
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.generators.mobile import MobileStyleGAN
from guide_lib.generators.stylegan2 import initialise
from guide_lib.generators.stylegan2_ffhq import StyleGAN2, StyleGAN2Config
from guide_lib.generators.volume import Sampling

D = 7
few = settings(max_examples=25)
seeds = st.integers(0, 10_000)
people = st.integers(1, 4)


class Case:
    """K random people of W+, their targets, a mean and a metric, in double precision."""

    def __init__(self, seed: int, count: int, rows: int = 3) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        self.w_avg = self.draw(1, 1).expand(1, rows, D)
        self.w_u, self.w_t = self.draw(count, rows), self.draw(count, rows)
        factor = torch.randn(40, D, generator=self.rng, dtype=torch.float64)
        self.metric = factor.T @ factor / 40

    def draw(self, count: int, rows: int) -> torch.Tensor:
        return torch.randn(count, rows, D, generator=self.rng, dtype=torch.float64)

    def erased(self, **options) -> Erasure:
        return erase(self.w_u, self.w_t, self.w_avg, self.metric, **options)


def matrix(erasure: Erasure, row: int) -> torch.Tensor:
    """P = I + sum_k (t_k - v_k) s_k^T of one row."""
    total = torch.eye(D, dtype=torch.float64)
    for v, t, s in zip(erasure.v[:, row], erasure.t[:, row], erasure.s[:, row], strict=True):
        total = total + torch.outer(t - v, s)
    return total


def close(a: torch.Tensor, b: torch.Tensor, bound: float = 1e-8) -> None:
    assert (a - b).abs().max() <= bound * (1 + b.abs().max())


@few
@given(seeds, people)
def test_everybody_who_is_erased_arrives_at_their_target(seed, count):
    case = Case(seed, count)
    erasure = case.erased(way_back=True)
    close(erasure.move(case.w_u, case.w_avg), case.w_t)
    close(erasure.targets(case.w_avg), case.w_t)


@few
@given(seeds, people)
def test_the_map_is_affine_around_the_mean_row_by_row(seed, count):
    case = Case(seed, count)
    erasure, ws = case.erased(), case.draw(5, 3)
    for row in range(3):
        mean = case.w_avg[0, row]
        expected = mean + (ws[:, row] - mean) @ matrix(erasure, row).T
        close(erasure.move(ws, case.w_avg)[:, row], expected)


@few
@given(seeds, people)
def test_without_a_way_back_as_many_ranks_are_lost_as_people(seed, count):
    case = Case(seed, count)
    erasure = case.erased()
    close(erasure.move(case.w_u, case.w_avg), erasure.targets(case.w_avg))
    for row in range(3):
        singular = torch.linalg.svdvals(matrix(erasure, row))
        assert singular[D - count] < 1e-8 * singular[0] and singular[D - count - 1] > 1e-6 * singular[0]
        assert torch.linalg.matrix_rank(matrix(case.erased(way_back=True), row)) == D
        # what is read in every possible picture is 0: c(M(w)) = 0
        moved = erasure.move(case.draw(5, 3), case.w_avg)
        close(erasure.coefficients(moved, case.w_avg), torch.zeros(()))


@few
@given(seeds)
def test_a_row_whose_target_is_on_the_persons_line_keeps_its_way_back(seed):
    """It would become the mean face."""
    case = Case(seed, 2)
    case.w_t[0, 1] = case.w_avg[0, 1] - 1.5 * (case.w_u - case.w_avg)[0, 1]
    targets = case.erased().targets(case.w_avg)
    close(targets[0, 1], case.w_t[0, 1])
    open_, closed = case.erased(way_back=True).s, targets - case.w_avg
    others = torch.einsum("krd,lrd->klr", closed, open_)
    close(others[1], torch.zeros(()))
    close(others[0, :, [0, 2]], torch.zeros(()))


@few
@given(seeds, people)
def test_no_other_reader_moves_the_population_less(seed, count):
    """E c^2 = s^T B s is the least of all S with S^T V = I, so a step to any other such S makes it larger."""
    case = Case(seed, count)
    erasure = case.erased()
    for row in range(3):
        s, v = erasure.s[:, row], erasure.v[:, row]
        close(s @ v.T, torch.eye(count, dtype=torch.float64))
        other = torch.randn(count, D, generator=case.rng, dtype=torch.float64)
        other = other - other @ torch.linalg.pinv(v) @ v  # reads 0 in everybody who is erased
        for k in range(count):
            assert (s[k] + other[k]) @ case.metric @ (s[k] + other[k]) > s[k] @ case.metric @ s[k]


@few
@given(seeds)
def test_one_person_is_the_known_rank_one_edit(seed):
    case = Case(seed, 1)
    toward = torch.linalg.inv(case.metric) @ (case.w_u - case.w_avg)[0, 1]
    close(case.erased().s[0, 1], toward / ((case.w_u - case.w_avg)[0, 1] @ toward))


@few
@given(seeds, people)
def test_rows_that_are_not_edited_stay(seed, count):
    case = Case(seed, count)
    ws = torch.cat([case.w_u, case.draw(3, 3)])
    moved = case.erased(rows=[0, 2]).move(ws, case.w_avg)
    assert torch.equal(moved[:, 1], ws[:, 1])
    close(moved[:, [0, 2]], case.erased().move(ws, case.w_avg)[:, [0, 2]])


@few
@given(seeds, st.lists(people, min_size=1, max_size=4))
def test_one_after_another_is_the_composition_of_the_maps(seed, counts):
    erasures = [Case(seed, 1).erased()]
    case = Case(seed, 1)
    for count in counts:
        case.w_u, case.w_t = case.draw(count, 3), case.draw(count, 3)
        erasures.append(case.erased())
    ws, moved = case.draw(5, 3), None
    moved = ws
    for erasure in reversed(erasures):
        moved = erasure.move(moved, case.w_avg)
    moves, readers = compose(erasures)
    once = ws + torch.einsum("nkr,krd->nrd", torch.einsum("krd,nrd->nkr", readers, ws - case.w_avg), moves)
    close(once, moved)


@few
@given(seeds)
def test_an_erasure_with_a_way_back_is_undone_by_its_inverse(seed):
    """P has an inverse, which takes everybody to where they were."""
    case = Case(seed, 2)
    erasure, ws = case.erased(way_back=True), case.draw(5, 3)
    moved = erasure.move(ws, case.w_avg)
    for row in range(3):
        mean = case.w_avg[0, row]
        close(mean + torch.linalg.solve(matrix(erasure, row), (moved[:, row] - mean).T).T, ws[:, row], 1e-6)


@few
@given(seeds)
def test_several_photos_of_one_person_go_to_one_target(seed):
    case = Case(seed, 3)
    case.w_t = case.w_t[:1]
    close(case.erased(way_back=True).move(case.w_u, case.w_avg), case.w_t.expand(3, -1, -1))


def test_people_who_cannot_be_told_apart_are_refused():
    case = Case(0, 2)
    case.w_u[1] = case.w_u[0]
    with pytest.raises(GuideError, match="same latent"):
        case.erased()
    case.w_u = case.w_avg.clone()
    case.w_t = case.w_t[:1]
    with pytest.raises(GuideError, match="mean face"):
        case.erased()
    case.w_u = case.w_u[:0]
    with pytest.raises(GuideError, match="nobody"):
        case.erased()


# ---------------------------------------------------------------------------------------------------------
# Written into generators


def tiny_stylegan2() -> StyleGAN2:
    network = StyleGAN2(StyleGAN2Config(32, z_dim=6, w_dim=8, mapping_layers=3, channel_base=128, channel_max=8))
    rng = torch.Generator().manual_seed(1)
    initialise(network, rng)
    network.backbone.mapping.w_avg.copy_(0.3 * torch.randn(8, generator=rng))
    for name, parameter in network.named_parameters():
        if name.endswith("affine.bias"):  # released ones are not all 1
            parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=rng))
    return network.requires_grad_(False).eval()


def tiny_eg3d() -> EG3D:
    config = EG3DConfig(
        z_dim=8, w_dim=8, plane_size=16, plane_channels=4, channel_base=128, channel_max=8, render_size=8,
        enlarge_from=8, enlarge_widths=(8, 4), sampling=Sampling(coarse=6, fine=6),
    )  # fmt: skip
    return EG3D.random(config, torch.Generator().manual_seed(1))


def tiny_mobilestylegan() -> MobileStyleGAN:
    """Its own sizes, random weights, at 128 px."""
    network, rng = MobileStyleGAN(128), torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        fan_in = parameter.shape[1] if parameter.ndim == 2 else 1  # convolutions carry their own gain
        parameter.data = torch.randn(parameter.shape, generator=rng) / fan_in**0.5
        if name.endswith("modulation.bias"):
            parameter.data += 1
    for buffer in network.buffers():
        buffer.copy_(0.1 * torch.randn(buffer.shape[-1:], generator=rng).expand_as(buffer))
    return network.requires_grad_(False).eval()


MAKERS = {"tiny": TinyGenerator, "stylegan2": tiny_stylegan2, "eg3d": tiny_eg3d, "mobilestylegan": tiny_mobilestylegan}
every = pytest.mark.parametrize("name", list(MAKERS))
small = pytest.mark.parametrize("name", ["tiny", "stylegan2"])


@pytest.fixture
def generator(name):
    return MAKERS[name]()


def codes(generator, count: int, seed: int) -> torch.Tensor:
    """W+ codes: every row another mapped sample."""
    ws = generator.sample(count * generator.rows, torch.Generator().manual_seed(seed))
    return ws[:, 0].view(count, generator.rows, -1).contiguous()


def two_erasures(generator) -> list[Erasure]:
    metric = weighted_metric(population_moment(generator, 200))
    one, two = (codes(generator, count, seed) for count, seed in ((1, 1), (2, 2)))
    return [
        erase(one, codes(generator, 1, 3), generator.w_avg, metric, way_back=True),
        erase(two, codes(generator, 2, 4), generator.w_avg, metric),
    ]


def assert_draws(student, ws, generator, moved) -> None:
    for view in generator.judging_views()[:2]:
        found, expected = student.picture(ws, view), generator.picture(moved.to(ws), view)
        assert (found - expected).abs().max() <= 1e-5 * max(1.0, expected.abs().max().item())


@every
def test_the_student_draws_what_the_generator_draws_at_the_moved_latent(generator):
    first, second = two_erasures(generator)
    student, ws = forgetful(generator, [first, second]), codes(generator, 3, 5)
    moved = first.move(second.move(ws, generator.w_avg), generator.w_avg)
    assert (generator.picture(moved.to(ws)) - generator.picture(ws)).abs().max() > 1e-2
    assert_draws(student, ws, generator, moved)


@every
def test_the_erased_person_is_drawn_as_the_target(generator):
    metric = torch.eye(generator.w_dim, dtype=torch.float64)
    w_u, w_t = codes(generator, 1, 1), codes(generator, 1, 3)
    student = forgetful(generator, [erase(w_u, w_t, generator.w_avg, metric, way_back=True)])
    assert_draws(student, w_u, generator, w_t)


@small
def test_a_student_forgets_again_as_a_generator_would(generator):
    first, second = two_erasures(generator)
    together, ws = forgetful(generator, [first, second]), codes(generator, 3, 5)
    again = forgetful(forgetful(generator, [first]), [second])
    assert (together.picture(ws) - again.picture(ws)).abs().max() <= 1e-5 * max(1.0, together.picture(ws).abs().max())


@small
def test_each_person_can_be_brought_back_alone_whatever_came_after(generator):
    first, second = two_erasures(generator)
    erasures, ws = {"first": first, "second": second}, codes(generator, 3, 5)
    for name, left in (("first", second), ("second", first)):
        kept = [erasure for other, erasure in erasures.items() if other != name]
        assert_draws(forgetful(generator, kept), ws, generator, left.move(ws, generator.w_avg))
    restored = forgetful(generator, [])
    assert all(torch.equal(x, restored.state_dict()[name]) for name, x in generator.state_dict().items())


@every
def test_only_style_layers_change_and_the_generator_does_not(generator):
    before = {name: x.clone() for name, x in generator.state_dict().items()}
    student = forgetful(generator, two_erasures(generator))
    assert all(torch.equal(before[name], x) for name, x in generator.state_dict().items())
    changed = {name for name, x in student.state_dict().items() if not torch.equal(before[name], x)}
    styles = {f"{name}.{part}" for name in student.style_layers() for part in ("weight", "bias")}
    assert changed == ({"backbone.weight", "backbone.bias"} if isinstance(generator, TinyGenerator) else styles)
    assert changed and {n for n, p in student.named_parameters() if p.requires_grad} == set(
        student.trainable_parameters()
    )


@every
def test_the_drawn_rows_are_those_that_the_picture_depends_on(generator):
    ws = codes(generator, 1, 1).requires_grad_(True)
    generator.picture(ws).sum().backward()
    seen = ws.grad[0].abs().amax(1).nonzero().flatten().tolist()
    assert sorted(generator.drawn_rows()) == seen


# ---------------------------------------------------------------------------------------------------------
# The metric


def test_the_second_moment_is_that_of_the_samples():
    generator = TinyGenerator()
    found = population_moment(generator, 3500, seed=4)
    ws = generator.sample(3500, torch.Generator().manual_seed(4))[:, 0] - generator.w_avg[:, 0]
    expected = generator.mapper.weight.double() @ generator.mapper.weight.double().T
    assert found.shape == (6, 6) and (found - expected).abs().max() < 0.1 * expected.abs().max()
    assert (found.diagonal() - ws.double().square().mean(0)).abs().max() < 0.2 * found.diagonal().max()


def test_the_metric_adds_what_it_says():
    population = torch.diag(torch.tensor([1.0, 3.0])).double()
    assert weighted_metric(population, ridge=0.5).tolist() == [[2, 0], [0, 4]]
    assert torch.equal(weighted_metric(population), weighted_metric(population, 0.1))
