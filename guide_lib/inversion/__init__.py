"""From a photo to the latent that draws it: optimisation, an encoder, pivotal tuning."""

from guide_lib.inversion.encoder import Encoder, load_encoder
from guide_lib.inversion.methods import METHODS, invert_by, reconstructions, with_steps
from guide_lib.inversion.optimise import InversionSettings, InversionStep, inversion_steps, invert
from guide_lib.inversion.pivotal import PivotalSettings, PivotalStep, pivotal_tuning
from guide_lib.inversion.report import invert_person

__all__ = [
    "Encoder",
    "InversionSettings",
    "InversionStep",
    "METHODS",
    "PivotalSettings",
    "PivotalStep",
    "inversion_steps",
    "invert",
    "invert_by",
    "invert_person",
    "load_encoder",
    "pivotal_tuning",
    "reconstructions",
    "with_steps",
]
