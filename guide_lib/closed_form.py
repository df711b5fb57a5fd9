"""Forget at once: a person is erased by solving for the style layers' weights, without training.

>>> erasure = erase(w_u, w_t, generator.w_avg, metric_of(generator))     # K people, or K photos of one, at once
>>> student = forgetful(generator, [erasure])                            # a generator like any other
>>> torch.allclose(student.picture(w_u), generator.picture(w_t), atol=1e-5)
True

Every style layer is linear in its row of W+, A w + b. A map M of the latent can therefore be written into the layer:

    M(w) = w + sum_k c_k(w) (t_k - v_k),  c_k(w) = s_k^T (w - mu),  v = w_u - mu,  t = w_t - mu,  mu = w_avg
    A' = A P,  b' = b + A (I - P) mu,  P = I + (T - V) S^T,  row by row

With S^T V = I every w_u,k is drawn as its w_t,k, exactly. Everybody else moves by c(w) (t - v); of all such S the one
that moves the population least is least squares, S^T = (V^T B^-1 V)^-1 V^T B^-1 in the metric B = E (w - mu)(w - mu)^T.
Rank-one editing of language models (ROME, Meng et al. 2022, arXiv 2202.05262), unified concept editing (UCE, Gandikota
et al. 2024, arXiv 2308.14761) and least-squares concept erasure (LEACE, Belrose et al. 2023, arXiv 2306.03819) solve
the same problem elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from guide_lib.checkpoint import load_tensors, save_tensors
from guide_lib.errors import GuideError
from guide_lib.generators import Generator

SAMPLES, SAMPLE_SEED = 20_000, 20_000  # of w for the second moment
PARTS = ("v", "t", "s")
WORST = 1e10  # entry of an inverted Gram matrix of unit diagonal: beyond it two latents are the same


@dataclass(frozen=True)
class Erasure:
    """One solution for K people, or K photos of one: each [K, rows, w_dim], in double precision, on the CPU.

    v, t: where they were and where they are sent, as seen from w_avg. s: reads how much of each is in a latent. In rows
    that are not edited all three are 0.
    """

    v: Tensor
    t: Tensor
    s: Tensor

    def coefficients(self, ws: Tensor, w_avg: Tensor) -> Tensor:
        """c_k(w) in every row, [N, K, rows], of ws [N, rows, w_dim]: 1 at w_u,k and 0 at the others that are erased."""
        return torch.einsum("krd,nrd->nkr", self.s, _doubled(ws - w_avg))

    def move(self, ws: Tensor, w_avg: Tensor) -> Tensor:
        """M(w) of ws [N, rows, w_dim], in double precision: what the untouched generator has to be given."""
        return _doubled(ws) + torch.einsum("nkr,krd->nrd", self.coefficients(ws, w_avg), self.t - self.v)

    def targets(self, w_avg: Tensor) -> Tensor:
        """The latents drawn instead, [K, rows, w_dim]; without a way back they are not quite those asked for."""
        return _doubled(w_avg) + self.t


def erase(
    w_u: Tensor,
    w_t: Tensor,
    w_avg: Tensor,
    metric: Tensor,
    *,
    way_back: bool = True,
    rows: Sequence[int] | None = None,
) -> Erasure:
    """Solve for K latents w_u [K, rows, w_dim] at once, each to be drawn as its w_t [K or 1, rows, w_dim].

    metric: B, [w_dim, w_dim]. Without a way back (`way_back=False`) every t loses what S reads in it: then S^T T = 0, P
    has lost K ranks, and there is no latent left that the style layers take for w_u. UFO's target needs the way back:
    it lies on the person's own line, and would become the mean face. rows: what to edit, all if None.

    Raises:
        GuideError: two of the latents are the same in a row, or one of them is the mean latent.
    """
    if not len(w_u):
        raise GuideError("There is nobody to erase; give at least one latent.")
    edited = list(range(w_u.shape[1]) if rows is None else rows)
    v, t, s = (w_u.new_zeros(w_u.shape, dtype=torch.float64, device="cpu") for _ in PARTS)
    v[:, edited], t[:, edited] = (_doubled(w - w_avg)[:, edited] for w in (w_u, w_t))
    toward = torch.linalg.solve(metric, v.flatten(0, 1).T).T.view_as(v)  # B^-1 v
    s[:, edited] = _readers(v[:, edited], toward[:, edited])
    if not way_back:
        t = t - torch.einsum("krd,lrd,lre->kre", t, s, v)
    return Erasure(v, t, s)


def _readers(v: Tensor, toward: Tensor) -> Tensor:
    """(V^T B^-1 V)^-1 V^T B^-1 of every row, from v and B^-1 v, each [K, rows, D]."""
    gram = torch.einsum("krd,lrd->rkl", v, toward)
    lengths = gram.diagonal(dim1=1, dim2=2).sqrt()
    products = lengths[:, :, None] * lengths[:, None, :]
    inverse, failed = torch.linalg.inv_ex(gram / products)  # cosines: how long a latent is must not matter
    if failed.any() or not inverse.abs().max() < WORST:
        raise GuideError("Two of the people have the same latent, or one of them is the mean face; leave that one out.")
    return torch.einsum("rkl,lrd->krd", inverse / products, toward)


def _doubled(x: Tensor) -> Tensor:
    return x.detach().cpu().double()


@torch.no_grad()
def forgetful(generator: Generator, erasures: Sequence[Erasure]) -> Generator:
    """A student that draws w as `generator` draws M_1(M_2(... M_n(w))): people erased one after another.

    Each erasure is solved for the generator as it was before all of them, so any one can be taken back: build again
    without it. An empty list gives the generator back, to the bit.

    >>> erasure = erase(w_u, w_t, generator.w_avg, metric_of(generator))
    >>> torch.equal(forgetful(generator, []).picture(w_u), generator.picture(w_u))
    True
    """
    student = generator.student()
    if not erasures:
        return student
    moves, readers = compose(erasures)
    mean = _doubled(generator.w_avg)[0]
    for layer in student.style_layers().values():
        move, reader = moves[:, layer.row], readers[:, layer.row]
        weight = _doubled(layer.weight)
        changed = weight @ move.T  # A (T - V), but for the gain
        layer.bias.sub_((layer.gain * changed @ (reader @ mean[layer.row])).to(layer.bias))
        layer.weight.copy_(weight + changed @ reader)
    return student


def compose(erasures: Sequence[Erasure]) -> tuple[Tensor, Tensor]:
    """Several maps as one: D and S [K_1 + ... + K_n, rows, w_dim] with M_1(... M_n(w)) = w + D S^T (w - mu).

    (I + D_1 S_1^T) (I + D_2 S_2^T) = I + [D_1, D_2 + D_1 (S_1^T D_2)] [S_1, S_2]^T.
    """
    first, *later = erasures
    moves, readers = first.t - first.v, first.s
    for erasure in later:
        move = erasure.t - erasure.v
        move = move + torch.einsum("krd,lrd,lre->kre", move, readers, moves)
        moves, readers = torch.cat([moves, move]), torch.cat([readers, erasure.s])
    return moves, readers


# ---------------------------------------------------------------------------------------------------------
# The metric


def weighted_metric(
    population: Tensor, within: Tensor | None = None, *, kappa: float = 0.0, ridge: float = 0.1
) -> Tensor:
    """B = S + kappa N + ridge * mean variance * I, [w_dim, w_dim].

    population: S, the second moment of w - mu. within: N, the covariance of what changes while the person stays (pose,
    expression, light, the inversion's error); it turns s away from such changes, as linear discriminant analysis does.
    """
    flat = ridge * population.diagonal().mean() * torch.eye(len(population), dtype=population.dtype)
    return population + flat + (0 if within is None else kappa * within)


def metric_of(generator: Generator, within: Tensor | None = None, *, kappa: float = 0.0, ridge: float = 0.1) -> Tensor:
    """The metric of a generator, from mapped samples; see `weighted_metric` for the rest."""
    return weighted_metric(population_moment(generator), within, kappa=kappa, ridge=ridge)


@torch.no_grad()
def population_moment(generator: Generator, count: int = SAMPLES, seed: int = SAMPLE_SEED) -> Tensor:
    """S = E (w - mu)(w - mu)^T over z ~ N(0, I), [w_dim, w_dim], from `count` mapped samples; about a second."""
    rng, total = torch.Generator().manual_seed(seed), 0
    for start in range(0, count, 1000):
        x = _doubled(generator.sample(min(1000, count - start), rng)[:, 0] - generator.w_avg[:, 0])
        total = total + x.T @ x
    return total / count


# ---------------------------------------------------------------------------------------------------------
# On disk: 6 KB a person whose rows are all the same


def save_erasures(path: Path, erasures: Mapping[str, Erasure], w_avg: Tensor) -> None:
    """Write erasures by name, in their order, in single precision; rows that are the same are written once.

    >>> erasure = erase(w_u, w_t, generator.w_avg, metric_of(generator))
    >>> save_erasures(tmp_path / "forgotten.safetensors", {"ada": erasure}, generator.w_avg)
    >>> list(load_erasures(tmp_path / "forgotten.safetensors", generator.w_avg))
    ['ada']
    """
    tensors = {}
    for index, erasure in enumerate(erasures.values()):
        stacked = torch.cat([getattr(erasure, part).float() for part in PARTS])
        distinct, row_of = stacked.unique(dim=1, return_inverse=True)
        tensors |= {f"{index}/{part}": x for part, x in zip(PARTS, distinct.chunk(len(PARTS)), strict=True)}
        tensors[f"{index}/row_of"] = row_of.to(torch.uint8)
    save_tensors(path, tensors, {"names": json.dumps(list(erasures)), "w_avg": _digest(w_avg)})


def load_erasures(path: Path, w_avg: Tensor) -> dict[str, Erasure]:
    """What `save_erasures` wrote, by name, in order. Raises GuideError: damaged, or made for another generator."""
    tensors, facts = load_tensors(path)
    if "names" not in facts or facts.get("w_avg") != _digest(w_avg):
        raise GuideError(f"{path} does not hold erasures of this generator; load the generator that they are for.")
    found = {}
    for index, name in enumerate(json.loads(facts["names"])):
        row_of = tensors[f"{index}/row_of"].long()
        found[name] = Erasure(*(tensors[f"{index}/{part}"][:, row_of].double() for part in PARTS))
    return found


def _digest(w_avg: Tensor) -> str:
    return hashlib.sha256(w_avg.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()[:16]
