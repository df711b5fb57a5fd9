"""How the pictures that a generator learned from were cut out of photos: every generator has its own alignment.

>>> five = np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 60.0], [43.0, 70.0], [57.0, 70.0]])      # an upright face
>>> FFHQ.square(five).round().tolist()
[[11.0, 13.0], [89.0, 13.0], [89.0, 91.0], [11.0, 91.0]]
>>> EG3D_FFHQ.square(five).round().tolist()                  # lower: more chin, less hair
[[15.0, 24.0], [85.0, 24.0], [85.0, 93.0], [15.0, 93.0]]

Five points stand for a face: the eye centres, the tip of the nose and the corners of the mouth, each pair left to right
as seen in the picture, (x, y) in pixels, the centre of the top left pixel at (0, 0). An affine map is a 2x3 matrix that
takes points of the input picture to points of the output picture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


class Alignment(ABC):
    """A rule that puts a square around five points [5,2] px, turned with the face."""

    @abstractmethod
    def frame(self, landmarks: np.ndarray) -> tuple[complex, complex]:
        """The centre of the square, and the way from there to the middle of its right side; x + iy, in pixels."""

    def matrix(self, landmarks: np.ndarray, size: int) -> np.ndarray:
        """The map [2,3] of the square onto a picture of `size` px."""
        centre, half = self.frame(landmarks)
        middle = (size - 1) / 2
        corners = np.array([centre - half, centre + half, centre + 1j * half])
        source = np.stack([corners.real, corners.imag], axis=1)
        target = np.array([[-0.5, middle], [size - 0.5, middle], [middle, size - 0.5]])
        return similarity_transform(source, target)

    def square(self, landmarks: np.ndarray) -> np.ndarray:
        """What `matrix` cuts out of the photo: four corners [4,2] px, clockwise from the face's top left."""
        matrix = self.matrix(landmarks, 1)
        corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        return (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


@dataclass(frozen=True)
class EyesAndMouth(Alignment):
    """FFHQ's alignment (Karras et al. 2019, section A); an average pair of eyes lies at 0.47 of the height.

    A square around eyes + 0.1 (mouth - eyes), whose half side is max(2.0 |eye to eye|, 1.8 |eyes to mouth|) and whose x
    axis is the mean direction of the eye line and of the line across the face. FFHQ takes these from 68 landmarks;
    MTCNN's five differ by a constant, which two numbers make good. centre: in place of the 0.1. zoom: of the half side.
    Measured on 96 generated faces, which are FFHQ-aligned: with 0.1 and 1 the median crop would shrink the face to
    0.979 and move it by 1.7 px of 512.
    """

    centre: float = 0.113
    zoom: float = 0.979

    def frame(self, landmarks: np.ndarray) -> tuple[complex, complex]:
        z = landmarks[:, 0] + 1j * landmarks[:, 1]
        eyes, mouth = (z[0] + z[1]) / 2, (z[3] + z[4]) / 2
        across, down = z[1] - z[0], mouth - eyes
        direction = across - 1j * down  # `down` turned by -90 degrees points across the face as well
        half = direction / abs(direction) * max(2.0 * abs(across), 1.8 * abs(down)) * self.zoom
        return eyes + self.centre * down, half


@dataclass(frozen=True)
class MeanFace(Alignment):
    """Alignment by a mean face in three dimensions, as EG3D's pictures were cut; it also tells the head's pose.

    face: [5] points (x, y, z), x to the right as seen, y up, z toward the viewer; the square is centred where the fit
    puts their origin. side: of the square, in the units of `face`.
    """

    face: tuple[tuple[float, float, float], ...]
    side: float

    def frame(self, landmarks: np.ndarray) -> tuple[complex, complex]:
        rotation, scale, origin = self.fit(landmarks)
        right = np.exp(-1j * roll(rotation))  # the picture's y axis points down
        return complex(*origin), scale * self.side / 2 * right

    def direction(self, landmarks: np.ndarray) -> tuple[float, float]:
        """Yaw and pitch in degrees of the direction from the head to the camera: positive to the right and upward."""
        x, y, z = self.fit(landmarks)[0][2]
        return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(np.clip(y, -1, 1))))

    def fit(self, landmarks: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """The pose that brings the mean face onto the points, seen from afar (weak perspective).

        Returns the rotation [3,3] from head to camera (rows: the camera's right, up and backward axes as seen from the
        head), the scale in pixels per unit, and where the face's origin is, [2] px. First the best affine map, then the
        rotation and scale nearest to it.
        """
        known = np.column_stack([self.face, np.ones(5)])
        affine = np.linalg.lstsq(known, landmarks * [1, -1], rcond=None)[0].T
        u, stretch, v = np.linalg.svd(affine[:, :3], full_matrices=False)
        right, up = u @ v
        return np.array([right, up, np.cross(right, up)]), stretch.mean(), affine[:, 3] * [1, -1]


def roll(rotation: np.ndarray) -> float:
    """How far, in radians, a pose [3,3] is turned in the plane of the picture, counter-clockwise."""
    return float(np.arctan2(-rotation[0, 1], rotation[1, 1]))


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


FFHQ = EyesAndMouth()
# EG3D's authors fit the mean face of a morphable model (Deng et al. 2019) to five points, bring the photo to 300 px for
# a unit of it and keep the middle 700 px (Chan et al. 2022, supplement): average eyes lie at 0.39 of the height. This
# face gives their squares to 0.2 % of the side in place and 2 % in size, and the better pose: its eyes are the pupils,
# which MTCNN marks, not the corners behind. It looks up by some 7 degrees, as the heads do that EG3D draws.
EG3D_FFHQ = MeanFace(
    ((-0.31, 0.29, 0.1), (0.31, 0.29, 0.1), (0.0, -0.06, 0.44), (-0.26, -0.39, 0.18), (0.26, -0.39, 0.18)), 700 / 300
)
