"""Files as people download them: what can be read is read, the rest is called what it is and nothing is written."""

import argparse
import collections
import copy
import functools
import gzip
import io
import json
import pickle
import subprocess
import sys
import tarfile
import types
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from nvidia_pickles import EasyDict, described, nvidia_modules, write
from PIL import Image
from safetensors import safe_open
from test_eg3d import IO, REFERENCE, TINY64, tiny64
from test_nvidia_reader import HOSTILE, SETTINGS, TOUCH, Call
from test_state_reader import NEW, OLD, saved
from test_stylegan2 import small_network
from torch import nn

from guide_lib.assets import layouts, official
from guide_lib.assets.contents import ASSUMED
from guide_lib.errors import GuideError
from guide_lib.generators import load_generator, save_student
from guide_lib.generators.eg3d import EG3D
from guide_lib.generators.stylegan2 import FullyConnected
from guide_lib.generators.stylegan2_ffhq import StyleGAN2, StyleGAN2Config
from guide_lib.inversion.goae import GOAE
from guide_lib.perception.recognisers import PEOPLE, ArcFace, FaceNet


@pytest.fixture(autouse=True)
def mark(tmp_path_factory, monkeypatch):
    """A file that every hostile pickle tries to make."""
    path = tmp_path_factory.mktemp("mark") / "mark"
    monkeypatch.setenv("GUIDE_TEST_MARK", str(path))
    return path


@functools.cache
def flat() -> StyleGAN2:
    network = small_network()
    network.backbone.mapping.w_avg.normal_()
    return network


def state() -> dict[str, torch.Tensor]:
    return flat().backbone.state_dict()


def rendering(**changes: object) -> dict[str, object]:
    return SETTINGS | {"rendering_kwargs": EasyDict(REFERENCE["rendering_kwargs"], **changes)}


def enlarging(size: int) -> EG3D:
    """A small EG3D whose super-resolution begins at `size`, as the sizes of the published ones differ."""
    return EG3D.random(replace(TINY64, enlarge_from=size), torch.Generator().manual_seed(0))


def eg3d(module: str, size: int = 16, **changes: object) -> bytes:
    module = f"training.superresolution.{module}"
    return write({"G_ema": described(enlarging(size), rendering(superresolution_module=module, **changes))})


def conditional() -> bytes:
    network = copy.deepcopy(flat().backbone)
    network.mapping.embed = FullyConnected(10, 8)
    return write({"G_ema": described(network)})


def stylegan3() -> bytes:
    network, network.synthesis = nn.Module(), nn.Module()
    network.synthesis.input = nn.Module()
    network.synthesis.input.register_buffer("freqs", torch.zeros(4, 2))
    network.synthesis.add_module("L0_36_512", nn.Linear(2, 2))
    return write({"G": None, "D": None, "G_ema": described(network)})


def tensorflow() -> bytes:
    """(G, D, Gs), each of a class of dnnlib.tflib and full of NumPy's arrays."""
    names = ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")
    modules = {name: types.ModuleType(name) for name in names}
    kind = type("Network", (), {"__module__": names[-1]})
    modules[names[-1]].Network = kind
    network = kind()
    network.variables = [("G_synthesis/4x4/Const/const", np.zeros((1, 8, 4, 4), np.float32))]
    sys.modules.update(modules)
    try:
        return pickle.dumps((network, network, network), 4)
    finally:
        for name in names:
            del sys.modules[name]


class Unheard(nn.Linear):
    """A module of a class that nobody else has."""


Settings = collections.namedtuple("Settings", "size")


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pt"))
    return file.getvalue()


def torchscript() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    return file.getvalue()


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def arrays(path: str) -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3)) if path == "npz" else np.save(file, np.zeros(3))
    return file.getvalue()


