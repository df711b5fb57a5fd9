"""Damaged files for everything that reads one: python tests/fuzz.py --minutes 5

An input is a small valid file, changed in a few places, or plain noise. Whatever it is, a reader returns or raises a
GuideError of one line. A finding is another exception, ten seconds of computing, a gigabyte more memory, or an attempt
to start, to import or to connect to anything. Prints a table, and exits with 1 if there are findings.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import math
import pickle
import random
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from nvidia_pickles import described, write
from PIL import Image
from test_nvidia_reader import network_of, text
from test_readers import TINY_BIN, TINY_IR
from test_state_reader import NEW, OLD, saved
from test_unlearning import NETWORKS, SETTINGS, person
from tiny import TinyGenerator

from guide_lib import experiment, readers
from guide_lib.assets import official
from guide_lib.errors import GuideError
from guide_lib.evaluation import claims
from guide_lib.evaluation.report import write_report
from guide_lib.generators.stylegan2 import initialise
from guide_lib.generators.stylegan2_ffhq import StyleGAN2, StyleGAN2Config
from guide_lib.perception.photos import load_photo
from guide_lib.readers.dlib import _versions
from guide_lib.unlearning import Step, unlearn

SECONDS, BYTES = 10, 1 << 30
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "pickle.find_class", "socket.")
_watching = False


class Caught(BaseException):
    """Not an Exception, so that no reader can mistake it for a damaged file."""


def _hook(event: str, args: tuple) -> None:
    if _watching and event.startswith(FORBIDDEN):
        raise Caught(event)


sys.addaudithook(_hook)


def _too_slow(*_: object) -> None:
    raise Caught(f"more than {SECONDS} s")


@dataclass(frozen=True)
class Target:
    """seeds: makes valid files. read: reads one, given a folder of its own."""

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]


# --- small valid files ---


def _number(value: int) -> bytes:
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes([size]) + value.to_bytes(size, "little")


def _real(value: float) -> bytes:
    mantissa, exponent = math.frexp(value)
    down = 24 - exponent
    return _number(int(mantissa * 2**24)) + (bytes([0x81, down]) if down > 0 else _number(-down))


def _tagged(name: str) -> bytes:
    return _number(len(name)) + name.encode()


def dlib_start() -> bytes:
    """dlib's network as far as the end of its first convolution."""
    margins = [_real(float(np.float32(x))) for x in (0.04, 0.6)]
    head = [_number(1), _tagged("loss_metric_2"), *margins, *map(_number, _versions())]
    head += [_tagged("input_rgb_image_sized"), *map(_real, (122.782, 117.001, 104.298)), _number(150), _number(150)]
    convolution = [_tagged("con_4"), *map(_number, (2, 4736, 1, 1, 1)), bytes(4 * 4736)]
    convolution += map(_number, (32, 7, 7, 2, 2, 0, 0, 1, 32, 3, 7, 7, 1, 1, 32, 1, 1))
    convolution += [*map(_real, (1.0, 1.0, 1.0, 0.0)), b"000", *map(_number, (2, 0, 0, 0, 0) * 3)]
    return b"".join(head + convolution)


