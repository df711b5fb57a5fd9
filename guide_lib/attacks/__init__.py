"""Opponents of an unlearned generator G_u, each with what it costs: steps and seconds.

- `search`: attackers as data look for a code that draws the person (`ATTACKERS`); `search_beside`: with its controls
- `reinvert`: the same in short, with the networks of the loss
- `neighbour_curve`: the person at a distance from w_u
- `relearn`: pivotal tuning until the judge accepts the person again
- `fingerprint_alone`, `fingerprint_beside`: which of K latents was erased?

ID asks one latent, the one that unlearning was shown. None of these does. The judge measures and never takes part: an
attacker optimises with a recogniser of his own, the defender's or another.
"""

from guide_lib.attacks.controls import Beside, Line, search_beside, strangers_of
from guide_lib.attacks.fingerprints import PROBE, Fingerprint, fingerprint_alone, fingerprint_beside
from guide_lib.attacks.found import Found, Hunted
from guide_lib.attacks.likelihood import Likelihood, likelihood_of
from guide_lib.attacks.neighbours import Neighbours, neighbour_curve
from guide_lib.attacks.reinversion import Reinversion, reinvert
from guide_lib.attacks.relearning import Relearning, relearn
from guide_lib.attacks.search import ATTACKERS, Attacker, Equipment, search

__all__ = [
    "ATTACKERS",
    "Attacker",
    "Beside",
    "Equipment",
    "Fingerprint",
    "Found",
    "Hunted",
    "Likelihood",
    "Line",
    "Neighbours",
    "PROBE",
    "Reinversion",
    "Relearning",
    "fingerprint_alone",
    "fingerprint_beside",
    "likelihood_of",
    "neighbour_curve",
    "reinvert",
    "relearn",
    "search",
    "search_beside",
    "strangers_of",
]
