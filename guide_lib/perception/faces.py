"""Cut one face out of a photo as the pictures were cut from which a generator learned.

>>> from guide_lib.assets import shipped
>>> photo = Image.open(shipped("portrait.png"))
>>> list(align(photo, size=256).shape)
[1, 3, 256, 256]
"""

from PIL import Image
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.generators.alignment import FFHQ, Alignment
from guide_lib.perception.crops import cut_out
from guide_lib.perception.detection import SMALLEST_FACE, Face, detect_faces


def align(photo: Image.Image, size: int = 512, face: int | None = None, alignment: Alignment = FFHQ) -> Tensor:
    """Cut out one face of a photo: [1,3,size,size] in [-1,1].

    face: counted from left to right, needed only where several are large enough. alignment: the generator's. What lies
    outside the photo is filled by reflection.

    Raises:
        GuideError: there is no face, several and none chosen, no such face, or it is narrower than 40 px.

    >>> align(Image.new("RGB", (100, 100), "grey"))
    Traceback (most recent call last):
    guide_lib.errors.GuideError: No face found in the photo; turn it upright, or use a sharp, well-lit one of a face
    seen from the front.
    """
    chosen = _choose(detect_faces(photo), face, photo.info.get("name", "the photo"))
    return cut_out(photo, chosen.landmarks, size, alignment)


def _choose(faces: list[Face], index: int | None, name: str) -> Face:
    """The face that was asked for; else the only one, or the only one that is large enough."""
    count, last = len(faces), len(faces) - 1
    if not faces:
        raise GuideError(
            f"No face found in {name}; turn it upright, or use a sharp, well-lit one of a face seen from the front."
        )
    large = [face for face in faces if face.width >= SMALLEST_FACE]
    if index is None and len(large) > 1:
        raise GuideError(f"{count} faces found in {name}; choose one with --face 0 (leftmost) to --face {last}.")
    if index is not None and not 0 <= index < count:
        wanted = "--face 0" if count == 1 else f"--face 0 (leftmost) to --face {last}"
        raise GuideError(f"There is no face {index} in {name}, which shows {count}; use {wanted}.")
    chosen = faces[index] if index is not None else max(large or faces, key=lambda face: face.width)
    if chosen.width < SMALLEST_FACE:
        least = f"at least {SMALLEST_FACE} px"
        raise GuideError(f"The face in {name} is only {chosen.width:.0f} px wide; use a photo in which it is {least}.")
    return chosen