def sface_graph() -> bytes:
    """Every kind of layer that SFace has, once and small."""
    from onnx import helper, numpy_helper

    arrays = {
        "q": np.ones((4, 8), np.int8),
        "s": np.ones((4, 2), np.float32),
        "z": np.zeros((4, 2), np.int8),
        "shape": np.array([4, 2, 2, 2]),
        "v": np.ones(4, np.float32),
        "scalar_op1": np.array([127.5], np.float32),
        "scalar_op2": np.array([1 / 128], np.float32),
    }
    conv = dict(name="conv_1_conv2d", strides=[1, 1], kernel_shape=[2, 2], pads=[1] * 4, group=1)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=1, block_size=4),
        helper.make_node("Reshape", ["d", "shape"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"], **conv),
        helper.make_node("PRelu", ["y", "v"], ["p"], name="conv_1_relu"),
        helper.make_node("BatchNormalization", ["p", "v", "v", "v", "v"], ["b"], name="bn1", epsilon=2e-5),
        helper.make_node("Gemm", ["b", "d", "v"], ["g"], name="pre_fc1", transB=1, alpha=1.0, beta=1.0),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return helper.make_model(helper.make_graph(nodes, "small", [], [], constants)).SerializeToString()


def edgeface_graph() -> bytes:
    """Every kind of layer that EdgeFace has to be checked for, once and small."""
    from onnx import helper, numpy_helper

    arrays = {
        "model.stem.0.weight": np.ones((2, 1, 3, 3), np.float32),
        "m": np.ones((4, 2), np.float32),
        "places": np.ones((1, 9, 2), np.float32),
        "two": np.float32(2),
        "half": np.float32(0.5),
        "root": np.float32(2**0.5),
        "epsilon": np.float32(1e-6),
        "least": np.float32(1e-12),
    }
    conv = dict(strides=[1, 1], kernel_shape=[3, 3], pads=[1] * 4, group=2, dilations=[1, 1])
    nodes = [
        helper.make_node("Conv", ["x", "model.stem.0.weight"], ["y"], name="/model/stem/stem.0/Conv", **conv),
        helper.make_node("Pow", ["y", "two"], ["p"]),
        helper.make_node("Add", ["p", "epsilon"], ["e"]),
        helper.make_node("Div", ["e", "root"], ["d"]),
        helper.make_node("Mul", ["d", "half"], ["h"]),
        helper.make_node("Clip", ["h", "least", ""], ["c"]),
        helper.make_node("Add", ["c", "places"], ["t"], name="/model/stages/stages.1/blocks/blocks.2/Add"),
        helper.make_node("MatMul", ["t", "m"], ["f"], name="/model/fc/linear1/MatMul"),
        helper.make_node("Gemm", ["f", "m", "m"], ["g"], name="/model/fc/linear2/Gemm", transB=1, alpha=1.0, beta=1.0),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return helper.make_model(helper.make_graph(nodes, "small", [], [], constants)).SerializeToString()


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
)
TENSOR += b"K\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
MODULE = b"c__torch__.net\nN\n)\x81"


def torchscript(pickled: bytes = b"\x80\x02" + MODULE + b"}(" + text("weight") + TENSOR + b"ub.") -> bytes:
    """An archive of one module with one tensor of six numbers, or of another pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("out_jit_module/data.pkl", pickled)
        archive.writestr("out_jit_module/data/0", np.arange(6, dtype="<f4").tobytes())
    return file.getvalue()


def mapping_graph() -> bytes:
    """The mapping network of MobileStyleGAN as a graph over a binary file of zeros."""
    layers, at = [], 0
    for i in range(8):
        for name, shape in ((f"{2 * i}", (512, 512)), (f"{2 * i + 1}", (512,))):
            size, written = 4 * math.prod(shape), ",".join(map(str, shape))
            data = f'<data element_type="f32" shape="{written}" offset="{at}" size="{size}"/>'
            layers.append(f'<layer name="{name}" type="Const">{data}</layer>')
            at += size
    return f'<net name="m" version="10"><layers>{"".join(layers)}</layers></net>'.encode()


MAPPING_BIN = bytes(8 * 4 * (512 * 512 + 512))


def photo(kind: str) -> bytes:
    file = io.BytesIO()
    Image.radial_gradient("L").resize((80, 70)).convert("P" if kind in ("GIF", "PNG") else "RGB").save(file, kind)
    return file.getvalue()


@cache
def checkpoint() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        steps = unlearn(TinyGenerator(), *person(TinyGenerator()), SHORT, **NETWORKS, checkpoint=path)
        list(itertools.islice(steps, 3))
        steps.close()
        return path.read_bytes()


SHORT = replace(SETTINGS, steps=6)
LOSSES = {"local": 0.5, "adjacency": 0.25, "global": 0.125, "total": 0.875}
ROW = {
    **{"scenario": "random", "method": "GUIDE", "person": "0", "id": 0.25, "seconds": 2.5, "became": [0.6, 0.8]},
    "neighbours_mapped": [{"distance": 5.0, "student": 0.5, "generator": 0.75}],
    "relearn_curve": [[0, 0.1], [1, 0.2]],
}
FACTS = {"generator": "TinyGenerator", "resolution": 16, "threshold": 0.4}


# --- reading them ---


def _file(name: str, content: bytes, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _resume(content: bytes, folder: Path) -> None:
    path = _file("checkpoint.safetensors", content, folder)
    generator = TinyGenerator()
    with contextlib.closing(unlearn(generator, *person(generator), SHORT, **NETWORKS, checkpoint=path)) as steps:
        list(itertools.islice(steps, 2))


def _report(name: str) -> Callable[[bytes, Path], object]:
    return lambda content, folder: (_file(name, content, folder), write_report(folder))


def _claim(content: bytes, folder: Path) -> None:
    _file("run.json", content, folder)
    claims._claim(folder, FACTS)


def _record(content: bytes, folder: Path) -> None:
    path = _file("losses.csv", content, folder)
    list(experiment.recorded(iter([Step(3, 4, LOSSES, 0.0, None)]), path))
    assert experiment.history(path)[-1].losses == LOSSES


def _convert(content: bytes, folder: Path) -> None:
    official.convert(_file("some.pkl", content, folder), folder / "out.safetensors")


def _state() -> list[bytes]:
    return [saved({"a": torch.arange(6.0), "b": torch.ones(2, 2)}, kind) for kind in (NEW, OLD)]


def _network() -> list[bytes]:
    return [network_of(weight=torch.arange(6.0))]


def foreign_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("models/generator.pkl", b"weights")
        archive.writestr("read me.txt", b"text")
    return file.getvalue()


def _generators() -> list[bytes]:
    """StyleGAN2 at 4 px in three kinds of file: as a state, in a training state, and as NVIDIA's pickle."""
    network = StyleGAN2(StyleGAN2Config(4, z_dim=2, w_dim=2, mapping_layers=1, channel_base=8, channel_max=2)).backbone
    initialise(network, torch.Generator().manual_seed(0))
    nested = {"g_ema": network.state_dict(), "iteration": 7}
    return [saved(network.state_dict(), OLD), saved(nested, NEW), write({"G_ema": described(network)})]


def _plain(read: Callable[[bytes], object]) -> Callable[[bytes, Path], object]:
    return lambda content, folder: read(content)


TARGETS: dict[str, Target] = {
    "openvino": Target(lambda: [TINY_IR], _plain(lambda xml: readers.openvino_constants(xml, TINY_BIN))),
    "mobilestylegan": Target(
        lambda: [mapping_graph()],
        _plain(lambda xml: readers.mobilestylegan_from_ir(xml, MAPPING_BIN, TINY_IR, TINY_BIN)),
    ),
    "dlib": Target(lambda: [dlib_start()], _plain(readers.dlib_resnet)),
    "sface": Target(lambda: [sface_graph()], _plain(readers.sface)),
    "edgeface": Target(lambda: [edgeface_graph()], _plain(readers.edgeface)),
    "mobilefacenet": Target(_state, _plain(readers.mobilefacenet)),
    "torchscript": Target(lambda: [torchscript()], _plain(readers.torchscript_tensors)),
    "array pickle": Target(
        lambda: [pickle.dumps({"a": {"b": np.zeros((2, 3), "<f4")}}, protocol) for protocol in (3, 4)],
        _plain(readers.array_pickle),
    ),
    "state dict": Target(_state, _plain(lambda content: dict(readers.torch_file(content).arrays))),
    "generator pickle": Target(_network, _plain(lambda content: dict(readers.nvidia_generator(content).arrays))),
    "safetensors": Target(
        lambda: [safetensors.torch.save({"a": torch.ones(3), "b": torch.ones(2).bfloat16()}, {"of": "this"})],
        _plain(lambda content: (readers.safetensors_facts(content), readers.safetensors_file(content))),
    ),
    "diagnosis": Target(lambda: [*_state(), *_network(), foreign_archive()], _plain(readers.diagnosis)),
    "pgm": Target(
        lambda: [b"P5\n9 4\n255\n" + bytes(range(36)), b"P5\r\n9 4\r\n255\r\n" + b"\r\n" * 36], _plain(readers.read_pgm)
    ),
    "converter": Target(_generators, _convert),
    "photo": Target(
        lambda: [photo(kind) for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP")],
        lambda content, folder: load_photo(_file("photo.jpg", content, folder)),
    ),
    "checkpoint": Target(lambda: [checkpoint()], _resume),
    "people.jsonl": Target(
        lambda: [json.dumps(ROW).encode() + b"\n" + json.dumps(ROW).encode() + b"\n"], _report("people.jsonl")
    ),
    "metrics.json": Target(lambda: [json.dumps(ROW | {"settings": FACTS}).encode()], _report("metrics.json")),
    "run.json": Target(lambda: [json.dumps(FACTS).encode()], _claim),
    "losses.csv": Target(lambda: [b"step,local,adjacency,global,total\r\n1,1,2,3,6\r\n2,1,1,1,3\r\n"], _record),
}


# --- damage, and what comes of it ---


SIZES = (
    b"\xff" * 4,
    b"\xff" * 8,
    (1 << 43).to_bytes(8, "little"),
    b"9999999999999",
)  # terabytes, in bits and in digits


def damaged(seeds: list[bytes], rng: random.Random) -> bytes:
    """A seed with one to four changes, now and then noise alone."""
    if rng.randrange(10) == 0:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(300)))
    content = bytearray(seeds[rng.randrange(len(seeds))])
    for _ in range(rng.randrange(1, 5)):
        at, length = rng.randrange(len(content) + 1), rng.randrange(1, 65)
        kind = rng.randrange(6)
        if kind == 0:
            content[at : at + 1] = bytes(byte ^ rng.randrange(1, 256) for byte in content[at : at + 1])
        elif kind == 1:
            del content[at : at + length]
        elif kind == 2:
            del content[at:]
        elif kind == 3:
            content[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 17)))
        elif kind == 4:
            content[at:at] = content[at : at + length]
        else:
            size = SIZES[rng.randrange(len(SIZES))]
            content[at : at + len(size)] = size
    return bytes(content)


