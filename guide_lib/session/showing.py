"""A session in pictures: the erased person beside the others, and everybody who was erased at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import Image

from guide_lib.errors import GuideError
from guide_lib.experiment import other_people
from guide_lib.figures.plots import before_after, image_grid
from guide_lib.metrics.identity import identity_similarity

if TYPE_CHECKING:
    from guide_lib.session.session import Session

SHOWN = 8  # other people in the before/after figure
IN_A_ROW = 8


def figure(session: Session) -> Image.Image:
    """See `Session.figure`."""
    report, person = session.report or session.measure(), session.chosen()
    ws = torch.cat([person.w_u, other_people(session.generator)[:SHOWN]])
    drawn, redrawn = session.draw(ws, before=True), session.draw(ws)
    caption = (
        f"Identity cosine by an independent judge, before against after: the erased person {report.id:.2f}, "
        f"{report.others} other people {report.retention:.2f} on average (lowest {report.retention_min:.2f}, the "
        f"nearest {report.retention_nearest:.2f}; {report.retained:.0%} still accepted)."
    )
    return before_after(drawn[0], redrawn[0], list(drawn[1:]), list(redrawn[1:]), caption, person.photo)


def people(session: Session) -> tuple[dict[str, float], Image.Image]:
    """See `Session.people`."""
    forgotten = session.lists[-1].people
    if not forgotten:
        raise GuideError("Nobody is erased at once; call erase_at_once() first.")
    ws = torch.cat([person.w_u[:1] for person in forgotten.values()])
    before, after = session.draw(ws, before=True), session.draw(ws)
    cosines = identity_similarity(session.networks.judge, before, after)[0].tolist()
    rows, labels, names = [], [], list(forgotten)
    for first in range(0, len(names), IN_A_ROW):
        part = slice(first, first + IN_A_ROW)
        rows += [list(before[part]), list(after[part])]
        labels += [f"before: {', '.join(names[part])}", "after"]
    return dict(zip(names, cosines, strict=True)), image_grid(rows, labels)
