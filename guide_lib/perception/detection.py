"""Find faces in a photo: of any size, and whichever way up it lies. MTCNN (Zhang et al. 2016) from facenet-pytorch.

>>> from guide_lib.assets import shipped
>>> photo = Image.open(shipped("portrait.png"))
>>> (face,) = detect_faces(photo.transpose(Image.Transpose.ROTATE_180))
>>> bool(face.landmarks[0, 1] > face.landmarks[3, 1])        # the eyes are below the mouth
True

MTCNN knows upright faces. Where it meets one that lies on its side it often puts an upright one there, in the wrong
place and with a confidence of 0.99. So every face is cut out and looked at the four ways up: it is believed if it is
surest of itself as it was found. Where no face stands the photo is turned by a quarter, until one does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from guide_lib.generators.alignment import FFHQ
from guide_lib.perception.crops import cut_out, to_uint8

SMALLEST_FACE = 40  # px, the width of a detection box: below it an aligned face is a blur
REFINE_SIZE = 256  # px of the upright face on which the points are found once more
MIN_CONFIDENCE = 0.9
MIN_SURE, BEYOND_DOUBT = 0.98, 0.999  # of 180 upright faces none had less than 0.99 when it was looked at again
# How the photo is looked at: its longest side in px, and which part of that side the smallest face found may be. The
# next is needed only where there was none, so a passer-by far behind is not a second person.
LEVELS = ((2048, 40), (2048, 80), (3072, 150))
LEAST = 20  # px, the smallest face that MTCNN is made for
QUARTERS = {0: None, 1: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_270, 2: Image.Transpose.ROTATE_180}
STEEPEST = 60  # degrees: a face turned further stands better after a quarter


@dataclass(frozen=True)
class Face:
    """One detection.

    box: (left, top, right, bottom) px. landmarks: [5,2] px, the eye centres, the tip of the nose and the corners of the
    mouth, each pair left to right as the upright face is seen. confidence: in [0,1], of the second look. width:
    of the face, in px.

    >>> Face((10.0, 20.0, 90.0, 130.0), np.zeros((5, 2)), 0.99, 80.0).width
    80.0
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    confidence: float
    width: float


def detect_faces(photo: Image.Image, device: str = "cpu") -> list[Face]:
    """All faces that stand upright, or else all that do once the photo is turned by a quarter, a half or three; left
    to right.

    Where faces of at least 1/40 of the longest side are found (20 px in a small photo), smaller ones are left out;
    where none is, they are looked for down to 40 px or 1/150 of that side.
    """
    seen: list[Face] = []
    for side, min_face in _levels(photo.size):
        faces = _look(photo, _at_most(photo, side), min_face, device)
        if any(face.width >= SMALLEST_FACE for face in faces):
            return faces
        seen = seen or faces
    return seen


