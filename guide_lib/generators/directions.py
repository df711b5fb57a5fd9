"""Directions in W that turn a face, or let it smile, and leave the person alone.

>>> directions = load_directions()
>>> {name: list(direction.shape) for name, direction in sorted(directions.items())}
{'pitch': [512], 'smile': [512], 'yaw': [512]}
>>> ws = torch.zeros(1, 23, 512)
>>> turned = move(ws, directions["yaw"], 10.0)               # ten degrees toward the right edge of the picture

What is measured in a picture (from five points of the face) is regressed on w. The gradient b of that regression
says how the measure grows; InterFaceGAN (Shen et al. 2020, arXiv 1907.10786) walks along such a vector. Here a
direction is the move that changes its own measure by one and the others by nothing, at the least cost: as little as
possible of what makes a stranger (`cost_of_moves`). data/recipes/directions.py finds them and scales them on pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from guide_lib.assets import shipped
from guide_lib.generators.base import Generator
from guide_lib.generators.mobile import MobileStyleGAN

FILE = "mobilestylegan-ffhq-directions.safetensors"
ATTRIBUTES_FILE = "mobilestylegan-ffhq-attributes.safetensors"
CHILD = 1.0  # standard deviations of apparent childhood beyond the mean face, from which on nobody is an adult
UNITS = {"yaw": "degrees", "pitch": "degrees", "smile": "standard deviations"}

# A face as a stiff mask: the tip of the nose stands half an eye distance in front of the plane of eyes and mouth,
# and, seen from the front, at 0.58 of the way from the eyes to the mouth (MTCNN's median on generated faces).
NOSE_DEPTH, NOSE_HEIGHT = 0.5, 0.58

PENALTIES = tuple(10.0**k for k in range(-4, 4))  # relative to the mean variance of w
SHRINK = 0.05  # of the mean variance, added to each: rare differences between people are not free


def load_directions(device: torch.device | str | None = None) -> dict[str, Tensor]:
    """The shipped directions for `mobilestylegan-ffhq`, name -> [512].

    One unit of `yaw` (positive: toward the right edge of the picture) and of `pitch` (positive: upward) is one degree,
    of `smile` one standard deviation of the width of the mouth; all as measured by `measure_faces`.
    """
    return load_file(shipped(FILE), device=str(device or "cpu"))


def load_attributes(device: torch.device | str | None = None) -> dict[str, Tensor]:
    """Readings of apparent sex (positive: a man), childhood and old age for `mobilestylegan-ffhq`, name -> [512].

    attribute @ (w - w') is by how many standard deviations two faces differ; first impressions of one viewer, fitted on
    256 drawn faces (data/recipes/attributes.py).

    >>> {name: list(reading.shape) for name, reading in sorted(load_attributes().items())}
    {'child': [512], 'old': [512], 'sex': [512]}
    """
    return load_file(shipped(ATTRIBUTES_FILE), device=str(device or "cpu"))


def attributes_of(generator: Generator) -> dict[str, Tensor] | None:
    """`load_attributes` for a generator, on its device; None for one whose W nobody has read."""
    return load_attributes(generator.w_avg.device) if isinstance(generator, MobileStyleGAN) else None


def adults(ws: Tensor, generator: Generator) -> Tensor:
    """Which of the people ws [N, rows, w_dim], in W, look like adults: [N] bool. All, where childhood cannot be read.

    Seeds draw children, too; whoever erases people by seed leaves these out. Read for `mobilestylegan-ffhq` alone.

    >>> adults(generator.w_avg + torch.ones(2, 3, 6), generator)
    tensor([True, True])
    """
    known = attributes_of(generator)
    if known is None:
        return torch.ones(len(ws), dtype=torch.bool, device=ws.device)
    return (ws - generator.w_avg)[:, 0] @ known["child"] < CHILD


def move(ws: Tensor, direction: Tensor, amount: float | Tensor, rows: Sequence[int] | None = None) -> Tensor:
    """ws [N, rows, w_dim] + amount * direction [w_dim], in the given rows only (None: in all).

    amount: one number for all codes, or one for each, [N]. `ws` itself is left as it is.

    >>> moved = move(torch.zeros(2, 3, 1), torch.ones(1), torch.tensor([1.0, 5.0]), rows=[0, 2])
    >>> moved[..., 0].tolist()
    [[1.0, 0.0, 1.0], [5.0, 0.0, 5.0]]
    """
    step = torch.as_tensor(amount).to(ws).reshape(-1, 1, 1) * direction.to(ws)
    moved = ws.clone()
    moved[:, slice(None) if rows is None else list(rows)] += step
    return moved


def mix(ws_a: Tensor, ws_b: Tensor, rows: Sequence[int]) -> Tensor:
    """ws_a with the given rows taken from ws_b, both [N, rows, w_dim]: style mixing (Karras et al. 2019).

    >>> mix(torch.zeros(1, 4, 1), torch.ones(1, 4, 1), rows=range(2)).flatten().tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    mixed = ws_a.clone()
    mixed[:, list(rows)] = ws_b[:, list(rows)]
    return mixed


def distance_from_w(ws: Tensor) -> Tensor:
    """How far latents ws [N, rows, w_dim] lie from W, where all rows are one w: the mean over the rows of the distance
    to their mean, [N]. 0 in W.

    >>> distance_from_w(torch.tensor([[[1.0], [1.0]], [[0.0], [4.0]]]))
    tensor([0., 2.])
    """
    return (ws - ws.mean(1, keepdim=True)).norm(dim=2).mean(1)


def measure_faces(landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Yaw and pitch in degrees, and the width of the mouth in eye distances, each [N], from MTCNN's points [N,5,2] px.

    With the mask above turned by yaw, the nose leaves the middle of the eyes by depth sin(yaw) while the eye distance
    shrinks by cos(yaw): their ratio is depth tan(yaw). Pitch, likewise, moves the nose between eyes and mouth; what
    is not pitch in it is the length of the nose. A point that is NaN makes NaN.

    >>> five = np.array([[[30, 40], [70, 40], [55, 60], [35, 80], [65, 80]]])       # the nose: right, and high
    >>> {name: round(value.item(), 1) for name, value in measure_faces(five).items()}
    {'yaw': 14.0, 'pitch': 9.1, 'smile': 0.8}
    """
    z = landmarks[:, :, 0] + 1j * landmarks[:, :, 1]
    eyes, across = (z[:, 0] + z[:, 1]) / 2, z[:, 1] - z[:, 0]
    # Divided by the eye line: the real part runs along it, the imaginary part down the face, in eye distances.
    with np.errstate(invalid="ignore"):
        nose, mouth, width = ((v / across) for v in (z[:, 2] - eyes, (z[:, 3] + z[:, 4]) / 2 - eyes, z[:, 4] - z[:, 3]))
    lifted = NOSE_HEIGHT - nose.imag / mouth.imag
    return {
        "yaw": np.degrees(np.arctan(nose.real / NOSE_DEPTH)),
        "pitch": np.degrees(np.arctan(lifted / NOSE_DEPTH)),
        "smile": np.abs(width),
    }


@dataclass(frozen=True)
class Fit:
    """A linear prediction of K measures.

    gradient: [D, K], float64. explained: [K], the share of each measure's variance that is predicted when the face in
    question is left out. penalty: the one chosen.
    """

    gradient: Tensor
    explained: Tensor
    penalty: float


def ridge(w: Tensor, measures: Tensor, penalties: Sequence[float] = PENALTIES) -> Fit:
    """Ridge regression of measures [N, K] on w [N, D], with the penalty that predicts left-out faces best.

    Leaving out face i divides its residual by 1 - h_i, with h the diagonal of the hat matrix (Allen 1974's PRESS),
    so all N regressions cost one.

    >>> w = torch.randn(200, 4, generator=rng)
    >>> fit = ridge(w, 2 * w[:, :1] + 1)                  # one measure, which grows by 2 along the first axis
    >>> f"{fit.gradient[0, 0]:.2f}, {fit.explained[0]:.0%} explained"
    '2.00, 100% explained'
    """
    x, y = ((t.double() - t.double().mean(0)) for t in (w, measures))
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    fits = []
    for penalty in penalties:
        kept = s.square() / (s.square() + penalty * s.square().sum() / x.shape[1])
        leverage = (u.square() * kept).sum(1) + 1 / len(x)  # 1/N: the mean is fitted, too
        residual = (y - (u * kept) @ (u.T @ y)) / (1 - leverage)[:, None]
        explained = 1 - residual.square().sum(0) / y.square().sum(0)
        inverse = torch.where(s > 1e-9 * s[0], kept / s, 0.0)
        fits.append(Fit(vh.T @ (inverse[:, None] * (u.T @ y)), explained, penalty))
    return max(fits, key=lambda fit: fit.explained.mean().item())


def cost_of_moves(w: Tensor, embeddings: Tensor, identity: float = 1.0) -> Tensor:
    """The matrix C [D, D] of the cost d^T C d of a move d: how far it goes on the way to a stranger.

    w: [N, D], embeddings: [N, E] of N people. Two terms, each 1 on average for the difference of two of them: its
    improbability in W (Mahalanobis), and, times `identity`, the change of the embedding as far as it is linear in w.
    """
    between = 2 * torch.cov(w.double().T)  # of the difference of two people
    spread = between.diagonal().mean()
    eye = torch.eye(len(between), dtype=between.dtype, device=between.device)
    improbable = torch.linalg.inv(between + SHRINK * spread * eye) / len(between)
    gradient = ridge(w, embeddings).gradient
    changed = gradient @ gradient.T
    return improbable + identity * changed / (changed * between).sum()


def least_change(gradients: Tensor, cost: Tensor) -> Tensor:
    """Moves [D, K] of least cost: move k changes measure k by 1 and the other measures by 0.

    gradients B: [D, K], cost C: [D, D]. Minimising d^T C d under B^T d = e_k gives C^-1 B (B^T C^-1 B)^-1.

    >>> gradients = torch.randn(6, 2, generator=rng)
    >>> torch.allclose(gradients.T @ least_change(gradients, torch.eye(6)), torch.eye(2), atol=1e-5)
    True
    """
    toward = torch.linalg.solve(cost, gradients)
    return toward @ torch.linalg.inv(gradients.T @ toward)
