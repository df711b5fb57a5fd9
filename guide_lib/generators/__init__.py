"""Generators: networks that turn a latent into a face."""

from guide_lib.generators.base import Generator, Rendering, View
from guide_lib.generators.load import load_generator

__all__ = ["Generator", "Rendering", "View", "load_generator"]
