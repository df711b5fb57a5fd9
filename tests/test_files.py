"""Paths as people type them, names in any encoding, JSON as other programs save it."""

import argparse
import json
import os
from pathlib import Path

import pytest

from guide_lib.files import append_row, from_json, read_rows, shown, typed_path


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PHOTOS", str(tmp_path / "photos"))
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize("text", ["~/me.jpg", "$HOME/me.jpg", "${HOME}/me.jpg", '"~/me.jpg"', "'$HOME/me.jpg'",
                                  "\u201c~/me.jpg\u201d", "\u2018~/me.jpg\u2019", "  ~/me.jpg \n"])  # fmt: skip
def test_home_is_found_and_quotes_are_dropped(text, home):
    assert typed_path(text) == home / "me.jpg"


def test_any_variable_is_found_and_an_unknown_one_is_a_name(home):
    assert typed_path("$PHOTOS/ada") == home.parent / "photos" / "ada"
    for name in (
        "$NOWHERE/x",
        "price 5$.jpg",
        "$5.jpg",
        "a~b",
        "~nobody-of-this-name/x",
        "runs/demo",
        "it's",
        "'",
        '"a',
    ):
        assert typed_path(name) == Path(name)


@pytest.mark.parametrize("name", ["~", "$HOME", '"quoted"', "'x'", " spaces ", "${HOME}.jpg"])
def test_what_exists_under_this_name_is_meant_by_it(name, home):
    Path(name).write_text("")
    assert typed_path(name) == Path(name)
    Path(name).unlink()
    Path(name).symlink_to("nowhere")
    assert typed_path(name) == Path(name), "also a link to nothing, whose reader says so"


@pytest.mark.parametrize("text", ["", "  ", "''", '""'])
def test_no_path_at_all_is_refused(text, home):
    with pytest.raises(argparse.ArgumentTypeError, match="the path is empty"):
        typed_path(text)


def test_a_name_in_another_encoding_can_be_printed_and_told_from_its_like():
    names = [os.fsdecode(name) for name in (b"caf\xe9", b"caf\xe8", "caf\u00e9".encode(), b"plain")]
    assert [shown(name) for name in names] == [r"caf\xe9", r"caf\xe8", "caf\u00e9", "plain"]
    assert shown(Path("a") / names[0]) == r"a/caf\xe9"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_json_is_read_in_any_encoding(encoding):
    text = json.dumps({"name": "Jos\u00e9", "id": 0.5}, ensure_ascii=False)
    assert from_json(text.encode(encoding)) == {"name": "Jos\u00e9", "id": 0.5}
    for broken in (b"", b"\xff\xfe", b"\xff", b"{", b"\xe9"):
        with pytest.raises(ValueError):
            from_json(broken)


def test_rows_that_another_program_has_saved_are_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, {"person": "Jos\u00e9"})
    with path.open("ab") as file:
        file.write('{"person": "Zo\u00eb"}\n'.encode("latin-1"))
    assert [row["person"] for row in read_rows(path)] == ["Jos\u00e9", "Zo\u00eb"]
    marked = tmp_path / "marked.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_rows(marked) == read_rows(path)
