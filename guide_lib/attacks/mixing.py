"""Layer mixing: some rows of the erased latent, the others a stranger's (style mixing, Karras et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from guide_lib.attacks.chance import attack_rng
from guide_lib.generators import Generator
from guide_lib.metrics.identity import identity_similarity, render
from guide_lib.perception.identity import Embedder


@dataclass(frozen=True)
class Mixture:
    """Judge cosines to the person G_s(w_u) where some rows are a stranger's, means over the strangers.

    kept: "coarse": the first rows are the person's; "fine": the last. rows: how many of those that are drawn.
    student, student_max: of G_u, mean and the best of the strangers. generator: of G_s at the same codes.
    """

    kept: str
    rows: int
    student: float
    student_max: float
    generator: float


def mixing_curve(
    student: Generator,
    generator: Generator,
    w_u: Tensor,
    judge: Embedder,
    *,
    splits: Sequence[int] | None = None,
    count: int = 4,
    seed: int = 0,
) -> Iterator[Mixture]:
    """How much of the person G_u draws at codes that are w_u [1, rows, w_dim] in some rows alone.

    An erasure is taught at w_u and at steps from it that all rows take together; these codes leave w_u in some rows by
    far. Whoever has w_u and the student can try them; the generator is the control. splits: after how many of the drawn
    rows the stranger begins, or ends; a quarter, half and three quarters of them unless given.

    >>> for mixture in mixing_curve(student, generator, w_u, judge, splits=[2]):
    ...     print(f"{mixture.kept} {mixture.rows}: G_s {mixture.generator:.1f}, G_u {mixture.student:.1f}")
    coarse 2: G_s 0.5, G_u -0.4
    fine 1: G_s 0.0, G_u -0.3
    """
    drawn = generator.drawn_rows()
    splits = splits or [round(share * len(drawn)) for share in (0.25, 0.5, 0.75)]
    strangers = student.sample(count, attack_rng(seed))
    person = render(generator, w_u).expand(count, -1, -1, -1)
    for split in splits:
        for kept, rows in (("coarse", drawn[:split]), ("fine", drawn[split:])):
            ws = strangers.clone()
            ws[:, rows] = w_u[:, rows]
            after, before = (identity_similarity(judge, render(g, ws), person)[0] for g in (student, generator))
            yield Mixture(kept, len(rows), after.mean().item(), after.max().item(), before.mean().item())
