"""Pickles with the layout of NVIDIA's, written here: modules that carry their class name, state and source code."""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
from collections.abc import Iterator
from typing import Any

from torch import nn

# what the originals carry; were it ever run, it would leave a file named by the environment
SOURCE = "import os\nopen(os.environ['GUIDE_TEST_MARK'], 'w').write('the embedded source ran')\n"
CLASS_NAMES = {
    "EG3D": "TriPlaneGenerator",
    "Backbone": "Generator",
    "FullyConnected": "FullyConnectedLayer",
    "StyledConv": "SynthesisLayer",
    "ToRGB": "ToRGBLayer",
}


class EasyDict(dict):
    """Stands for `dnnlib.util.EasyDict`."""


def _reconstruct_persistent_obj(meta: dict) -> None:
    """Stands for the function that runs the source in `meta`."""
    exec(meta["module_src"], {})


class Persistent:
    """A module as its pickle shows it."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple:
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.class_name}
        return _reconstruct_persistent_obj, (EasyDict(**meta, state=self.state),)


class PlainModule(nn.Module):
    """A module without source, pickled by the name of its class alone."""


def described(module: nn.Module, attributes: dict[str, Any] | None = None) -> Persistent | PlainModule:
    """A module and all below it; containers, decoder and super-resolution carry no source in the originals."""
    state = {
        "training": False,
        "_parameters": dict(module._parameters),
        "_buffers": dict(module._buffers),
        "_non_persistent_buffers_set": set(),
        "_modules": {name: child and described(child) for name, child in module._modules.items()},
        **(attributes or {}),
    }
    name = type(module).__name__
    if name in ("Sequential", "Softplus", "Decoder", "SuperResolution"):
        plain = PlainModule.__new__(PlainModule)
        plain.__dict__.update(state)
        return plain
    return Persistent(CLASS_NAMES.get(name, name), state)


@contextlib.contextmanager
def nvidia_modules() -> Iterator[None]:
    """The stand-ins under the names of NVIDIA's modules, for as long as something is pickled."""
    places = {
        "torch_utils.persistence": (_reconstruct_persistent_obj,),
        "dnnlib.util": (EasyDict,),
        "training.triplane": (PlainModule,),
    }
    for path, members in places.items():
        for name in (path.split(".")[0], path):
            sys.modules[name] = types.ModuleType(name)
        for member in members:
            setattr(sys.modules[path], member.__name__, member)
            member.__module__ = path
    try:
        yield
    finally:
        for name in {part for path in places for part in (path, path.split(".")[0])}:
            del sys.modules[name]


def write(tree: Any, protocol: int = 4) -> bytes:
    """The pickle of a tree with such modules in it."""
    with nvidia_modules():
        return pickle.dumps(tree, protocol)
