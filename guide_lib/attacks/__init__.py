"""Opponents of an unlearned generator G_u, each with what it costs: steps and seconds.

- `reinvert`: another latent that draws the person (in W and in W+)
- `neighbour_curve`: the person at a distance from w_u
- `relearn`: pivotal tuning until the judge accepts the person again
- `fingerprint_alone`, `fingerprint_beside`: which of K latents was erased?

ID asks one latent, the one that unlearning was shown. None of these does. The judge measures and never takes part: an
attacker optimises with the embedder of the loss, as the defender did.
"""

from guide_lib.attacks.fingerprints import PROBE, Fingerprint, fingerprint_alone, fingerprint_beside
from guide_lib.attacks.neighbours import Neighbours, neighbour_curve
from guide_lib.attacks.reinversion import Reinversion, reinvert
from guide_lib.attacks.relearning import Relearning, relearn

__all__ = [
    "Fingerprint",
    "Neighbours",
    "PROBE",
    "Reinversion",
    "Relearning",
    "fingerprint_alone",
    "fingerprint_beside",
    "neighbour_curve",
    "reinvert",
    "relearn",
]
