"""Folders as people have them: what is a picture in them is found, and the rest is said and left out."""

import io
import os
import socket
from pathlib import Path

import pytest
import torch
from PIL import Image

from guide_lib.errors import GuideError
from guide_lib.perception.albums import TOLD, entries, load_person, pictures_in, tell_skipped
from guide_lib.perception.faces import align
from guide_lib.perception.photos import load_photo


def picture(path: Path, colour: str = "grey") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (80, 80), colour).save(path)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in pictures_in(folder).paths]


# --- the walk


def test_pictures_of_all_subfolders_come_sorted_and_the_rest_is_named(tmp_path: Path) -> None:
    """FFHQ as it is downloaded: a folder for each thousand, a list beside them."""
    for name in ("01000/01001.png", "00000/00002.png", "00000/00001.png", "last.jpg", "00000/deep/er/a.webp"):
        picture(tmp_path / name)
    written(tmp_path / "dataset.json", b'{"labels": null}')
    written(tmp_path / "00000" / "LICENSE.txt", b"text")
    expected = ["00000/00001.png", "00000/00002.png", "00000/deep/er/a.webp", "01000/01001.png", "last.jpg"]
    assert names(tmp_path) == expected
    skipped = pictures_in(tmp_path).skipped
    assert set(skipped) == {"dataset.json", "00000/LICENSE.txt"}
    assert all("is not a picture that can be read" in reason for reason in skipped.values())


def test_what_a_file_is_called_does_not_matter(tmp_path: Path) -> None:
    picture(tmp_path / "photo.png").rename(tmp_path / "photo")
    written(tmp_path / "notes.jpg", b"the party")
    assert names(tmp_path) == ["photo"] and list(pictures_in(tmp_path).skipped) == ["notes.jpg"]


def test_hidden_files_and_folders_are_passed_over_in_silence(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for name in (".hidden.png", ".thumbnails/a.png", "sub/.a.png"):
        picture(tmp_path / name)
    written(tmp_path / ".DS_Store", b"")
    assert pictures_in(tmp_path) == ([tmp_path / "a.png"], {})


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "album" / "a.png")
    picture(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "album" / "up").symlink_to(tmp_path / "album")
    (tmp_path / "album" / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "album")
    (tmp_path / "album" / "twice").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "album" / "self").symlink_to("self")
    found = pictures_in(tmp_path / "album")
    assert [path.name for path in found.paths] == ["a.png", "b.png"]
    assert list(found.skipped) == ["self"]


def test_pipes_sockets_and_links_to_nothing_are_named_and_not_waited_for(tmp_path: Path, monkeypatch) -> None:
    picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        found = pictures_in(tmp_path)
    assert names(tmp_path) == ["a.png"] and set(found.skipped) == {"pipe.png", "gone.png", "socket.png"}
    assert "There is no photo at" in found.skipped.pop("gone.png")
    assert all("is no file but" in reason for reason in found.skipped.values())


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path, monkeypatch) -> None:
    picture(tmp_path / "locked" / "a.png")
    picture(tmp_path / "open" / "b.png")
    real = os.listdir

    def refusing(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", refusing)
    assert names(tmp_path) == ["open/b.png"]
    assert "cannot be read (Permission denied); change its permissions." in pictures_in(tmp_path).skipped["locked"]
    with pytest.raises(GuideError, match="The folder .* cannot be read .*; change its permissions"):
        pictures_in(tmp_path / "locked")


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch) -> None:
    picture(tmp_path / "a.png")
    real = Path.open

    def refusing(self, *args):
        if self.name == "a.png":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args)

    monkeypatch.setattr(Path, "open", refusing)
    assert "You may not read" in pictures_in(tmp_path).skipped["a.png"]


def test_names_in_another_encoding_are_found_and_can_be_printed_and_stored(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    picture(tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"Jos\xe9.png"))
    written(tmp_path / os.fsdecode(b"\xff.txt"), b"text")
    (tmp_path / "album").mkdir()
    (tmp_path / os.fsdecode(b"Jos\xe9.png")).rename(tmp_path / "album" / os.fsdecode(b"Jos\xe9.png"))
    (tmp_path / "album").rename(folder)
    found = pictures_in(tmp_path)
    assert len(found.paths) == 1 and found.paths[0].is_file()
    assert list(found.skipped) == ["\\xff.txt"]
    for text in found.skipped:
        text.encode()


