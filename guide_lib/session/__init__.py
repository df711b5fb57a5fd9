"""One generator and who is to be forgotten: choose, target, erase, measure, attack, draw, save, load, undo."""

from guide_lib.session.session import Session

__all__ = ["Session"]
