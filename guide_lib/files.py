"""Files that are whole whatever ends the process: a kill, a full disk, a laptop that sleeps.

>>> with written_whole(tmp_path / "notes.txt") as partial:                 # the old file or all of the new one
...     _ = partial.write_text("whole")
>>> (tmp_path / "notes.txt").read_text()
'whole'
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from guide_lib.errors import GuideError

LONGEST_STEM = 180  # bytes, of the 255 that a name may have: endings come after it
_QUOTES = ('""', "''", "\u201c\u201d", "\u2018\u2019")


def typed_path(text: str) -> Path:
    """A path as somebody types it, for argparse: `~`, `$HOME` and quotes that the shell has left are understood.

    Whatever exists under exactly this name is meant by it.

    >>> typed_path('"~/me.jpg"') == Path.home() / "me.jpg"
    True
    """
    if os.path.lexists(text):
        return Path(text)
    text = text.strip()
    if text[:1] + text[1:][-1:] in _QUOTES:
        text = text[1:-1]
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(os.path.expandvars(os.path.expanduser(text)))


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that can be printed and stored anywhere, whatever the encoding of its names.

    >>> print(shown(os.fsdecode(b"caf\\xe9")))
    caf\\xe9
    """
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def file_stem(text: str) -> str:
    """A text as the beginning of a file's name: without spaces, and of a long one the beginning and a digest.

    >>> file_stem("ood-GUIDE-Ada Lovelace"), len(file_stem("\u4eac" * 200).encode()) <= LONGEST_STEM
    ('ood-GUIDE-Ada_Lovelace', True)
    """
    stem = text.replace(" ", "_")
    if len(content := stem.encode(errors="backslashreplace")) <= LONGEST_STEM:
        return stem
    told_apart = hashlib.sha256(content).hexdigest()[:12]
    return content[: LONGEST_STEM - 13].decode(errors="ignore") + "-" + told_apart


@contextlib.contextmanager
def plainly_named(path: Path) -> Iterator[Path]:
    """A file under a name in UTF-8, which safetensors needs to read it: its own, or that of a temporary link."""
    if shown(path) == str(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "file")
        link.symlink_to(path.absolute())
        yield link


def from_json(content: bytes) -> Any:
    """What JSON in any encoding says: UTF-8, -16 or -32, with or without a mark at its beginning, else Latin-1.

    Raises:
        ValueError: it is no JSON.

    >>> from_json('{"name": "Jos\\u00e9"}'.encode("latin-1")) == from_json('{"name": "Jos\\u00e9"}'.encode("utf-16"))
    True
    """
    try:
        return json.loads(content)
    except UnicodeDecodeError:
        return json.loads(content.decode("latin-1"))


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to be written in the block; it is forced to the disk and takes the name `path` at the end.

    If the block fails, `path` is what it was and nothing else is left. Creates the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """The numbers of a run, for people and programs; an older file is whole until the new one is.

    >>> write_json(tmp_path / "metrics.json", {"id": 0.21})
    >>> print((tmp_path / "metrics.json").read_text())
    {
     "id": 0.21
    }
    """
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """All the lines of a file; an older file is whole until the new one is.

    >>> write_rows(tmp_path / "people.jsonl", [{"person": "4"}, {"person": "3"}])
    >>> read_rows(tmp_path / "people.jsonl")
    [{'person': '4'}, {'person': '3'}]
    """
    with written_whole(path) as partial:
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line and force it to the disk, in place of the piece of a line that an interrupted run has left.

    >>> for person in ("3", "4"):
    ...     append_row(tmp_path / "people.jsonl", {"person": person})
    >>> read_rows(tmp_path / "people.jsonl")
    [{'person': '3'}, {'person': '4'}]
    """
    line = json.dumps(row).encode() + b"\n"
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(_whole(file.read()))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def append_missing(path: Path, rows: Iterable[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], Hashable]) -> None:
    """Add the rows that a file lacks. key: what a row is about; there is one of each.

    >>> for names in ("3", "434"):
    ...     append_missing(tmp_path / "people.jsonl", [{"person": one} for one in names], lambda row: row["person"])
    >>> read_rows(tmp_path / "people.jsonl")
    [{'person': '3'}, {'person': '4'}]
    """
    known = set(map(key, read_rows(path)))
    for row in rows:
        if key(row) not in known:
            known.add(key(row))
            append_row(path, row)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, none if there is no file; a last line that was cut short does not count.

    Reading changes nothing: another process may be writing that last line at this moment.

    Raises:
        GuideError: another line is no JSON object.

    >>> _ = (tmp_path / "people.jsonl").write_text('{"person": "3"}\\n{"per')
    >>> read_rows(tmp_path / "people.jsonl")
    [{'person': '3'}]
    """
    content = path.read_bytes() if path.exists() else b""
    lines = content[: _whole(content)].split(b"\n")[:-1]
    return [_row(line, path, number) for number, line in enumerate(lines, 1)]


def _whole(content: bytes) -> int:
    """How many bytes of a file are whole lines."""
    return content.rfind(b"\n") + 1


def _row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = from_json(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise GuideError(f"Line {number} of {path} is damaged; delete that line and run the command again.")
    return row
