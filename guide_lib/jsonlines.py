"""Files of one JSON object a line, to which long runs add: what is whole survives whatever ends the run.

append_row(folder / "people.jsonl", {"person": "3", "id": 0.21})
rows = read_rows(folder / "people.jsonl")
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guide_lib.errors import GuideError


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line and force it to the disk, in place of the piece of a line that an interrupted run has left."""
    line = json.dumps(row).encode() + b"\n"
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(_whole(file.read()))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, none if there is no file; a last line that was cut short does not count.

    Reading changes nothing: another process may be writing that last line at this moment.

    Raises:
        GuideError: another line is no JSON object.
    """
    content = path.read_bytes() if path.exists() else b""
    lines = content[: _whole(content)].split(b"\n")[:-1]
    return [_row(line, path, number) for number, line in enumerate(lines, 1)]


def _whole(content: bytes) -> int:
    """How many bytes of a file are whole lines."""
    return content.rfind(b"\n") + 1


def _row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise GuideError(f"Line {number} of {path} is damaged; delete that line and run the command again.")
    return row