FOREIGN = {
    # other networks
    "StyleGAN3": (stylegan3, "holds StyleGAN3, with which nothing here draws: choose StyleGAN2 or EG3D."),
    "a conditional network": (conditional, "holds a conditional StyleGAN2, whose pictures depend on a label"),
    "ShapeNet's EG3D": (
        lambda: eg3d("SuperresolutionHybrid2X", 32, white_back=True),
        "holds EG3D at 128 px, which enlarges 2 times where 512 px take 8: choose one that was trained on faces",
    ),
    "EG3D at 256 px": (lambda: eg3d("SuperresolutionHybrid4X", 64), "holds EG3D at 256 px, which enlarges 4 times"),
    "EG3D at 256 px, a flat state": (lambda: saved(enlarging(64).state_dict()), "holds EG3D at 256 px, which"),
    "EG3D with another end": (lambda: eg3d("SuperresolutionHybridDeepfp32"), "super-resolution (SuperresolutionH"),
    "EG3D on white": (lambda: eg3d("SuperresolutionHybrid8XDC", white_back=True), "renderer (white_back is True)"),
    "EG3D with rays that begin anywhere": (
        lambda: eg3d("SuperresolutionHybrid8XDC", ray_start="auto"),
        "holds EG3D of another make (could not convert string to float: 'auto')",
    ),
    "EG3D without a setting": (
        lambda: write({"G_ema": described(tiny64(), {"rendering_kwargs": EasyDict(box_warp=1)})}),
        "holds EG3D of another make (neural_rendering_resolution is missing)",
    ),
    "a classifier": (lambda: saved({"fc.weight": torch.ones(3, 3)}), "holds another network, with tensors such as fc"),
    "a network of another architecture": (
        lambda: saved({name: tensor for name, tensor in state().items() if "b8.torgb" not in name}),
        "holds StyleGAN2 of another make (synthesis.b8.torgb.weight is missing)",
    ),
    "a network with one layer more": (
        lambda: saved(state() | {"synthesis.b8.skip.weight": torch.ones(8, 8, 1, 1)}),
        "holds StyleGAN2 of another make (it has synthesis.b8.skip.weight)",
    ),
    "grey pictures": (
        lambda: saved({n: t[:1] if n.endswith(("torgb.weight", "torgb.bias")) else t for n, t in state().items()}),
        "synthesis.b4.torgb.weight has the shape [1, 8, 1, 1], not [3, 8, 1, 1]",
    ),
    "a generator without its mapping": (
        lambda: saved({name: tensor for name, tensor in state().items() if name.startswith("synthesis.")}),
        "holds StyleGAN2 of another make (mapping.w_avg is missing)",
    ),
    # what is no state
    "a whole module of another program": (
        lambda: saved(Unheard(2, 2)),
        f"holds a whole module of PyTorch's ({__name__}.Unheard), which is a program: have its numbers alone saved by "
        "torch.save(model.state_dict(), FILE), and convert that file.",
    ),
    "the same in the older format": (lambda: saved(Unheard(2, 2), OLD), "holds a whole module of PyTorch's"),
    "the same in a dictionary": (lambda: saved({"G": Unheard(2, 2), "step": 3}), "holds a whole module of PyTorch's"),
    "the same by pickle alone": (lambda: pickle.dumps(Unheard(2, 2)), "holds a whole module of PyTorch's"),
    "a whole module of PyTorch": (lambda: saved(nn.Linear(2, 2)), "holds another network, with tensors such as weight"),
    "TorchScript": (torchscript, "is a TorchScript program, not its numbers"),
    "TensorFlow": (tensorflow, "is a TensorFlow pickle of StyleGAN: take the same network from"),
    "a bare tensor": (lambda: saved(torch.ones(1, 14, 512)), "holds one tensor of shape [1, 14, 512], not a network"),
    "a bare parameter, older": (lambda: saved(nn.Parameter(torch.ones(3)), OLD), "holds one tensor of shape [3]"),
    "a list of tensors": (lambda: saved([torch.ones(2), torch.ones(3)]), "holds a list, not a network"),
    "numbers": (lambda: saved({"lr": 0.1, "step": 7}), "holds no network but lr, step: convert the file that holds"),
    "objects beside the tensors": (
        lambda: saved({"state_dict": {"a": torch.ones(2)}, "config": Settings(3)}),
        f"holds objects of another program ({__name__}.Settings): have its numbers alone saved",
    ),
    "a sparse tensor": (lambda: saved({"a": torch.eye(2).to_sparse()}), "holds objects of another program (torch."),
    "a pickle without G_ema": (
        lambda: write({"G": described(flat().backbone), "D": None}),
        "holds G, D, but not G_ema, the generator to draw with: convert another snapshot.",
    ),
    "arrays in a pickle": (lambda: pickle.dumps({"mean": np.zeros(3)}), "holds no network but mean"),
    # other formats
    "a zip": (
        lambda: zipped(**{"models/ffhq.pkl": b"x", "models/a.txt": b"", "b": b"", "c": b""}),
        "is a zip archive that holds models/ffhq.pkl, models/a.txt, b and 1 more: unpack it and convert",
    ),
    "a zip with an odd name": (lambda: zipped(**{"a\nb\u4e2d": b""}), r"holds a\nb\u4e2d: unpack it"),
    "an empty zip": (lambda: zipped(), "is a zip archive that holds nothing"),
    "NumPy's arrays": (lambda: arrays("npz"), "is an archive of NumPy's arrays"),
    "one array": (lambda: arrays("npy"), "is one array of NumPy's"),
    "gzip": (lambda: gzip.compress(b"weights"), "is compressed: unpack it"),
    "tar": (tarred, "is a tar archive: unpack it"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file, as Keras writes"),
    "a picture": (png, "is a picture: name it with --photo"),
    "a PDF": (lambda: b"%PDF-1.7\n", "is a PDF document"),
    "nothing": (lambda: b"", "is empty: download it again"),
    "a pointer of Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
    "a web page": (lambda: b"\n<!DOCTYPE html><title>Quota exceeded</title>", "is an HTML page instead"),
    "an answer in XML": (lambda: b'<?xml version="1.0"?><Error>AccessDenied</Error>', "is an XML page instead"),
    "an answer in JSON": (lambda: b'{"message": "Not Found"}\n', "is a text that begins '{\"message\": "),
    "a text": (lambda: "Zugriff verweigert: \u00e4".encode(), r"is a text that begins 'Zugriff verweigert: \xe4'"),
    "ONNX": (lambda: b"\x08\x07\x12\x04test\xff" + bytes(64), "is of a kind that nothing here reads"),
    "GGUF": (lambda: b"GGUF\x03" + bytes(64), "is a language model of llama.cpp's"),
    "safetensors cut short": (lambda: safetensors.torch.save(state())[:-400], "is a safetensors file that is cut"),
    "safetensors of nothing": (lambda: safetensors.torch.save({}), "holds another network, with tensors such as none"),
    "safetensors of another network": (
        lambda: safetensors.torch.save({"conv.weight": torch.ones(2)}),
        "holds another network, with tensors such as conv.weight",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_called_what_it_is(kind, tmp_path, mark):
    make, sentence = FOREIGN[kind]
    source = tmp_path / "some.pkl"
    source.write_bytes(make())
    with pytest.raises(GuideError) as refusal:
        official.convert(source)
    said = str(refusal.value)
    with pytest.raises(GuideError) as named:  # to be drawn with, before it is converted
        load_generator(source)
    assert source.name in str(named.value) and str(named.value).count(". ") == 0
    assert said.startswith(f"{source} ") and said.endswith(".") and said.count(". ") == 0 and said.isprintable()
    assert sentence in said and "damaged" not in said and "fetch the original" not in said
    assert list(tmp_path.iterdir()) == [source] and not mark.exists()


DAMAGED = {
    "a state cut short": lambda: saved(state())[:-400],
    "an older state cut short": lambda: saved(state(), OLD)[:-400],
    "a pickle cut short": lambda: write({"G_ema": described(flat().backbone)})[:-400],
    "noise": lambda: bytes(range(128, 256)) * 20,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_to_be_fetched_again(kind, tmp_path):
    (tmp_path / "some.pt").write_bytes(DAMAGED[kind]())
    with pytest.raises(GuideError, match="cannot be read .*; fetch the original file again.$"):
        official.convert(tmp_path / "some.pt")


def hostile(kind: str) -> bytes:
    return HOSTILE[kind]()


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_diagnosis_runs_nothing_and_hides_no_harm(kind, tmp_path, mark, monkeypatch):
    """In a pickle, in a zip of torch.save's, beside good tensors: the refusal says what the file asks for."""
    (tmp_path / "evil_import.py").write_text(f"{TOUCH}\nanything = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "evil_import", raising=False)
    content = hostile(kind)
    for inside in (
        content,
        zipped(**{"archive/data.pkl": content}),
        zipped(**{"a/data.pkl": content, "a/data/0": b""}),
    ):
        (tmp_path / "some.pt").write_bytes(inside)
        with pytest.raises(GuideError):
            official.convert(tmp_path / "some.pt")
        assert not mark.exists() and "evil_import" not in sys.modules


def test_harm_beside_a_whole_module_is_named(tmp_path, mark):
    module = Unheard(2, 2)
    module.more = Call(eval, TOUCH)
    for content in (saved(module), saved({"G_ema": module}), pickle.dumps((tensorflow(), Call(eval, TOUCH)))):
        (tmp_path / "some.pt").write_bytes(content)
        with pytest.raises(GuideError, match="asks for"):
            official.convert(tmp_path / "some.pt")
    assert not mark.exists()


# --- what is read ---


def same(a: StyleGAN2, b: StyleGAN2) -> bool:
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(3))
    pairs = [(g.mapping(z, 0.7), g.synthesis(g.mapping(z, 0.7)).image) for g in (a, b)]
    return all(torch.equal(x, y) for x, y in zip(*pairs, strict=True))


READ = {
    "a flat state": lambda: saved(state()),
    "a flat state, older format": lambda: saved(state(), OLD),
    "an ordered one": lambda: saved(collections.OrderedDict(state())),
    "nested": lambda: saved({"g_ema": state(), "args": argparse.Namespace(size=32), "iter": np.int64(3)}),
    "nested twice, with an optimiser": lambda: saved(
        {"nets": {"G": {n: t + 1 for n, t in state().items()}, "G_ema": state()}, "optim": {0: {"m": torch.ones(2)}}}
    ),
    "parallel": lambda: saved({f"module.{name}": tensor for name, tensor in state().items()}),
    "safetensors": lambda: safetensors.torch.save(state()),
    "pickled alone": lambda: pickle.dumps(state()),
    "pickled alone, nested": lambda: pickle.dumps({"G": {}, "params_ema": dict(state()), "iter": 3}),
    "beside a discriminator": lambda: saved(state() | {"discriminator.b4.fc.weight": torch.ones(2, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_what_can_be_read_draws_the_same(kind, tmp_path):
    (tmp_path / "some.pt").write_bytes(READ[kind]())
    path = official.convert(tmp_path / "some.pt")
    assert same(load_generator(str(path)), flat())
    assert official.conversion_note(path) == f"StyleGAN2; {ASSUMED['StyleGAN2']}"


@pytest.mark.parametrize("write_it", [saved, lambda s: saved(s, OLD), safetensors.torch.save])
def test_bfloat16_is_widened(write_it, tmp_path):
    brief = {name: tensor.bfloat16() for name, tensor in state().items()}
    (tmp_path / "some.pt").write_bytes(write_it(brief))
    twin = copy.deepcopy(flat())
    twin.backbone.load_state_dict({name: tensor.float() for name, tensor in brief.items()})
    assert same(load_generator(str(official.convert(tmp_path / "some.pt"))), twin)


def test_bfloat16_in_a_pickle_of_nvidias_is_widened(tmp_path):
    twin = copy.deepcopy(flat()).bfloat16()
    (tmp_path / "some.pkl").write_bytes(write({"G_ema": described(twin.backbone)}))
    assert same(load_generator(str(official.convert(tmp_path / "some.pkl"))), twin.float())


@pytest.mark.parametrize("zipped_format", [NEW, OLD])
def test_a_whole_generator_of_nvidias_that_torch_saved_is_read_with_its_settings(zipped_format, tmp_path, mark):
    """As scripts save a tuned generator: torch.save(G). Its source code stays text."""
    with nvidia_modules():
        content = saved(described(tiny64(), SETTINGS), zipped_format)
    (tmp_path / "tuned.pt").write_bytes(content)
    path = official.convert(tmp_path / "tuned.pt")
    generator = load_generator(str(path))
    assert generator.config == replace(TINY64, sampling=replace(TINY64.sampling, rays_at_once=None))
    expected = tiny64().synthesis(IO["mapping.ws"]).image
    torch.testing.assert_close(generator.synthesis(IO["mapping.ws"]).image, expected, atol=1e-5, rtol=1e-4)
    assert official.conversion_note(path) == "EG3D" and not mark.exists()


def test_a_flat_state_of_eg3d_is_rendered_as_ffhqs(tmp_path):
    (tmp_path / "some.pt").write_bytes(saved({"G_ema": tiny64().state_dict()}))
    path = official.convert(tmp_path / "some.pt")
    config = load_generator(str(path)).config
    assert (config.sampling.near, config.pivot, config.camera_scale) == (2.25, (0.0, 0.0, 0.2), 1.0)
    assert ASSUMED["EG3D"] in official.conversion_note(path)


def test_a_file_that_an_older_version_converted_without_settings_loads(tmp_path):
    safetensors.torch.save_file(state(), tmp_path / "old.safetensors", {"source_sha256": "0"})
    assert same(load_generator(str(tmp_path / "old.safetensors")), flat())


# --- names, places ---


def test_what_this_package_wrote_needs_no_conversion(tmp_path):
    (tmp_path / "some.pt").write_bytes(saved(state()))
    save_student(tmp_path / "student.safetensors", flat())
    for path in (official.convert(tmp_path / "some.pt"), tmp_path / "student.safetensors"):
        kept = path.read_bytes()
        with pytest.raises(GuideError, match="was written by this package: use it as it is, with --generator."):
            official.convert(path)
        assert path.read_bytes() == kept


def test_another_network_under_an_official_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    for name in ("ffhqrebalanced512-128.pkl", "model_ir_se50.pth"):
        (tmp_path / name).write_bytes(saved(state()))
        with pytest.raises(GuideError, match="has the name of .* but holds StyleGAN2; download the original again"):
            official.convert(tmp_path / name)
    assert not (tmp_path / "cache").exists()


def test_a_name_in_another_encoding_is_no_obstacle(tmp_path):
    source = tmp_path / Path(b"caf\xe9.pt".decode("utf-8", "surrogateescape"))
    source.write_bytes(saved(state()))
    path = official.convert(source)
    with safe_open(path, "np") as file:
        assert file.metadata()["source"] == r"caf\xe9.pt" and json.loads(file.metadata()["settings"]) == {}


def test_the_layouts_are_those_of_the_networks():
    with torch.device("meta"):
        stylegan2 = {n: tuple(t.shape) for n, t in StyleGAN2(StyleGAN2Config()).backbone.state_dict().items()}
        eg3d = {n: tuple(t.shape) for n, t in EG3D().state_dict().items()}
        facenet = FaceNet().inception.state_dict()
        states = {
            "goae-ffhq": GOAE().state_dict(),
            "arcface-ir-se50": ArcFace().state_dict(),
            "facenet-vggface2": facenet,
        }
    assert stylegan2 == layouts.stylegan2_layout(1024, 512, 512, 8, 32768, 512)
    assert eg3d == layouts.eg3d_layout(256, 32, 512, 512, 2, 32768, 512, 64, 128, (256, 128))
    for name, tensors in states.items():
        shapes = {n: tuple(t.shape) for n, t in tensors.items()}
        shapes |= {"logits.weight": (PEOPLE, 512), "logits.bias": (PEOPLE,)} if name.startswith("facenet") else {}
        assert official.OFFICIAL[name].layout == layouts.digest(shapes)


def test_a_conversion_needs_no_pytorch(tmp_path):
    (tmp_path / "some.pt").write_bytes(saved({"g_ema": state()}))
    script = "import sys; from pathlib import Path; from guide_lib.assets import convert; convert(Path(sys.argv[1]))"
    script += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, tmp_path / "some.pt"], check=True)
    assert (tmp_path / "some.safetensors").exists()
