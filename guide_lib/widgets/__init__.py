"""Interactive views for the notebooks, each of which also works without a browser.

>>> explorer = LatentExplorer(lambda seed, truncation: generator.picture(w_u))
>>> explorer.set(seed=3)                             # as if the slider had been moved
>>> explorer.state()
'The face of seed 3 at truncation 0.7.'

Only widgets that ipywidgets 7.7 (Colab) and 8.1 share. Pictures are drawn into bytes and handed to an `Image`
widget; `png()` gives the same picture as a file, `state()` says in words what it shows. Widgets know steps
and pictures; they never see an optimiser.
"""

from guide_lib.widgets.base import Shown, View, show
from guide_lib.widgets.dashboard import UnlearningDashboard
from guide_lib.widgets.explorers import (
    BeforeAfter,
    CameraOrbit,
    DrawnExplorer,
    EditExplorer,
    Explorer,
    LatentExplorer,
    LatentWalk,
)
from guide_lib.widgets.forgotten import ManyForgotten
from guide_lib.widgets.latents import LatentEditor, LatentMixer, TargetSlider
from guide_lib.widgets.measured import LossMixer, PeopleGrid, ThresholdSlider
from guide_lib.widgets.scrubber import InversionScrubber

__all__ = [
    "BeforeAfter",
    "CameraOrbit",
    "DrawnExplorer",
    "EditExplorer",
    "Explorer",
    "InversionScrubber",
    "LatentEditor",
    "LatentExplorer",
    "LatentMixer",
    "LatentWalk",
    "LossMixer",
    "ManyForgotten",
    "PeopleGrid",
    "Shown",
    "TargetSlider",
    "ThresholdSlider",
    "UnlearningDashboard",
    "View",
    "show",
]
