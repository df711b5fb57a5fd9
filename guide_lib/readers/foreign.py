"""What a file is that no reader takes: a clause that follows its name, and says what to do.

A pickle is looked at as data, as everywhere here: nothing in it runs.
"""

from __future__ import annotations

import contextlib
import io
import pickletools
import zipfile
from typing import Any

from guide_lib.errors import GuideError
from guide_lib.readers.common import ZIP_ERRORS
from guide_lib.readers.modules import DICTIONARIES, PERSISTENT, TENSORFLOW
from guide_lib.readers.nvidia import STORED
from guide_lib.readers.symbolic import Made, symbolic_pickle
from guide_lib.readers.tensors import OLDER_MAGIC, TENSOR, is_tensor, shape_of
from guide_lib.readers.trees import tree_names

_NUMBERS_ALONE = "have its numbers alone saved by torch.save(model.state_dict(), FILE), and convert that file"
_UNPACK = "unpack it and convert the .pkl or .pt file inside"
_OTHER = "convert the file that holds the weights"
_BEGINNINGS = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself: fetch that with git lfs pull"),
    (b"<?xml", "is an XML page instead of a file: open it in a browser to see why"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes: convert a network of PyTorch"),
    (b"\x93NUMPY", f"is one array of NumPy's: {_OTHER}"),
    (b"GGUF", "is a language model of llama.cpp's: convert a network of PyTorch"),
    (b"%PDF", f"is a PDF document: {_OTHER}"),
    *((magic, "is a picture: name it with --photo") for magic in (b"\xff\xd8\xff", b"\x89PNG")),
    *((magic, f"is compressed: {_UNPACK}") for magic in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")),
)
_HTML = b"<!doctype html", b"<html"
_PICKLED, _HEADER = b"\x80", b"{"  # how a pickle begins, and what follows the length in a safetensors file
_TAR = 257, b"ustar"  # where a tar archive says what it is
_TENSORFLOW = (
    "is a TensorFlow pickle of StyleGAN: take the same network from the page of NVIDIA's stylegan2-ada-pytorch, or "
    "translate it with the legacy.py there, and convert the new file"
)
# whoever asks for one of these wants something done, and the reader's refusal names it
_HARMFUL = (
    "builtins.",
    "__builtin__.",
    "os.",
    "posix.",
    "nt.",
    "sys.",
    "subprocess.",
    "pickle.",
    "importlib.",
    "runpy.",
)
_HARMLESS = {f"{home}.{kind}" for home in ("builtins", "__builtin__") for kind in ("set", "dict", "list", "object")}
_MODULE = {"_modules", "_parameters"}  # among the attributes of every module of PyTorch's


def diagnosis(content: bytes) -> str | None:
    """What the file is and what to do about it; None if it should be readable, and so may be damaged or hostile.

    >>> diagnosis(b"version https://git-lfs.github.com/spec/v1")
    'is a pointer of Git LFS, not the file itself: fetch that with git lfs pull'
    >>> import pickle
    >>> diagnosis(pickle.dumps([0.1, 0.2])), diagnosis(pickle.dumps(print))
    ('holds a list, not a network: convert the file that holds the weights', None)
    """
    if not content:
        return "is empty: download it again"
    if content[:256].lstrip().lower().startswith(_HTML):
        return "is an HTML page instead of a file: open it in a browser to see why"
    for magic, clause in _BEGINNINGS:
        if content.startswith(magic):
            return clause
    if content[_TAR[0] :].startswith(_TAR[1]):
        return f"is a tar archive: {_UNPACK}"
    if content.startswith(b"PK"):
        return _archive(content)
    return _pickle(content) or _text(content) or _binary(content)


def _archive(content: bytes) -> str | None:
    """A zip archive, which torch.save, torch.jit.save, NumPy and people make."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {name: name.rpartition("/")[2] for name in archive.namelist() if not name.endswith("/")}
            pickled = [name for name, last in files.items() if last == "data.pkl"]
            if not pickled:
                return _listed(list(files))
            if "constants.pkl" in files.values():
                return f"is a TorchScript program, not its numbers: {_NUMBERS_ALONE}"
            whole = archive.getinfo(pickled[0]).file_size <= len(content)
            return _pickle(archive.read(pickled[0])) if whole else None
    except ZIP_ERRORS:
        return None


def _listed(names: list[str]) -> str:
    """An archive in which there is no checkpoint of PyTorch's."""
    if names and all(name.endswith(".npy") for name in names):
        return "is an archive of NumPy's arrays: convert the file of PyTorch's that they come from"
    return f"is a zip archive that holds {_some(names)}: {_UNPACK}"


def _some(names: list[Any]) -> str:
    """The first of many names. They may hold anything."""
    shown = [ascii(name)[1:-1] if isinstance(name, str) else str(name) for name in names]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[:60] for name in shown[:3]) + more or "nothing"


