"""Generators: networks that turn a latent into a face, and directions in their latent space."""

from guide_lib.generators.alignment import EG3D_FFHQ, FFHQ, Alignment, MeanFace
from guide_lib.generators.base import Generator, Rendering, View
from guide_lib.generators.directions import (
    adults,
    attributes_of,
    distance_from_w,
    load_attributes,
    load_directions,
    measure_faces,
    mix,
    move,
)
from guide_lib.generators.load import load_generator
from guide_lib.generators.released import as_released
from guide_lib.generators.students import dressed, load_student, save_student

__all__ = [
    "Alignment",
    "EG3D_FFHQ",
    "FFHQ",
    "Generator",
    "MeanFace",
    "Rendering",
    "View",
    "adults",
    "attributes_of",
    "as_released",
    "distance_from_w",
    "dressed",
    "load_attributes",
    "load_directions",
    "load_generator",
    "load_student",
    "measure_faces",
    "mix",
    "move",
    "save_student",
]
