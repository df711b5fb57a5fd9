"""People in photos: one person in one photo or several, or everybody in a folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, Person
from guide_lib.files import shown
from guide_lib.generators.alignment import Alignment
from guide_lib.inversion.methods import invert_by, reconstructions
from guide_lib.perception.albums import entries, photos_of, tell_skipped
from guide_lib.perception.photos import load_face
from guide_lib.perception.pose import views_of

SIZE = 512  # px of the aligned photo
Photo = str | Path | Tensor | Sequence[str | Path]


def photographed(
    networks: Networks, photo: Photo, folder: Path, inversion: str, face: int | None = None, aligned: bool = False
) -> Person:
    """Cut the face out, invert it, and say how well that went; see `Session.choose`.

    photo: a file, several of one person, or aligned pictures [N, 3, S, S] in [-1, 1]; the first is the person's, the
    latents of the rest are their `others`. folder: where inversions are kept.

    Raises:
        GuideError: no usable face, or an unknown method.
    """
    name, cut, generator = "photo", photo, networks.generator
    if not isinstance(photo, Tensor):
        files = [photo] if isinstance(photo, str | Path) else photo
        name = shown(Path(files[0]).stem)
        cut = torch.cat([load_face(file, SIZE, face, generator.alignment, aligned) for file in files])
    views = views_of(generator, cut)
    stages = invert_by(inversion, networks, cut, folder, views=views)
    seen = reconstructions(networks, cut, stages, views)
    cosines = {stage: found.judge[0].item() for stage, found in seen.items()}
    codes = list(stages.values())[-1].ws
    return _person(name, codes, cut, inversion=cosines)


def _person(name: str, codes: Tensor, photos: Tensor, **facts: object) -> Person:
    """Of several photos the first is the person's, the latents of the rest are their `others`."""
    return Person(name, codes[:1], photos[:1], codes[1:] if len(codes) > 1 else None, facts)


def photographed_people(
    networks: Networks,
    photos: Path,
    folder: Path,
    count: int | None = None,
    skip: Collection[str] = (),
    inversion: str = "optimise",
) -> Iterator[Person]:
    """One photo, or a folder: each photo in it is a person, and each folder in it one person of several photos.

    Of several photos the first is the person's, the latents of the rest are their `others`. Whoever cannot be used is
    left out, and standard error says why; the next one takes the place, until there are `count`. folder: where
    inversions are kept. skip: names of people to leave out, who then need no inversion.

    Raises:
        GuideError: nobody can be used.
    """
    for name, aligned in usable_people(networks.generator.alignment, photos, count, skip):
        yield _person(name, inverted(networks, aligned, folder, inversion), aligned)


def usable_people(
    alignment: Alignment, photos: Path, count: int | None = None, skip: Collection[str] = ()
) -> Iterator[tuple[str, Tensor]]:
    """Name and aligned photos [N, 3, S, S] of those whom `photographed_people` yields; nobody is inverted.

    Raises:
        GuideError: nobody can be used.
    """
    names: list[str] = []
    for path in _entries(photos):
        name = _name(path)
        if len(names) == count:
            break
        try:
            aligned = None if name in skip and name not in names else _aligned(path, name, names, alignment)
        except GuideError as error:
            if path == photos:
                raise
            tell_skipped({name: str(error)}, photos)
            continue
        names.append(name)
        if aligned is not None:
            yield name, aligned
    if not names and count != 0:
        raise GuideError(f"Nobody in {photos} can be used; add a sharp photo for each person, or a folder for each.")


def photographed_person(networks: Networks, photos: Path, name: str, folder: Path) -> Person:
    """Whom `photographed_people` calls so, without a look at the others.

    Raises:
        GuideError: there is no usable photo of that name.
    """
    others = {_name(path) for path in _entries(photos)} - {name}
    for _, aligned in usable_people(networks.generator.alignment, photos, skip=others):
        return _person(name, inverted(networks, aligned, folder), aligned)
    raise GuideError(f"There is no usable photo of {name} in {photos}; add one.")


def _entries(photos: Path) -> list[Path]:
    return list(entries(photos)) if os.path.isdir(photos) else [photos]


def _name(path: Path) -> str:
    """A folder may have a dot in its name, a photo has an ending."""
    return shown(path.name if os.path.isdir(path) else path.stem)


def _aligned(path: Path, name: str, others: Collection[str], alignment: Alignment) -> Tensor:
    """The photos of one person. Raises `GuideError` if none can be used, or somebody else has the name."""
    _, aligned, skipped = photos_of(path, alignment=alignment)
    tell_skipped(skipped, path)
    if name in others:
        raise GuideError(f"Two people in {path.parent} are called '{name}'; rename {path.name}.")
    return aligned


def inverted(networks: Networks, photos: Tensor, folder: Path, inversion: str = "optimise") -> Tensor:
    """The codes [N, rows, w_dim] of aligned photos [N, 3, S, S], of the method's last stage; kept in the folder."""
    views = views_of(networks.generator, photos)
    return list(invert_by(inversion, networks, photos, folder, views=views).values())[-1].ws