def find_landmarks(images: Tensor, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """The five points of the largest face in each picture that one face fills.

    images: [N,3,H,W] in [-1,1], one size. Returns landmarks [N,5,2] in pixels and found [N] bool; the
    landmarks of a picture without a face are NaN. Faces below a sixth of the picture are not looked for.
    """
    landmarks, confidence = _largest(to_uint8(images), max(LEAST, min(images.shape[2:]) // 6), device)
    return landmarks, confidence > 0


def plausible(landmarks: np.ndarray) -> bool:
    """Whether five points [5,2] can be those of a face, whichever way it is turned: the eyes above the mouth, the nose
    between, left and right not exchanged, and none of it far too wide or too long.

    >>> five = np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 60.0], [43.0, 70.0], [57.0, 70.0]])
    >>> plausible(five), plausible(five[::-1]), plausible(five * [1, -1])
    (True, True, False)
    """
    z = landmarks[:, 0] + 1j * landmarks[:, 1]
    middle = (z[0] + z[1]) / 2
    down = (z[3] + z[4]) / 2 - middle
    # In units of the way from the eyes to the mouth, which points along the real axis.
    eyes, mouth, nose = 1j * (z[1] - z[0]) / down, 1j * (z[4] - z[3]) / down, (z[2] - middle) / down
    between = 0 < nose.real < 1.2 and abs(nose.imag) < 1
    return bool(between and 0.2 < eyes.real < 2.5 and abs(eyes.imag) < eyes.real and 0 < mouth.real < 2.5)


def refined(landmarks: np.ndarray, seen: np.ndarray) -> np.ndarray | None:
    """The five points as they are `seen` in the upright, centred face of `REFINE_SIZE` px, back in the photo: MTCNN is
    less exact on a turned face.

    None where there were none, or where they are off by half the way between the eyes, and so are of somebody else who
    leans into the square and is larger.
    """
    rough = FFHQ.matrix(landmarks, REFINE_SIZE)
    again = (seen - rough[:, 2]) @ np.linalg.inv(rough[:, :2]).T
    moved, eye_to_eye = (np.linalg.norm(d) for d in ((again - landmarks).mean(0), landmarks[1] - landmarks[0]))
    return again if moved < eye_to_eye / 2 else None


# ---------------------------------------------------------------------------------------------------------
# One look at the photo: shrunk, turned, and back


def _levels(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The longest side of the photo to look at and the smallest face to look for, both in px of it."""
    for longest, share in LEVELS:
        side = min(longest, max(size))
        min_face = max(LEAST, side // share)
        yield side, min_face
        if min_face * max(size) <= SMALLEST_FACE * side:
            return


def _look(photo: Image.Image, small: Image.Image, min_face: int, device: str) -> list[Face]:
    """The faces that stand in the photo as it is, left to right; or in the way up in which the surest of all does."""
    best, surest = [], 0.0
    for quarters in QUARTERS:
        raw = _turned(photo, small, quarters, min_face, device)
        faces = [face for face in (_confirmed(photo, face, quarters, device) for face in raw) if face]
        sure = max((face.confidence for face in faces), default=0.0)
        if sure > surest:
            best, surest = faces, sure
        if surest >= BEYOND_DOUBT:
            break
    return sorted(best, key=lambda face: face.box[0])


def _at_most(photo: Image.Image, side: int) -> Image.Image:
    if max(photo.size) <= side:
        return photo
    small = photo.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def _turned(photo: Image.Image, small: Image.Image, quarters: int, min_face: int, device: str) -> Iterator[Face]:
    """What MTCNN finds in the small photo turned counter-clockwise, in pixels of the photo as it is."""
    if min(small.size) < min_face:  # no face fits into a strip so thin, and MTCNN cannot take it
        return
    way, scale = QUARTERS[quarters], np.divide(photo.size, small.size)
    looked_at = (small if way is None else small.transpose(way)).convert("RGB")
    boxes, confidences, points = _detector(min_face, device).detect(looked_at, landmarks=True)
    for box, confidence, five in zip(boxes, confidences, points, strict=True) if boxes is not None else ():
        if confidence is None or confidence < MIN_CONFIDENCE:
            continue
        width = (box[2] - box[0]) * scale[quarters % 2]
        corners = _turned_back(np.reshape(box, (2, 2)), quarters, small.size, scale)
        here = _turned_back(five, quarters, small.size, scale)
        yield Face((*corners.min(0).tolist(), *corners.max(0).tolist()), here, float(confidence), float(width))


def _turned_back(points: np.ndarray, quarters: int, size: tuple[int, int], scale: np.ndarray) -> np.ndarray:
    """Points [K,2] of a picture of `size` that was turned counter-clockwise -> of the same, not turned and enlarged."""
    points = np.asarray(points, dtype=np.float64)
    for k in reversed(range(quarters)):  # undo one quarter: the picture was size[k % 2] wide before it
        points = np.stack([size[k % 2] - 1 - points[:, 1], points[:, 0]], axis=1)
    return (points + 0.5) * scale - 0.5


def _confirmed(photo: Image.Image, face: Face, quarters: int, device: str) -> Face | None:
    """The face with better points, or None if it seems to be none, or one that lies on its side in the photo so turned.

    What was found must be found again, or have been beyond doubt; and the same turned by quarters must leave at least
    half of its doubt. Where nothing is found in those, the surer of the two looks counts.
    """
    crop = cut_out(photo, face.landmarks, REFINE_SIZE)
    seen, sure = (found[0] for found in _largest(to_uint8(crop), REFINE_SIZE // 6, device))
    half = to_uint8(F.avg_pool2d(crop, 2))[0]
    rival = _largest(np.stack([np.rot90(half, k) for k in (1, 2, 3)]), len(half) // 3, device)[1].max()
    landmarks = refined(face.landmarks, seen)
    if landmarks is None:
        landmarks, sure = face.landmarks, face.confidence if face.confidence >= BEYOND_DOUBT else 0.0
    elif not rival:
        sure = max(sure, face.confidence)
    across = complex(*(landmarks[1] - landmarks[0])) * (-1j) ** quarters  # as seen in the photo so turned
    standing = plausible(landmarks) and abs(np.degrees(np.angle(across))) <= STEEPEST
    believed = sure >= MIN_SURE and 1 - sure <= 2 * (1 - rival)
    return replace(face, landmarks=landmarks, confidence=float(sure)) if standing and believed else None


def _largest(pixels: np.ndarray, min_face: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """The points [N,5,2] of the largest face in each picture, uint8 [N,H,W,3], and its confidence [N]; NaN and 0 where
    there is none."""
    landmarks, confidence = np.full((len(pixels), 5, 2), np.nan), np.zeros(len(pixels))
    found = _detector(min_face, device).detect(pixels, landmarks=True)
    for i, (boxes, sure, points) in enumerate(zip(*found, strict=True)):
        if boxes is None or sure[0] is None:
            continue
        boxes, sure = boxes.astype(np.float64), np.asarray(sure, dtype=np.float64)
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        best = int(np.argmax(np.where(sure >= MIN_CONFIDENCE, areas, -1.0)))
        if sure[best] >= MIN_CONFIDENCE:
            landmarks[i], confidence[i] = points[best], sure[best]
    return landmarks, confidence


@lru_cache(maxsize=8)
def _detector(min_face: int, device: str) -> torch.nn.Module:
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, min_face_size=min_face, device=device)
