"""Find faces in a photo and align them as the FFHQ pictures are aligned (Karras et al. 2019, section A).

>>> from guide_lib.assets import shipped
>>> photo = Image.open(shipped("portrait.png"))
>>> faces = detect_faces(photo)                              # left to right
>>> len(faces), list(align(photo, size=256, face=0).shape)
(1, [1, 3, 256, 256])

Points are in pixels, (x, y), with the centre of the top left pixel at (0, 0). An affine map is a 2x3 matrix
that takes points of the input picture to points of the output picture.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.perception.crops import fixed_crop

SMALLEST_FACE = 40  # px, the width of a detection box: below it an aligned face is a blur
REFINE_SIZE = 256  # px of the upright face on which the points are found once more
MIN_CONFIDENCE = 0.9
# Measured on 96 generated faces, which are FFHQ-aligned: with FFHQ's own 0.1 and 1 the median crop would
# shrink the face to 0.979 and move it by 1.7 px of 512.
CENTRE, ZOOM = 0.113, 0.979


@dataclass(frozen=True)
class Face:
    """One detection.

    box: (left, top, right, bottom) px. landmarks: [5,2] px, the eye centres, the tip of the nose and the corners of the
    mouth, each pair left to right as seen in the picture. confidence: in [0,1].

    >>> Face((10.0, 20.0, 90.0, 130.0), np.zeros((5, 2)), 0.99).width
    80.0
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    confidence: float

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return self.box[2] - self.box[0]


# ---------------------------------------------------------------------------------------------------------
# Detection: MTCNN (Zhang et al. 2016) from facenet-pytorch


@lru_cache(maxsize=4)
def _detector(min_face: int, device: str) -> torch.nn.Module:
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, min_face_size=min_face, device=device)


