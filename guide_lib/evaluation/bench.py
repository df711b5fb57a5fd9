"""What makes a row needs ready: the networks, what is measured besides, and the folder.

A worker opens it once for all its rows; see `guide_lib.workers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from guide_lib.evaluation.measuring import Measures
from guide_lib.generators import load_directions
from guide_lib.generators.mobile import MobileStyleGAN
from guide_lib.metrics import photo_features
from guide_lib.perception.inception import load_inception
from guide_lib.session import Session


@dataclass(frozen=True)
class Bench:
    """What a worker has ready for all its rows.

    session: the networks, and the folder that all workers see. measures: what is measured besides.
    """

    session: Session
    measures: Measures = Measures()


def open_bench(
    folder: Path,
    generator: str = "mobilestylegan-ffhq",
    resolution: int | None = None,
    device: str | None = None,
    pairs: int = 0,
    real: Path | None = None,
    attacks: bool = False,
) -> Bench:
    """Load the networks by name (see `Session.open`), and what `Measures` needs besides.

    real: a folder of pictures; pairs, attacks: see `Measures`. Views are measured of every generator that has them.

    Raises:
        GuideError: a name, the resolution or the device is unknown, or a file is not to be had.
    """
    session = Session.open(generator, resolution, device, folder)
    networks = session.networks
    place = networks.generator.w_avg.device
    inception = load_inception(place) if pairs else None
    features = photo_features(real, inception, networks.generator.resolution) if real else None
    directions = load_directions(place) if isinstance(networks.generator, MobileStyleGAN) else None
    return Bench(session, Measures(directions, inception, pairs, features, attacks))
