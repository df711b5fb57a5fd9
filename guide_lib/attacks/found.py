"""What a search has found: codes, what judges and attacker say of them, how far out they lie, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guide_lib.attacks.likelihood import Likelihood
from guide_lib.generators import Generator, View
from guide_lib.inversion.optimise import InversionStep
from guide_lib.metrics.identity import render
from guide_lib.perception.identity import Embedder, identity_cosine
from guide_lib.targets import scale_to_rows

APART = 15.0  # in the paper's scale: the farthest neighbours that adjacency takes along


@dataclass(frozen=True)
class Found:
    """What one attacker found of one person in one space.

    space: "W" or "W+".
    ws: [starts, rows, w_dim], the codes at the end.
    looks: steps that every start had taken when the judges looked.
    seen: judge -> [looks, starts], cosines to the photo.
    own: [starts], cosine at the end by the attacker's recogniser.
    unlikelihood: [starts], Mahalanobis distance of the codes, None if it was not measured.
    usual: what 95 % of the generator's own samples stay below, or None.
    distance: [starts], from w_u in the paper's scale, None without w_u.
    steps, seconds: of all starts, without the judges.
    rows: those that are drawn, to which distances belong.
    """

    space: str
    ws: Tensor
    looks: list[int]
    seen: dict[str, Tensor]
    own: Tensor
    unlikelihood: Tensor | None
    usual: float | None
    distance: Tensor | None
    steps: int
    seconds: float
    rows: list[int]

    def cosines(self, judge: str) -> Tensor:
        """At the end, [starts]."""
        return self.seen[judge][-1]

    def best(self, judge: str) -> float:
        """Of the start that the judge likes best: an oracle's choice, which no attacker can make."""
        return self.cosines(judge).max().item()

    def kept(self, judge: str) -> float:
        """Of the start that the attacker's own recogniser likes best."""
        return self.cosines(judge)[self.own.argmax()].item()

    def curve(self, judge: str) -> list[tuple[int, float]]:
        """The budget's curve: (steps of all starts together, the judge's best at that moment)."""
        best = self.seen[judge].max(1).values.tolist()
        return [(steps * len(self.ws), cosine) for steps, cosine in zip(self.looks, best, strict=True)]

    def recoveries(self, judge: str, threshold: float, apart: float = APART) -> int:
        """How many accepted codes there are that lie farther than `apart` from one another (paper's scale).

        Of two that lie closer the one counts that the judge likes more.
        """
        cosines, chosen = self.cosines(judge), []
        for index in cosines.argsort(descending=True).tolist():
            near = [other for other in chosen if _apart(self.ws[[index]], self.ws[other], self.rows) <= apart]
            if cosines[index] >= threshold and not near:
                chosen.append(index)
        return len(chosen)

    def row(self, thresholds: Mapping[str, float]) -> dict[str, Any]:
        """All of it but the codes, as numbers for a file. thresholds: judge -> from which cosine it accepts."""
        row: dict[str, Any] = {"space": self.space, "steps": self.steps, "seconds": self.seconds, "looks": self.looks}
        row |= {"own": self.own.tolist(), "usual": self.usual}
        for name in ("unlikelihood", "distance"):
            values = getattr(self, name)
            row[name] = None if values is None else values.tolist()
        for judge, cosines in self.seen.items():
            facts = {"best": self.best(judge), "kept": self.kept(judge), "seen": cosines.tolist()}
            if judge in thresholds:
                facts["recoveries"] = self.recoveries(judge, thresholds[judge])
            row[judge] = facts
        return row


@dataclass(frozen=True)
class Hunted:
    """Who is looked for, and in which generator.

    student: G_u, or in a control the untouched generator. photo: [1, 3, S, S] in [-1, 1]. w_u, w_t: [1, rows, w_dim],
    what some starts and the distance need. view: the photo's camera, from the front if None.
    """

    student: Generator
    photo: Tensor
    w_u: Tensor | None = None
    w_t: Tensor | None = None
    view: View | None = None


class Trail:
    """The way of a search through one space, for people who share a student; the judges look at it now and then.

    judges: by name, each with what it made of the people's photos, [people, D].
    """

    def __init__(self, people: Sequence[Hunted], judges: Mapping[str, tuple[Embedder, Tensor]]) -> None:
        self.people, self.judges = people, judges
        self.taken, self.seconds, self.ws = 0, 0.0, torch.empty(0)
        self.looks: list[int] = []
        self.seen: list[dict[str, Tensor]] = []  # of each look: judge -> [people, starts]

    def follow(self, step: InversionStep) -> None:
        """One more step of all codes."""
        self.taken, self.seconds, self.ws = self.taken + 1, self.seconds + step.seconds, step.ws

    def look(self) -> None:
        """Let the judges look at what is drawn now, unless they just did."""
        if self.looks[-1:] == [self.taken]:
            return
        pictures = self.pictures()
        self.looks.append(self.taken)
        self.seen.append({})
        for name, (judge, known) in self.judges.items():
            faces = judge.embed_faces(pictures)[0].unflatten(0, (len(self.people), -1))
            self.seen[-1][name] = identity_cosine(faces, known[:, None]).cpu()

    def accepted(self, thresholds: Mapping[str, float]) -> bool:
        """Whether at the last look all these judges accepted some code of every person."""
        passed = [self.seen[-1][judge] >= threshold for judge, threshold in thresholds.items()]
        return bool(torch.stack(passed).all(0).any(1).all())

    def pictures(self) -> Tensor:
        """Of the codes as they are, [people x starts, 3, S, S] on the CPU, each from its person's camera."""
        few = self.ws.chunk(len(self.people))
        drawn = [render(person.student, ws, person.view) for person, ws in zip(self.people, few, strict=True)]
        return torch.cat(drawn)

    def found(self, space: str, own: Tensor, likelihood: Likelihood | None) -> list[Found]:
        """Of each person. own: [people, starts], what the attacker thinks of the codes at the end."""
        self.look()
        starts, results, rows = len(self.ws) // len(self.people), [], self.people[0].student.drawn_rows()
        for k, (person, ws) in enumerate(zip(self.people, self.ws.split(starts), strict=True)):
            results.append(
                Found(
                    space=space,
                    ws=ws,
                    looks=list(self.looks),
                    seen={judge: torch.stack([look[judge][k] for look in self.seen]) for judge in self.judges},
                    own=own[k],
                    unlikelihood=likelihood and likelihood.distance(ws),
                    usual=likelihood and likelihood.usual,
                    distance=None if person.w_u is None else _apart(ws, person.w_u, rows),
                    steps=self.taken * starts,
                    seconds=self.seconds / len(self.people),
                    rows=rows,
                )
            )
        return results


def _apart(ws: Tensor, w: Tensor, rows: Sequence[int]) -> Tensor:
    """How far ws [N, rows, w_dim] are from w [1, rows, w_dim] in the rows that are drawn: [N], in the paper's scale."""
    way = (ws - w)[:, rows].flatten(1).norm(dim=1)
    return (way / scale_to_rows(1.0, len(rows))).cpu()
