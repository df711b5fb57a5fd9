"""The random numbers of all attacks, none of which the defender or the evaluation draws.

>>> torch.equal(attack_rng(0).get_state(), torch.Generator().manual_seed(0).get_state())
False
"""

from __future__ import annotations

import torch

from guide_lib.runtime import step_rng

# Added to the seeds: with those of the people themselves an attacker would draw, by accident, whom he looks for.
STREAM = 2_000


def attack_rng(seed: int) -> torch.Generator:
    """What the attack with this seed draws from, on the CPU."""
    return step_rng(STREAM + seed, 0)
