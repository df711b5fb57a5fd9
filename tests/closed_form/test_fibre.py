"""Identity coordinates against their definition, and what an eraser that reads them alone does to a person's fibre."""

import pytest
import torch
from tiny import TinyEmbedder, TinyGenerator

from guide_lib.closed_form import (
    coordinates_of,
    erase,
    fibre_metric,
    forgetful,
    identity_coordinates,
    metric_of,
    population_moment,
)


@pytest.fixture(scope="module")
def made():
    generator, embedder = TinyGenerator(), TinyEmbedder()
    population = population_moment(generator)
    return generator, embedder, population, identity_coordinates(generator, embedder, population, 2, probes=80)


def test_people_vary_by_one_in_each_coordinate_and_a_move_changes_its_own_alone(made):
    _, _, population, coordinates = made
    spread = coordinates.readers @ population @ coordinates.readers.T
    assert torch.allclose(spread, torch.eye(2, dtype=torch.float64), atol=5e-3)
    assert torch.allclose(coordinates.readers @ coordinates.moves.T, torch.eye(2, dtype=torch.float64), atol=1e-8)
    assert coordinates.shares[0] > coordinates.shares[1] > 0
    assert coordinates.shares.sum() <= 1


def test_the_first_coordinate_moves_the_embedding_more_than_a_direction_drawn_at_random(made):
    generator, embedder, population, coordinates = made
    people, root = generator.sample(64, torch.Generator().manual_seed(3)), torch.linalg.cholesky(population)
    rng = torch.Generator().manual_seed(4)
    anywhere = (root @ torch.nn.functional.normalize(torch.randn(6, 32, generator=rng).double(), dim=0)).T

    def moved(direction):
        with torch.no_grad():
            before, after = (embedder.embed(generator.picture(w)) for w in (people, people + 0.1 * direction.float()))
        return (after - before).norm(dim=1).mean()

    usual = torch.stack([moved(direction) for direction in anywhere]).mean()
    assert moved(coordinates.moves[0]) > 1.3 * usual


def test_a_fibre_has_the_persons_coordinates_and_is_the_others_apart_from_these(made):
    generator, _, population, coordinates = made
    person, others = (generator.sample(n, torch.Generator().manual_seed(n)) for n in (1, 5))
    fibre = coordinates.fibre(person, others, generator.w_avg)
    mean = generator.w_avg
    assert torch.allclose(coordinates.of(fibre, mean), coordinates.of(person, mean).expand(5, -1, -1), atol=1e-4)
    apart = (fibre - others).double()
    assert torch.allclose(apart, apart @ coordinates.readers.T @ coordinates.moves, atol=1e-4)


def test_who_is_erased_by_these_coordinates_is_gone_from_the_fibre_as_well(made):
    generator, _, population, coordinates = made
    person, others = (generator.sample(n, torch.Generator().manual_seed(n)) for n in (1, 40))
    fibre, mean = coordinates.fibre(person, others, generator.w_avg), generator.w_avg
    left = {}
    for name, metric in (("all", metric_of(generator)), ("fibre", fibre_metric(population, coordinates, 1e4))):
        erasure = erase(person, mean, mean, metric)
        read = erasure.coefficients(fibre, mean)[:, 0]
        left[name] = (1 - read).abs().mean()
        student = forgetful(generator, [erasure])
        assert torch.allclose(student.picture(person), generator.picture(mean), atol=1e-4)
    assert left["fibre"] < 0.05 < left["all"]


def test_coordinates_of_another_generator_are_found_not_loaded(made):
    generator, embedder, population, _ = made
    assert coordinates_of(generator, embedder, population).readers.shape == (6, 6)  # of six there are no 32
