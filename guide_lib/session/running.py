"""An erasure by training from beginning to end: under a progress bar, measured, and saved."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from guide_lib.experiment import bar, history, recorded
from guide_lib.figures.plots import loss_curves
from guide_lib.metrics.identity import Report
from guide_lib.unlearning import UnlearningSettings

if TYPE_CHECKING:
    from guide_lib.session.session import Session


def run(session: Session, settings: UnlearningSettings | None = None) -> Report:
    """Erase the person, measure, and write everything into the session's folder; see `Session.erase`.

    While it runs, the losses go into losses.csv and the state into checkpoint.safetensors; an interrupted run continues
    from there.
    """
    settings = settings or UnlearningSettings.styles(session.chosen().w_u.device)
    checkpoint, losses = session.folder / "checkpoint.safetensors", session.folder / "losses.csv"
    # an interrupt between two steps saves the state at once, while the folder is still held
    with closing(session.erase(settings, checkpoint=checkpoint)) as steps:
        for _ in recorded(bar(steps, settings.steps, "unlearning"), losses):
            pass
    session.save()
    loss_curves(history(losses)).save(session.folder / "curves.png")
    checkpoint.unlink(missing_ok=True)
    return session.report
