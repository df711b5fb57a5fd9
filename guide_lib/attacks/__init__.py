"""Opponents of an unlearned generator G_u, each with what it costs: steps and seconds.

- `search`: attackers as data look for a code that draws the person (`ATTACKERS`); `search_beside`: with its controls
- `reinvert`: the same in short, with the networks of the loss
- `neighbour_curve`: the person at a distance from w_u
- `mixing_curve`: w_u in some rows, a stranger in the others
- `relearn`: pivotal tuning until the judge accepts the person again (`TUNERS`); `relearn_beside`: with its control
- `fingerprint_alone`, `fingerprint_beside`: which of K latents was erased?

ID asks one latent, the one that unlearning was shown. None of these does. The judge measures and never takes part: an
attacker optimises with a recogniser of his own, the defender's or another.
"""

from guide_lib.attacks.controls import Beside, Line, search_beside, strangers_of
from guide_lib.attacks.fingerprints import PROBE, Fingerprint, fingerprint_alone, fingerprint_beside
from guide_lib.attacks.found import Found, Hunted
from guide_lib.attacks.likelihood import Likelihood, likelihood_of
from guide_lib.attacks.mixing import Mixture, mixing_curve
from guide_lib.attacks.neighbours import Neighbours, neighbour_curve
from guide_lib.attacks.reinversion import Reinversion, reinvert
from guide_lib.attacks.relearning import (
    TUNERS,
    EqualStart,
    Relearning,
    RelearningBeside,
    from_equal_start,
    lessons_of,
    relearn,
    relearn_beside,
)
from guide_lib.attacks.search import ATTACKERS, Attacker, Equipment, search

__all__ = [
    "ATTACKERS",
    "Attacker",
    "Beside",
    "EqualStart",
    "Equipment",
    "Fingerprint",
    "Found",
    "Hunted",
    "Likelihood",
    "Line",
    "Mixture",
    "Neighbours",
    "PROBE",
    "Reinversion",
    "Relearning",
    "RelearningBeside",
    "TUNERS",
    "fingerprint_alone",
    "fingerprint_beside",
    "from_equal_start",
    "lessons_of",
    "likelihood_of",
    "mixing_curve",
    "neighbour_curve",
    "reinvert",
    "relearn",
    "relearn_beside",
    "search",
    "search_beside",
    "strangers_of",
]
