"""Erasing without training: the edit, the metrics that it is least in, and the list of those who were erased."""

from guide_lib.closed_form.edit import Erasure, compose, erase, forgetful
from guide_lib.closed_form.fibre import IdentityCoordinates, coordinates_of, fibre_metric, identity_coordinates
from guide_lib.closed_form.forget_list import ForgetList
from guide_lib.closed_form.metric import metric_of, population_moment, weighted_metric

__all__ = [
    "Erasure",
    "ForgetList",
    "IdentityCoordinates",
    "compose",
    "coordinates_of",
    "erase",
    "fibre_metric",
    "forgetful",
    "identity_coordinates",
    "metric_of",
    "population_moment",
    "weighted_metric",
]