def finding(target: Target, content: bytes, folder: Path) -> str | None:
    """What is wrong with how this input is taken, or None."""
    global _watching
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    _watching = True
    try:
        target.read(content, folder)
    except GuideError as error:
        return None if "\n" not in str(error) and str(error).endswith(".") else f"not one sentence: {error}"
    except (Exception, Caught) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        _watching = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


@contextlib.contextmanager
def limited() -> Iterator[Path]:
    """A folder, and limits of time and, on Linux, of memory, for what `finding` reads."""
    before = signal.signal(signal.SIGPROF, _too_slow)
    with contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGPROF, before)
        if sys.platform == "linux":
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_AS, (soft, hard))
        yield Path(stack.enter_context(tempfile.TemporaryDirectory()))


def explore(target: Target, seconds: float, folder: Path) -> tuple[int, dict[str, bytes]]:
    """Inputs tried in about so many seconds, and one example of each finding."""
    seeds, found, end = target.seeds(), {}, time.monotonic() + seconds
    for content in seeds:  # imports what it needs, once, unwatched
        with contextlib.suppress(GuideError):
            target.read(content, folder)
    for tried in itertools.count():
        if time.monotonic() >= end:
            return tried, found
        content = damaged(seeds, random.Random(tried))
        if wrong := finding(target, content, folder):
            found.setdefault(wrong, content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together (default 5)")
    share = 60 * parser.parse_args().minutes / len(TARGETS)
    print("| target | seconds | inputs | findings |\n|---|---|---|---|", flush=True)
    everything: dict[str, bytes] = {}
    with limited() as folder:
        for name, target in TARGETS.items():
            begun = time.monotonic()
            (folder / name).mkdir()
            tried, found = explore(target, share, folder / name)
            print(f"| {name} | {time.monotonic() - begun:.0f} | {tried} | {len(found)} |", flush=True)
            everything |= {f"{name}: {wrong}": content for wrong, content in found.items()}
    for wrong, content in everything.items():
        print(f"{wrong}\n    {content[:2000]!r}")
    return bool(everything)


if __name__ == "__main__":
    sys.exit(main())
