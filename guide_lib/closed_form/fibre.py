"""Who somebody is, apart from how they are drawn: a few coordinates of w hold identity, the rest hair, light and pose.

>>> from guide_lib.closed_form import population_moment
>>> population = population_moment(generator)
>>> coordinates = identity_coordinates(generator, embedder, population, count=2, probes=40)
>>> others = generator.sample(3, rng)
>>> same_person = coordinates.fibre(w_u, others, generator.w_avg)        # the person, in these three people's pictures
>>> read = coordinates.of(same_person, generator.w_avg)
>>> torch.allclose(read, coordinates.of(w_u, generator.w_avg).expand_as(read), atol=1e-3)
True

An erasure moves one latent, but a person is drawn at a whole fibre of them: at all that agree in these coordinates. The
reader of `guide_lib.closed_form.edit` looks at every direction of W, and so it sees little of w_u where all but the
identity was drawn anew. In `fibre_metric` it looks at the identity alone, and the fibre goes with w_u.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from safetensors.torch import load_file
from torch import Tensor

from guide_lib.assets import shipped
from guide_lib.closed_form.metric import weighted_metric
from guide_lib.generators import Generator
from guide_lib.perception.identity import Embedder

FILE = "mobilestylegan-ffhq-identity.safetensors"
COUNT = 32  # coordinates, of 512: with these alone a judge still knows most people
PROBES, PROBE_SEED, PROBES_AT_ONCE = 480, 31_337, 4
FLOOR = 1e-3  # of the mean variance: directions in which nobody differs read nothing
WEIGHT = 16.0  # of what varies within a fibre, against what varies between people; data/results/fibre.md has others


@dataclass(frozen=True)
class IdentityCoordinates:
    """K linear readings of w, those that matter most to a recogniser first; in each people vary by 1.

    readers: R [K, w_dim]; the coordinates of w are R (w - mu). moves: [K, w_dim]; move k adds 1 to coordinate k and
    nothing to the others. shares: [K], of what the recogniser sees of people's differences. All in double precision.
    """

    readers: Tensor
    moves: Tensor
    shares: Tensor

    def of(self, ws: Tensor, w_avg: Tensor) -> Tensor:
        """[N, rows, K] of ws [N, rows, w_dim], row by row."""
        return (ws - w_avg).detach().cpu().double() @ self.readers.T

    def fibre(self, w_u: Tensor, others: Tensor, w_avg: Tensor) -> Tensor:
        """Latents of the person of w_u [1, rows, w_dim] that are like others [N, rows, w_dim] in all else."""
        missing = self.of(w_u, w_avg) - self.of(others, w_avg)
        return others + (missing @ self.moves).to(others)


def identity_coordinates(
    generator: Generator, embedder: Embedder, population: Tensor, count: int = COUNT, probes: int = PROBES
) -> IdentityCoordinates:
    """Find them for a generator: 480 probes of the embedding's gradient take a minute or two on a laptop.

    With J the Jacobian of the embedding by w, H = E J^T J says how far the embedding moves with w and S, `population`
    [w_dim, w_dim], how far people do: coordinates are the eigenvectors of H in the metric S^-1, by their eigenvalues.
    One probe u ~ N(0, I) at a drawn person gives J^T u, and H is the mean of its squares.
    """
    rng, total = torch.Generator().manual_seed(PROBE_SEED), torch.zeros_like(population)
    for start in range(0, probes, PROBES_AT_ONCE):
        w = generator.sample(min(PROBES_AT_ONCE, probes - start), rng)[:, :1].requires_grad_()
        embedding = embedder.embed(generator.picture(w.expand(-1, generator.rows, -1)))
        probe = torch.randn(embedding.shape, generator=rng).to(embedding)
        gradient = torch.autograd.grad((embedding * probe).sum(), w)[0][:, 0].cpu().double()
        total += gradient.T @ gradient / probes
    root = torch.linalg.cholesky(weighted_metric(population, FLOOR))
    values, vectors = torch.linalg.eigh(root.T @ total @ root)
    vectors = vectors.flip(1)[:, :count]
    readers = torch.linalg.solve_triangular(root.T, vectors, upper=True).T
    return IdentityCoordinates(readers, (root @ vectors).T.contiguous(), values.flip(0)[:count] / values.sum())


def coordinates_of(generator: Generator, embedder: Embedder, population: Tensor) -> IdentityCoordinates:
    """The shipped ones for `mobilestylegan-ffhq`, by SFace (data/recipes/fibre.py); those of any other are found."""
    stored = load_file(shipped(FILE))
    if torch.equal(stored.pop("w_avg"), generator.w_avg[0, 0].cpu()):
        return IdentityCoordinates(**{name: tensor.double() for name, tensor in stored.items()})
    return identity_coordinates(generator, embedder, population)


def fibre_metric(population: Tensor, coordinates: IdentityCoordinates, weight: float = WEIGHT) -> Tensor:
    """B for `erase`, in which a reading that varies within a fibre costs `weight` times as much as one between people.

    B = S + weight (S - M^T M), M the moves: what people differ in, less what their identities do. weight = 0 is S
    itself. The larger it is, the more of the fibre is erased; others pay for it, since fewer directions are left in
    which to tell them from the person.

    >>> from guide_lib.closed_form import erase, population_moment
    >>> population = population_moment(generator)
    >>> coordinates = identity_coordinates(generator, embedder, population, count=2, probes=40)
    >>> mean, metrics = generator.w_avg, [fibre_metric(population, coordinates, weight) for weight in (0, 99)]
    >>> fibre = coordinates.fibre(w_u, generator.sample(50, rng), mean)
    >>> [round(erase(w_u, w_t, mean, metric).coefficients(fibre, mean).std().item(), 1) for metric in metrics]
    [0.3, 0.1]
    """
    usual = weighted_metric(population, FLOOR)
    return usual + weight * (usual - coordinates.moves.T @ coordinates.moves)
