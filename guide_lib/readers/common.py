"""What the readers share: the type they return and the way they refuse a file."""

from typing import NoReturn

import numpy as np

from guide_lib.errors import GuideError

Arrays = dict[str, np.ndarray]


def refuse(format_name: str, reason: str) -> NoReturn:
    """Raise `GuideError`: this file is not what it should be."""
    raise GuideError(f"This {format_name} file cannot be read ({reason}); fetch the original file again.")


def expect(condition: bool, format_name: str, reason: str) -> None:
    """Refuse the file unless `condition` holds."""
    if not condition:
        refuse(format_name, reason)
