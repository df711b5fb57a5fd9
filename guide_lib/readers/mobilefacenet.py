"""MobileFaceNet (Chen et al. 2018), a face recogniser stored as torch.save writes a state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from guide_lib.readers.common import Arrays, expect
from guide_lib.readers.state import torch_file

_FORMAT = "MobileFaceNet"
_COUNTER = ".num_batches_tracked"  # of training
_NORM = ("weight", "bias", "running_mean", "running_var")
# width inside and after each bottleneck; the first input has 64 channels
BOTTLENECKS = (*((128, 64),) * 5, (256, 128), *((256, 128),) * 6, (512, 128), *((256, 128),) * 2)


def _layers() -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    """Each convolution: its name here, its and its normalisation's in the file, the shape of its weight."""
    yield "stem", "conv1.0", "conv1.1", (64, 3, 3, 3)
    yield "depthwise", "dw_conv.depthwise", "dw_conv.bn1", (64, 1, 3, 3)
    yield "pointwise", "dw_conv.pointwise", "dw_conv.bn2", (64, 64, 1, 1)
    width = 64
    for i, (inside, after) in enumerate(BOTTLENECKS):
        conv = f"features.{i}.conv"
        yield f"bottlenecks.{i}.expand", f"{conv}.0.0", f"{conv}.0.1", (inside, width, 1, 1)
        yield f"bottlenecks.{i}.depthwise", f"{conv}.1.0", f"{conv}.1.1", (inside, 1, 3, 3)
        yield f"bottlenecks.{i}.project", f"{conv}.2", f"{conv}.3", (after, inside, 1, 1)
        width = after
    yield "widen", "conv2.0", "conv2.1", (512, width, 1, 1)
    yield "whole", "gdconv.depthwise", "gdconv.bn", (512, 1, 7, 7)
    yield "numbers", "conv3", "bn", (128, 512, 1, 1)


def mobilefacenet(content: bytes) -> Arrays:
    """MobileFaceNet's parameters, float32: the network is RGB [N, 3, 112, 112] -> [N, 128], not normalised.

    Of each convolution NAME `NAME.conv.weight` [O, I, k, k] and `NAME.norm.{weight, bias, running_mean, running_var}`
    [O] of the batch normalisation after it (epsilon 1e-5); `numbers`, the last, has `numbers.conv.bias` [128], too. How
    they are put together: `guide_lib.perception.mobilefacenet`.
    """
    stored = torch_file(content)
    left = {name: shape for name, shape in stored.shapes.items() if not name.endswith(_COUNTER)}
    names: dict[str, str] = {}
    for ours, conv, norm, shape in _layers():
        parts = {f"{conv}.weight": (f"{ours}.conv.weight", shape)}
        if ours == "numbers":
            parts[f"{conv}.bias"] = f"{ours}.conv.bias", shape[:1]
        parts |= {f"{norm}.{part}": (f"{ours}.norm.{part}", shape[:1]) for part in _NORM}
        for theirs, (name, expected) in parts.items():
            expect(left.pop(theirs, None) == expected, _FORMAT, f"{theirs} is missing or has another shape")
            names[name] = theirs
    expect(not left, _FORMAT, f"it has {next(iter(left), '')}")
    return {name: np.ascontiguousarray(stored.arrays[theirs], dtype="<f4") for name, theirs in names.items()}
