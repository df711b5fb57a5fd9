"""The targets of `guide_lib.targets` by name, with what each of them needs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.experiment import Networks
from guide_lib.targets import (
    Strangers,
    average_target,
    midway_target,
    natural_target,
    searched_ufo_target,
    ufo_target,
)


def target_of(kind: str, w_u: Tensor, networks: Networks, strangers: Callable[[], Strangers], d: float) -> Tensor:
    """w_t [1, rows, w_dim] for w_u: "ufo" (with d), "average", "natural", "midway", "searched ufo", "self" (w_u).

    strangers: gives them when they are needed, since they are dear.

    Raises:
        GuideError: there is no such kind.
    """
    generator, search = networks.generator, (w_u, networks.generator.small(), networks.embedder)
    known = {
        "ufo": lambda: ufo_target(w_u, generator.w_avg, d),
        "average": lambda: average_target(w_u, generator.w_avg),
        "natural": lambda: natural_target(*search, strangers()),
        "midway": lambda: midway_target(*search, strangers()),
        "searched ufo": lambda: searched_ufo_target(*search, strangers()),
        "self": w_u.clone,
    }
    if kind not in known:
        raise GuideError(f"There is no target '{kind}'; choose one of: {', '.join(known)}.")
    return known[kind]()