def detect_faces(image: Image.Image, device: str = "cpu") -> list[Face]:
    """All faces, left to right. Below 20 px, or 1/40 of the longest side, a face may be missed."""
    min_face = max(20, max(image.size) // 40)
    if min(image.size) < min_face:  # no face fits into a strip so thin, and MTCNN cannot take it
        return []
    boxes, confidences, points = _detector(min_face, device).detect(image.convert("RGB"), landmarks=True)
    if boxes is None:
        return []
    faces = [
        Face(tuple(map(float, box)), np.asarray(five, dtype=np.float64), float(confidence))
        for box, confidence, five in zip(boxes, confidences, points, strict=True)
        if confidence is not None and confidence >= MIN_CONFIDENCE
    ]
    return sorted(faces, key=lambda face: face.box[0])


def find_landmarks(images: Tensor, device: str = "cpu") -> tuple[np.ndarray, np.ndarray]:
    """The five points of the largest face in each picture that one face fills.

    images: [N,3,H,W] in [-1,1], one size. Returns landmarks [N,5,2] in pixels and found [N] bool; the
    landmarks of a picture without a face are NaN. Faces below a sixth of the picture are not looked for.
    """
    pixels = to_uint8(images)
    landmarks, found = np.full((len(pixels), 5, 2), np.nan), np.zeros(len(pixels), dtype=bool)
    detector = _detector(max(20, min(images.shape[2:]) // 6), device)
    boxes, confidences, points = detector.detect(pixels, landmarks=True)
    for i, confidence in enumerate(confidences):
        if boxes[i] is None or confidence[0] is None:
            continue
        box, confidence = boxes[i].astype(np.float64), np.asarray(confidence, dtype=np.float64)
        areas = np.prod(box[:, 2:] - box[:, :2], axis=1)
        best = int(np.argmax(np.where(confidence >= MIN_CONFIDENCE, areas, -1.0)))
        found[i] = confidence[best] >= MIN_CONFIDENCE
        landmarks[i] = points[i][best] if found[i] else np.nan
    return landmarks, found


def to_uint8(images: Tensor) -> np.ndarray:
    """[N,3,H,W] in [-1,1] -> [N,H,W,3] uint8.

    >>> to_uint8(torch.tensor([-1.0, 0.2, 1.5]).view(1, 3, 1, 1))
    array([[[[  0, 153, 255]]]], dtype=uint8)
    """
    levels = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return levels.round().byte().permute(0, 2, 3, 1).cpu().numpy()


# ---------------------------------------------------------------------------------------------------------
# Geometry


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift [2,3] that take source [K,2] to target [K,2] with least squared error.

    Points as complex numbers: target = a source + b, where a is a turn and a scale, b a shift.

    >>> source = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> similarity_transform(source, 2 * source + [5, 7])
    array([[ 2., -0.,  5.],
           [ 0.,  2.,  7.]])
    """
    z, t = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    z0, t0 = z.mean(), t.mean()
    a = np.vdot(z - z0, t - t0) / np.vdot(z - z0, z - z0)
    b = t0 - a * z0
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def rescale_input(matrix: np.ndarray, designed_for: int, size: int) -> np.ndarray:
    """The same crop for an input of `size` px where `matrix` expects `designed_for` px.

    Pixel centres are half a pixel inside: x_designed = (x + 0.5) designed_for / size - 0.5.

    >>> rescale_input(np.array([[1.0, 0, 0], [0, 1.0, 0]]), designed_for=512, size=256)
    array([[2. , 0. , 0.5],
           [0. , 2. , 0.5]])
    """
    ratio = designed_for / size
    to_designed = np.array([[ratio, 0, (ratio - 1) / 2], [0, ratio, (ratio - 1) / 2], [0, 0, 1]])
    return np.asarray(matrix) @ to_designed


def ffhq_matrix(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The 2x3 matrix of the FFHQ alignment of one face from its five points [5,2].

    FFHQ cuts a square around eyes + 0.1 (mouth - eyes), whose half side is max(2.0 |eye to eye|, 1.8 |eyes to
    mouth|) and whose x axis is the mean direction of the eye line and of the line across the face. It takes
    these from 68 landmarks; MTCNN's five differ by a constant, which CENTRE and ZOOM make good.
    """
    z = landmarks[:, 0] + 1j * landmarks[:, 1]
    eyes, mouth = (z[0] + z[1]) / 2, (z[3] + z[4]) / 2
    across, down = z[1] - z[0], mouth - eyes
    direction = across - 1j * down  # `down` turned by -90 degrees points across the face as well
    half = direction / abs(direction) * max(2.0 * abs(across), 1.8 * abs(down)) * ZOOM
    centre = eyes + CENTRE * down
    middle = (size - 1) / 2
    corners = np.array([centre - half, centre + half, centre + 1j * half])
    source = np.stack([corners.real, corners.imag], axis=1)
    target = np.array([[-0.5, middle], [size - 0.5, middle], [middle, size - 0.5]])
    return similarity_transform(source, target)


def ffhq_square(landmarks: np.ndarray) -> np.ndarray:
    """What `ffhq_matrix` cuts out of the photo: four corners [4,2] px, clockwise from the face's top left.

    >>> five = np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 60.0], [43.0, 70.0], [57.0, 70.0]])    # upright
    >>> ffhq_square(five).round().tolist()
    [[11.0, 13.0], [89.0, 13.0], [89.0, 91.0], [11.0, 91.0]]
    """
    matrix = ffhq_matrix(landmarks, 1)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    return (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def align(photo: Image.Image, size: int = 512, face: int | None = None) -> Tensor:
    """Cut out one face of a photo as FFHQ does: [1,3,size,size] in [-1,1].

    `face` counts the faces from left to right and is needed only where there are several. What lies outside
    the photo is filled by reflection. Raises GuideError when there is no face, several and none chosen, no
    such face, or when the face is narrower than 40 px.

    >>> align(Image.new("RGB", (100, 100), "grey"))
    Traceback (most recent call last):
    guide_lib.errors.GuideError: No face found in the photo; use a sharp, well-lit photo of a face seen from the front.
    """
    chosen = _choose(detect_faces(photo), face, photo.info.get("name", "the photo"))
    return cut_out(photo, refine_landmarks(photo, chosen.landmarks), size)


def refine_landmarks(photo: Image.Image, landmarks: np.ndarray) -> np.ndarray:
    """Look for the five points [5,2] again in the upright, centred face: MTCNN is less exact on a turned one.

    Somebody else may lean into the square and be larger: then the points stay what they were.
    """
    rough = ffhq_matrix(landmarks, REFINE_SIZE)
    points, found = find_landmarks(cut_out(photo, landmarks, REFINE_SIZE))
    if not found[0]:
        return landmarks
    refined = (points[0] - rough[:, 2]) @ np.linalg.inv(rough[:, :2]).T
    moved, eye_to_eye = (np.linalg.norm(d) for d in ((refined - landmarks).mean(0), landmarks[1] - landmarks[0]))
    return refined if moved < eye_to_eye / 2 else landmarks


def cut_out(photo: Image.Image, landmarks: np.ndarray, size: int) -> Tensor:
    """The FFHQ square of one face, [1,3,size,size] in [-1,1]; what lies outside the photo is filled by reflection."""
    pixels = torch.from_numpy(np.array(photo.convert("RGB"))).permute(2, 0, 1)[None]
    return fixed_crop(pixels.float() / 127.5 - 1, ffhq_matrix(landmarks, size), size, padding_mode="reflection")


def _choose(faces: list[Face], index: int | None, name: str) -> Face:
    count, last = len(faces), len(faces) - 1
    if not faces:
        raise GuideError(f"No face found in {name}; use a sharp, well-lit photo of a face seen from the front.")
    if index is None and count > 1:
        raise GuideError(f"{count} faces found in {name}; choose one with --face 0 (leftmost) to --face {last}.")
    if index is not None and not 0 <= index < count:
        wanted = "--face 0" if count == 1 else f"--face 0 (leftmost) to --face {last}"
        raise GuideError(f"There is no face {index} in {name}, which shows {count}; use {wanted}.")
    chosen = faces[index or 0]
    if chosen.width < SMALLEST_FACE:
        least = f"at least {SMALLEST_FACE} px"
        raise GuideError(f"The face in {name} is only {chosen.width:.0f} px wide; use a photo in which it is {least}.")
    return chosen
