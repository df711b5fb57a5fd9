"""Forget at once: a person is erased by solving for the style layers' weights, without training.

>>> from guide_lib.closed_form import metric_of
>>> erasure = erase(w_u, w_t, generator.w_avg, metric_of(generator))     # K people, or K photos of one, at once
>>> student = forgetful(generator, [erasure])                            # a generator like any other
>>> torch.allclose(student.picture(w_u), generator.picture(w_t), atol=1e-5)     # w_t is UFO's here
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

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.generators import Generator

OPPOSITE = -0.2  # what s reads in a target beyond the mean; in strangers it reads 0, give or take 0.05
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
    way_back: bool = False,
    rows: Sequence[int] | None = None,
) -> Erasure:
    """Solve for K latents w_u [K, rows, w_dim] at once, each to be drawn as its w_t [K or 1, rows, w_dim].

    metric: B, [w_dim, w_dim]. Every t loses what S reads in it: then S^T T = 0, P has lost K ranks, and there is no
    latent left that the style layers take for w_u. That moves a target a little; but one beyond the mean as seen from
    the person, as UFO's, would be moved to the mean face, so in such rows the way back stays. `way_back` keeps it in
    all rows, and the targets as they are. rows: what to edit, all if None.

    Raises:
        GuideError: two of the latents are the same in a row, or one of them is the mean latent.
    """
    if not len(w_u):
        raise GuideError("There is nobody to erase; give at least one latent.")
    edited = list(range(w_u.shape[1]) if rows is None else rows)
    v, t, s = w_u.new_zeros((3, *w_u.shape), dtype=torch.float64, device="cpu")
    v[:, edited], t[:, edited] = (_doubled(w - w_avg)[:, edited] for w in (w_u, w_t))
    toward = torch.linalg.solve(metric, v.flatten(0, 1).T).T.view_as(v)  # B^-1 v
    s[:, edited] = _readers(v[:, edited], toward[:, edited])
    if not way_back:
        read = torch.einsum("krd,lrd->krl", t, s)
        opposite = read.diagonal(dim1=0, dim2=2).T < OPPOSITE  # [K, rows]
        t = torch.where(opposite[..., None], t, t - torch.einsum("krl,lre->kre", read, v))
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
