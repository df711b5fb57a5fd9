"""The commands of `guide`, a module a group; what a command takes is declared beside what it does."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from guide_lib.commands import erasing, measuring, networks, photos

__all__ = ["COMMANDS"]

COMMANDS: dict[Callable[[argparse.Namespace], None], Callable[[argparse.ArgumentParser], None]] = {
    erasing.unlearn: erasing.unlearn_options,
    erasing.forget_list: erasing.forget_list_options,
    erasing.undo: erasing.undo_options,
    photos.invert: photos.invert_options,
    measuring.compare: measuring.compare_options,
    measuring.evaluate: measuring.evaluate_options,
    measuring.attack: measuring.attack_options,
    measuring.report: measuring.report_options,
    networks.assets: networks.assets_options,
    networks.convert: networks.convert_options,
    networks.doctor: networks.doctor_options,
}
