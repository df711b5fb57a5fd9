"""How the numbers of a folder come about, for programs: protocol.json, so that others' numbers can be put beside ours.

>>> protocol = protocol_of(networks, UnlearningSettings(), attacks=True)
>>> protocol["judge"]["threshold"], protocol["judge"]["strict"], protocol["attackers"]["own"]["starts"]
(0.716, 0.651, 4)
>>> protocol["metrics"]["retention"]
{'label': 'retention', 'meaning': '...', 'better': 'higher', 'unit': 'judge cosine', 'bounds': [-1.0, 1.0]}

docs/protocol.md says the same in words. Two numbers compare where judge, threshold, resolution, people and, for an
attack, the attacker's budget are the same.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from torch import nn

from guide_lib.attacks import ATTACKERS, TUNERS
from guide_lib.attacks.chance import STREAM
from guide_lib.attacks.controls import STRANGER_SEED
from guide_lib.attacks.found import APART
from guide_lib.evaluation.scenarios import HELD_OUT, TRUNCATIONS
from guide_lib.experiment import OTHERS_SEED, Networks
from guide_lib.metrics.columns import METRICS
from guide_lib.metrics.forgetting import YAWS
from guide_lib.metrics.thresholds import THRESHOLDS, thresholds_of
from guide_lib.session.attacking import CANDIDATE_SEED, CANDIDATES
from guide_lib.unlearning import UnlearningSettings

RELEARNING_STEPS = 100  # what an attacker is given
OTHERS_STEPS = 30  # where each is on several people's pictures
STRANGERS = 1  # for whom each student is searched


def protocol_of(networks: Networks, settings: UnlearningSettings, attacks: bool) -> dict[str, Any]:
    """Networks, thresholds, seeds, budgets and metrics, as a row of the folder is measured. attacks: whether any is."""
    n = networks
    protocol = {
        "package": version("guide-lib"),
        "generator": {"class": type(n.generator).__name__, "resolution": n.generator.resolution},
        "defender": {"perceptual": _name(n.perceptual), "embedder": _name(n.embedder), "settings": asdict(settings)},
        "judge": {"name": _name(n.judge), "threshold": n.acceptance, "false_accepts": 1e-3} | _strict(n),
        "seeds": {"people": "0, 1, ...", "held_out": HELD_OUT, "others": OTHERS_SEED, "run": settings.seed},
        "truncations": TRUNCATIONS,
        "yaws": YAWS,
        "intervals": {"level": 0.95, "sample": "people", "shares": "Clopper-Pearson"},
        "metrics": {key: _facts(key) for key in METRICS},
    }
    return protocol | (_attacks() if attacks else {})


def _attacks() -> dict[str, Any]:
    """Of the attacks that a row has: who attacks, with which budget, and what stands beside."""
    return {
        "attackers": {"own": asdict(ATTACKERS["own"])},
        "controls": {"untouched": "the same attack on G_s", "strangers": STRANGERS, "strangers_seed": STRANGER_SEED},
        "recoveries": {"apart": APART},
        "attack_seeds": STREAM,
        "relearning": {
            "steps": RELEARNING_STEPS,
            "steps_on_others": OTHERS_STEPS,
            "tuners": {name: asdict(tuner) for name, tuner in TUNERS.items()},
        },
        "fingerprint": {"candidates": CANDIDATES, "seed": CANDIDATE_SEED},
    }


def _strict(networks: Networks) -> dict[str, Any]:
    """The second threshold, that of pairs of one person; and both at the size of the folder, where they are known."""
    name, drawn = _name(networks.judge), networks.generator
    facts = {"strict": thresholds_of("dlib", 256, drawn.faces).strict, "false_rejects": 1 / 25}
    if name not in THRESHOLDS:
        return facts
    return facts | {"at_this_size": asdict(thresholds_of(name, drawn.resolution, drawn.faces))}


def _name(network: nn.Module) -> str:
    return getattr(network, "name", type(network).__name__)


def _facts(key: str) -> dict[str, Any]:
    metric = METRICS[key]
    bounds = [None if math.isinf(bound) else bound for bound in metric.bounds]
    return {
        "label": metric.label,
        "meaning": metric.meaning,
        "better": metric.side,
        "unit": metric.unit,
        "bounds": bounds,
    }