def _pickle(content: bytes) -> str | None:
    """What a pickle holds, if it is whole and means no harm."""
    names: list[str] = []
    file = io.BytesIO(content)
    try:
        for _ in range(3 if content.startswith(OLDER_MAGIC) else 0):  # what comes first in torch.save's older format
            symbolic_pickle(file, lambda name: False)
        tree = symbolic_pickle(file, lambda name: names.append(name) or True)
        if any(name.startswith(_HARMFUL) and name not in _HARMLESS for name in names):
            return None
        return _TENSORFLOW if any(name.startswith(TENSORFLOW) for name in names) else _contents(tree, names)
    except GuideError:
        return None


def _contents(tree: Any, names: list[str]) -> str | None:
    """What an object is that no reader takes; None if it looks like a checkpoint."""
    if is_tensor(tree):
        return f"holds one tensor of shape {list(shape_of(tree))}, not a network: {_OTHER}"
    entries = tree.entries if isinstance(tree, Made) and tree.path in DICTIONARIES else tree
    if not isinstance(entries, dict | Made):
        return f"holds a {type(entries).__name__}, not a network: {_OTHER}"
    parts = {"": entries} if isinstance(entries, Made) else entries
    if modules := [part.path for part in parts.values() if _is_module(part)]:
        return f"holds a whole module of PyTorch's ({_some(modules)}), which is a program: {_NUMBERS_ALONE}"
    if "G_ema" not in parts and any(isinstance(p, Made) and p.path == PERSISTENT for p in parts.values()):
        return f"holds {_some(list(parts))}, but not G_ema, the generator to draw with: convert another snapshot"
    if unusual := [name for name in dict.fromkeys(names) if not tree_names(name) and name != STORED]:
        return f"holds objects of another program ({_some(unusual)}): {_NUMBERS_ALONE}"
    return None if TENSOR in names else f"holds no network but {_some(list(parts))}: {_OTHER}"


def _is_module(value: Any) -> bool:
    return isinstance(value, Made) and isinstance(value.state, dict) and value.state.keys() >= _MODULE


def _binary(content: bytes) -> str | None:
    """What is neither a pickle nor a text."""
    if content.startswith(_PICKLED) or 0x20 < content[0] < 0x7F:  # the oldest pickles begin with a letter or bracket
        return None
    if content[8:9] == _HEADER:
        return "is a safetensors file that is cut short or changed: make it again, or download it again"
    return "is of a kind that nothing here reads: convert a file of PyTorch's or NVIDIA's"


def _text(content: bytes) -> str | None:
    """Something to read, such as the answer of a server in place of the file."""
    with contextlib.suppress(ValueError):
        for _ in pickletools.genops(content):
            pass
        return None  # the oldest pickles are text as well
    with contextlib.suppress(ValueError):
        line = content[:300].decode().partition("\n")[0].strip()
        if line.isprintable() and line:
            return f"is a text that begins {ascii(line[:60])}: open it in an editor to see why"
    return None
