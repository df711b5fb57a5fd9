"""What of a downloaded file is kept: the one network in it that can be loaded, under the names it is loaded by.

Of {"g": ..., "d": ..., "g_ema": ..., "latent_avg": ...} it is the g_ema, with the mean latent that lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guide_lib.assets.layouts import Shapes, digest
from guide_lib.assets.networks import NotLoadable, foreign, short, sizes_of
from guide_lib.readers import Arrays, StoredNetwork
from guide_lib.readers.rosinality import MARKER, nvidia_names

_PARTS = {"StyleGAN2": ("mapping.", "synthesis."), "EG3D": ("backbone.", "superresolution.", "decoder.")}
_CONSTANT, _BACKBONE = "synthesis.b4.const", "backbone."
ASSUMED = {
    "EG3D": "the file does not say how to render, so it is taken for EG3D-FFHQ",
    "StyleGAN2": "the file does not say how it was trained, so single precision is assumed",
}


@dataclass(frozen=True)
class Kept:
    """A network that can be loaded.

    kind: "EG3D", "StyleGAN2", or the name of an official encoder or recogniser. arrays: its tensors, as its loader
    names them. settings: what else the file says of it. note: what had to be assumed.
    """

    kind: str
    arrays: Arrays
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def keep(network: StoredNetwork, known: Mapping[str, str]) -> Kept:
    """The network in a file, without what lies beside it. known: digest of a layout -> name of an official file.

    Raises:
        NotLoadable: there is none, or none that could be loaded afterwards.

    >>> import numpy as np
    >>> keep(StoredNetwork({"fc.weight": np.ones((3, 3))}), {})
    Traceback (most recent call last):
    guide_lib.assets.networks.NotLoadable: holds another network, with tensors such as fc.weight: known are StyleGAN2
    and EG3D, and for the paper's track GOAE, ArcFace and FaceNet
    """
    shapes = network.shapes
    for prefix in ("", *_prefixes(shapes)):
        inside = _inside(shapes, prefix)
        if name := known.get(digest(inside)):
            return Kept(name, {own: network.arrays[prefix + own] for own in inside})
    arrays = _generator(network) if _best(shapes, MARKER) is None else _renamed(network)
    kind, _ = sizes_of({name: array.shape for name, array in arrays.items()}, network.settings)
    return Kept(kind, arrays, network.settings, "" if network.settings else ASSUMED[kind])


def _inside(shapes: Shapes, prefix: str) -> Shapes:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


def _prefixes(shapes: Shapes) -> list[str]:
    """The dictionaries that hold everything, or nearly: state_dict., module. and the like."""
    return list(dict.fromkeys(f"{name.partition('.')[0]}." for name in shapes if "." in name))


def _best(shapes: Shapes, marker: str) -> str | None:
    """What stands before a tensor's name; of several the moving average's, else the first. None if it is nowhere."""
    found = [name.removesuffix(marker) for name in shapes if f".{name}".endswith(f".{marker}")]
    return min(found, key=lambda prefix: "ema" not in prefix.lower(), default=None)


def _generator(network: StoredNetwork) -> Arrays:
    """The tensors of a generator under NVIDIA's names, wherever they lie."""
    shapes = network.shapes
    prefix = _best(shapes, _CONSTANT)
    if prefix is None:
        raise NotLoadable(foreign(shapes))
    outside = prefix.removesuffix(_BACKBONE)
    eg3d = f"{outside}decoder.net.0.weight" in shapes
    root, parts = (outside, _PARTS["EG3D"]) if eg3d else (prefix, _PARTS["StyleGAN2"])
    inside = _inside(shapes, root)
    return {name: network.arrays[root + name] for name in inside if name.startswith(parts)}


def _renamed(network: StoredNetwork) -> Arrays:
    """A generator of stylegan2-pytorch's, with the mean latent that lies beside it."""
    prefix = _best(network.shapes, MARKER)
    means = [name for name in network.shapes if f".{name}".endswith(".latent_avg")]
    state = {name: network.arrays[prefix + name] for name in _inside(network.shapes, prefix)}
    try:
        return nvidia_names(state, network.arrays[means[0]] if means else None)
    except (LookupError, ValueError) as error:
        raise NotLoadable(f"holds StyleGAN2 of another make ({short(error)})") from error
