"""Generators: networks that turn a latent into a face, and directions in their latent space."""

from guide_lib.generators.base import Generator, Rendering, View
from guide_lib.generators.directions import load_directions, measure_faces, mix, move
from guide_lib.generators.load import load_generator
from guide_lib.generators.released import as_released

__all__ = [
    "Generator",
    "Rendering",
    "View",
    "as_released",
    "load_directions",
    "load_generator",
    "measure_faces",
    "mix",
    "move",
]
