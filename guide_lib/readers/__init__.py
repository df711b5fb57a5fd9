"""Restricted readers: turn pretrained files of nine formats into arrays, without running anything in them.

>>> import pickle
>>> array_pickle(pickle.dumps(print))                     # a pickle that would call something
Traceback (most recent call last):
guide_lib.errors.GuideError: This pickle file cannot be read (it asks for builtins.print, which no checkpoint
needs); fetch the original file again.

Every reader takes the bytes of its files, returns `dict[str, np.ndarray]` (C-contiguous, little-endian) and
raises `GuideError` when the file is not exactly what it expects: a wrong name, shape, version tag or a byte
left over. Sizes are checked before anything is allocated. NVIDIA's pickles of many shapes are taken as they are,
with their settings.
"""

from guide_lib.readers.common import Arrays
from guide_lib.readers.dlib import dlib_resnet
from guide_lib.readers.edgeface import edgeface
from guide_lib.readers.flat import safetensors_facts, safetensors_file
from guide_lib.readers.foreign import diagnosis
from guide_lib.readers.mobilefacenet import mobilefacenet
from guide_lib.readers.mobilestylegan import mobilestylegan_from_ir
from guide_lib.readers.modules import StoredNetwork
from guide_lib.readers.nvidia import nvidia_generator
from guide_lib.readers.openvino import openvino_constants
from guide_lib.readers.orl import orl_faces, read_pgm
from guide_lib.readers.pickles import array_pickle, lpips_backbone
from guide_lib.readers.sface import dequantise_blocks, sface
from guide_lib.readers.state import is_torch_file, torch_file
from guide_lib.readers.torchscript import inception, torchscript_tensors

__all__ = [
    "Arrays",
    "StoredNetwork",
    "array_pickle",
    "dequantise_blocks",
    "diagnosis",
    "dlib_resnet",
    "edgeface",
    "inception",
    "is_torch_file",
    "lpips_backbone",
    "mobilefacenet",
    "mobilestylegan_from_ir",
    "nvidia_generator",
    "openvino_constants",
    "orl_faces",
    "read_pgm",
    "safetensors_facts",
    "safetensors_file",
    "sface",
    "torch_file",
    "torchscript_tensors",
]
