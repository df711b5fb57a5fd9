"""What the readers share: the type they return and the way they refuse a file."""

import struct
import zipfile
from typing import NoReturn

import numpy as np

from guide_lib.errors import GuideError

Arrays = dict[str, np.ndarray]
# what zipfile raises at a damaged archive; struct.error and OverflowError come from absurd sizes and places
ZIP_ERRORS = (zipfile.BadZipFile, struct.error, OverflowError, EOFError, RuntimeError, ValueError, OSError)


def refuse(format_name: str, reason: str) -> NoReturn:
    """Raise `GuideError`: this file is not what it should be. What a file says of itself may hold line breaks.

    >>> refuse("PGM", "no P5 header")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: This PGM file cannot be read (no P5 header); fetch the original file again.
    """
    reason = " ".join(reason.split())[:160]
    raise GuideError(f"This {format_name} file cannot be read ({reason}); fetch the original file again.")


def expect(condition: bool, format_name: str, reason: str) -> None:
    """Refuse the file unless `condition` holds."""
    if not condition:
        refuse(format_name, reason)
