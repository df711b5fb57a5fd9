"""TorchScript archives: the parameters of a network whose file also holds the code that would run it.

`torch.jit.load` would compile and trust that code. Here the archive's pickle is read as data (`symbolic_pickle`): it
says which tensor belongs to which layer, the numbers lie beside it in the zip file, and the code is never opened. The
network that takes the numbers is written in this package (`guide_lib.perception.inception`).
"""

import io
import math
import re
import zipfile
from collections.abc import Iterator

import numpy as np

from guide_lib.readers.common import ZIP_ERRORS, Arrays, expect, refuse
from guide_lib.readers.symbolic import Made, Name, Persistent, symbolic_pickle

_FORMAT = "TorchScript"
_TENSOR = "torch._utils._rebuild_tensor_v2"
_NAMES = {_TENSOR, "collections.OrderedDict", "torch.FloatStorage", "torch.jit._pickle.build_intlist"}
_ROOT, _LAYERS = "out_jit_module", "net.layers."
_PARTS = ("weight", "beta", "mean", "var")  # of each convolution with its batch normalisation
_CONVOLUTIONS = 94
_MAX_MODULES = 10_000


def _allowed(name: str) -> bool:
    return name in _NAMES or name.startswith("__torch__.")  # the classes of the archive's own code: only written down


def _tensors(module: Made, budget: Iterator[int], prefix: str = "") -> Iterator[tuple[str, Made]]:
    """Every tensor below a module by its dotted name, in the order of the pickle."""
    expect(next(budget, None) is not None, _FORMAT, "it nests too many modules")
    expect(isinstance(module.state, dict) and prefix.count(".") < 16, _FORMAT, "a module in it is described oddly")
    for name, value in module.state.items():
        expect(isinstance(name, str) and re.fullmatch(r"\w+", name) is not None, _FORMAT, "a name in it is odd")
        if isinstance(value, Made) and value.path == _TENSOR:
            yield prefix + name, value
        elif isinstance(value, Made) and value.path.startswith("__torch__."):
            yield from _tensors(value, budget, f"{prefix}{name}.")


def _array(tensor: Made, archive: zipfile.ZipFile) -> np.ndarray:
    """The numbers of a contiguous float32 tensor that fills its storage."""
    expect(len(tensor.args) >= 4 and isinstance(tensor.args[0], Persistent), _FORMAT, "a tensor in it has no storage")
    storage, offset, shape, strides = tensor.args[:4]
    key = storage.key
    right = isinstance(key, tuple) and len(key) == 5 and key[:2] == ("storage", Name("torch.FloatStorage"))
    right = right and isinstance(key[2], str) and key[2].isdigit()
    right = right and isinstance(shape, tuple) and all(isinstance(size, int) and size > 0 for size in shape)
    expect(right and offset == 0, _FORMAT, "a tensor in it is described oddly")
    contiguous = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    expect(strides == contiguous and key[4] == math.prod(shape), _FORMAT, "a tensor in it does not fill its storage")
    content = _member(archive, f"data/{key[2]}")
    expect(len(content) == 4 * key[4], _FORMAT, "a storage in it has a wrong size")
    return np.frombuffer(content, "<f4").reshape(shape).copy()


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive; PyTorch stores numbers uncompressed, so none can be larger than the archive."""
    info = archive.getinfo(f"{_ROOT}/{name}")
    stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
    expect(stored, _FORMAT, f"{name} in it is compressed")
    return archive.read(info)


def torchscript_tensors(content: bytes) -> Arrays:
    """The float32 tensors of a TorchScript archive by their dotted names, read without running anything in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            file = io.BytesIO(_member(archive, "data.pkl"))
            root = symbolic_pickle(file, _allowed)
            expect(isinstance(root, Made), _FORMAT, "there is no module in it")
            arrays: Arrays = {}
            held = 0
            for name, tensor in _tensors(root, iter(range(_MAX_MODULES))):
                arrays[name] = _array(tensor, archive)
                held += arrays[name].nbytes
                expect(held <= len(content), _FORMAT, "its tensors are larger than the file")
            return arrays
    except (*ZIP_ERRORS, KeyError) as error:
        refuse(_FORMAT, f"it is damaged: {error!r}")


def inception(content: bytes) -> Arrays:
    """The FID network, Inception v3 (Szegedy et al. 2016) of the TensorFlow release: [N, 3, 299, 299] -> [N, 2048].

    For each of its 94 convolutions, in the order of the network and under the names of the archive's layers without
    their common beginning: `.weight` [O, I, kH, kW], and `.beta`, `.mean`, `.var` [O] of its batch normalisation
    (epsilon 1e-3, no scale).
    """
    tensors = torchscript_tensors(content)
    names = list(tensors)
    expect(len(names) == 4 * _CONVOLUTIONS, _FORMAT, f"it has {len(names)} tensors, not {4 * _CONVOLUTIONS}")
    for i in range(0, len(names), 4):
        layer = names[i].removesuffix(".weight")
        expect(names[i : i + 4] == [f"{layer}.{part}" for part in _PARTS], _FORMAT, f"{layer} is no convolution")
        expect(layer.startswith(_LAYERS), _FORMAT, f"{layer} lies elsewhere")
        weight, *rest = (tensors[name] for name in names[i : i + 4])
        fits = weight.ndim == 4 and all(array.shape == weight.shape[:1] for array in rest)
        expect(fits, _FORMAT, f"the shapes of {layer} do not fit")
    return {name.removeprefix(_LAYERS): array for name, array in tensors.items()}
