"""Folders of pictures: one walk for all who are given a folder.

One file that cannot be used does not end anything: it is left out, and the sentence that says why is kept.
"""

import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.files import shown
from guide_lib.generators.alignment import FFHQ, Alignment
from guide_lib.perception.decode import FORMATS
from guide_lib.perception.photos import load_face, load_photo, opened

TOLD = 3  # reasons that are printed, of however many


class Album(NamedTuple):
    """Photos of one person.

    names: of the files, with the subfolders they are in. photos: [N,3,size,size] in [-1,1], aligned, in the same order.
    skipped: for every other file of the folder, the sentence that says why.
    """

    names: list[str]
    photos: Tensor
    skipped: dict[str, str]


class Pictures(NamedTuple):
    """The pictures of a folder.

    paths: in the order of their names. skipped: for every other file, the sentence that says why.
    """

    paths: list[Path]
    skipped: dict[str, str]


def entries(folder: str | Path) -> list[Path]:
    """The files and folders in a folder, sorted, without the hidden ones.

    Raises:
        GuideError: there is no such folder, or it cannot be read.
    """
    if not os.path.isdir(folder):
        raise GuideError(f"There is no folder at {folder}; check the path.")
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise GuideError(f"The folder {folder} cannot be read ({error.strerror}); change its permissions.") from None
    return [Path(folder, name) for name in names if not name.startswith(".")]


def check_pictures(path: Path) -> None:
    """Before anything is begun: a photo can be read, a folder is there and is not empty; else GuideError says why."""
    if not os.path.isdir(path):
        load_photo(path)
    elif not entries(path):
        raise GuideError(f"There are no files in {path}; add photos.")


def pictures_in(folder: str | Path) -> Pictures:
    """Every picture in a folder and in the folders below it; links are followed, but not in circles.

    Only the beginning of each file is read: a picture that is damaged further on is found by `load_photo`.

    Raises:
        GuideError: there is no such folder, or it cannot be read.

    >>> (tmp_path / "00000").mkdir()
    >>> Image.new("RGB", (64, 64)).save(tmp_path / "00000" / "1.png")
    >>> _ = (tmp_path / "dataset.json").write_text("{}")
    >>> found = pictures_in(tmp_path)
    >>> [path.name for path in found.paths], list(found.skipped)
    (['1.png'], ['dataset.json'])
    """
    paths, skipped = [], {}
    waiting, seen = entries(folder)[::-1], {_identity(folder)}
    while waiting:
        path = waiting.pop()
        try:
            if not os.path.isdir(path):
                paths += [path] if _is_picture(path) else []
            elif (identity := _identity(path)) not in seen:
                seen.add(identity)
                waiting += entries(path)[::-1]
        except GuideError as error:
            skipped[name_in(path, folder)] = str(error)
    return Pictures(paths, skipped)


def load_person(
    folder: str | Path,
    size: int = 512,
    faces: Mapping[str, int] | None = None,
    alignment: Alignment = FFHQ,
    aligned: bool = False,
) -> Album:
    """Read and align every photo in a folder and below it, in the order of the names; see `load_face`.

    Files that are no picture or show no face are skipped, and so are photos of several people, unless `faces` says
    which face to take: {"party.jpg": 1}, counted from 0 at the left. Hidden files are ignored.

    Raises:
        GuideError: there is no such folder, it cannot be read, or no file of it can be used.

    >>> from guide_lib.assets import shipped
    >>> Image.open(shipped("portrait.png")).save(tmp_path / "ada.png")
    >>> _ = (tmp_path / "notes.txt").write_text("not a photo")
    >>> album = load_person(tmp_path, size=128)
    >>> album.names, list(album.photos.shape), list(album.skipped)
    (['ada.png'], [1, 3, 128, 128], ['notes.txt'])
    """
    (paths, skipped), faces = pictures_in(folder), faces or {}
    photos: dict[str, Tensor] = {}
    for path in paths:
        name = name_in(path, folder)
        try:
            photos[name] = load_face(path, size, faces.get(name, faces.get(path.name)), alignment, aligned)
        except GuideError as error:
            skipped[name] = str(error)
    if not photos:
        found = "none of its files could be used" if skipped else "it holds no files"
        raise GuideError(f"There is no usable photo in {folder}, {found}; add sharp, well-lit photos of one person.")
    return Album(list(photos), torch.cat(list(photos.values())), dict(sorted(skipped.items())))


def photos_of(path: Path, face: int | None = None, alignment: Alignment = FFHQ, aligned: bool = False) -> Album:
    """One photo, or a folder of photos of one person; see `load_face` and `load_person`.

    Raises:
        GuideError: there is no usable photo, or `face` is given for a folder.
    """
    if not os.path.isdir(path):
        return Album([shown(path.name)], load_face(path, face=face, alignment=alignment, aligned=aligned), {})
    if face is not None:
        raise GuideError("--face chooses in one photo, not in a folder; name the photo itself.")
    return load_person(path, alignment=alignment, aligned=aligned)


def name_in(path: Path, folder: str | Path) -> str:
    """The name of a file inside a folder, as it can be printed and stored."""
    return shown(path.relative_to(folder).as_posix())


def tell_skipped(skipped: Mapping[str, str], folder: str | Path) -> None:
    """Say on standard error how many files were left out, and of the first few why."""
    if skipped:
        files = "1 file" if len(skipped) == 1 else f"{len(skipped)} files"
        more = " ..." if len(skipped) > TOLD else ""
        print(f"skipped {files} in {shown(folder)}: {' '.join(list(skipped.values())[:TOLD])}{more}", file=sys.stderr)


def _identity(folder: str | Path) -> tuple[int, int]:
    """Which folder it is, by whatever path or link one came."""
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _is_picture(path: Path) -> bool:
    """Whether a file begins as a picture does; else GuideError says what is wrong with it."""
    with opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd about a picture is its reader's to say
        try:
            Image.open(file, formats=FORMATS).close()
        except Exception:  # a damaged file can make a decoder raise nearly anything
            load_photo(path)
    return True
