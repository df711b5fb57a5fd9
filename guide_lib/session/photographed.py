"""The person in one photo or in several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from guide_lib.experiment import Networks, Person
from guide_lib.files import shown
from guide_lib.inversion.methods import invert_by, reconstructions
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
    return Person(name, codes[:1], cut[:1], codes[1:] if len(codes) > 1 else None, {"inversion": cosines})