def test_a_folder_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    written(tmp_path / "notes.txt", b"the party")
    for nowhere in (tmp_path / "nowhere", tmp_path / "notes.txt", tmp_path / ("x" * 300)):
        for walk in (entries, pictures_in, load_person):
            with pytest.raises(GuideError, match="There is no folder at .*; check the path.$"):
                walk(nowhere)


def test_what_was_left_out_is_one_line_with_a_number_and_a_few_reasons(tmp_path: Path, capsys) -> None:
    tell_skipped({}, tmp_path)
    assert capsys.readouterr().err == ""
    tell_skipped({"a": "A is no picture."}, tmp_path)
    assert capsys.readouterr().err == f"skipped 1 file in {tmp_path}: A is no picture.\n"
    tell_skipped({str(k): f"Reason {k}." for k in range(70_000)}, os.fsdecode(b"caf\xe9"))
    line = capsys.readouterr().err
    assert line.startswith(r"skipped 70000 files in caf\xe9: Reason 0. ") and line.count("Reason") == TOLD
    assert line.endswith(" ...\n")


def test_a_stream_of_ascii_can_print_every_reason(tmp_path: Path, monkeypatch) -> None:
    """Standard error of a machine without a locale."""
    written(tmp_path / os.fsdecode(b"\xff.txt"), b"text")
    written(tmp_path / "\u4e2d.txt", b"text")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr("sys.stderr", stream)
    tell_skipped(pictures_in(tmp_path).skipped, tmp_path)
    stream.flush()
    assert b"skipped 2 files" in stream.buffer.getvalue()


# --- a folder of photos of one person


@pytest.fixture
def album(portrait: Image.Image, pair: Image.Image, tmp_path: Path) -> Path:
    """Two good photos, three files that cannot be used, and what has no business there."""
    portrait.crop((60, 0, 400, 340)).save(tmp_path / "b.jpg")
    portrait.convert("L").save(tmp_path / "a.png")
    pair.save(tmp_path / "pair.png")
    written(tmp_path / "notes.txt", b"the party")
    picture(tmp_path / "wall.png")
    written(tmp_path / ".hidden", b"")
    (tmp_path / "more").mkdir()
    return tmp_path


def test_a_folder_gives_every_usable_photo_in_order_and_says_why_not_the_others(album: Path) -> None:
    names, photos, skipped = load_person(album, size=64)
    assert names == ["a.png", "b.jpg"]
    expected = torch.cat([align(load_photo(album / name), 64) for name in names])
    assert torch.equal(photos, expected)
    assert list(skipped) == ["notes.txt", "pair.png", "wall.png"]
    assert "is not a picture" in skipped["notes.txt"]
    assert "2 faces found in pair.png" in skipped["pair.png"]
    assert "No face found in wall.png" in skipped["wall.png"]


def test_the_caller_may_choose_among_several_faces(album: Path) -> None:
    person = load_person(album, size=64, faces={"pair.png": 1})
    assert person.names == ["a.png", "b.jpg", "pair.png"]
    assert torch.equal(person.photos[2:], align(load_photo(album / "pair.png"), 64, face=1))


def test_photos_in_subfolders_belong_to_the_person(album: Path, pair: Image.Image) -> None:
    """Their names say where they are, and choose a face as well as the bare ones do."""
    (album / "pair.png").rename(album / "more" / "pair.png")
    assert load_person(album, size=64).skipped["more/pair.png"].startswith("2 faces found in pair.png")
    for key in ("pair.png", "more/pair.png"):
        person = load_person(album, size=64, faces={key: 1})
        assert person.names == ["a.png", "b.jpg", "more/pair.png"]
        assert torch.equal(person.photos[2:], align(load_photo(album / "more" / "pair.png"), 64, face=1))


def test_a_folder_without_a_usable_photo_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(GuideError, match="it holds no files; add sharp") as caught:
        load_person(tmp_path)
    assert str(caught.value).endswith(".")
    written(tmp_path / "notes.txt", b"the party")
    with pytest.raises(GuideError, match="none of its files could be used; add sharp") as caught:
        load_person(tmp_path)
    assert str(caught.value).endswith(".")
    for nowhere in (tmp_path / "nowhere", tmp_path / "notes.txt"):
        with pytest.raises(GuideError, match="There is no folder at") as caught:
            load_person(nowhere)
        assert str(caught.value).endswith(".")
