"""Saved students: what a file draws, which generator it finds, and what it says when it finds none."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from nvidia_pickles import described, write
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_eg3d import IO, tiny64
from test_nvidia_reader import SETTINGS
from test_stylegan2 import small_network
from test_variants import SETTINGS as VARIANTS
from test_variants import assert_draws_the_same, steps_of
from tiny import DeepGenerator, TinyGenerator

from guide_lib.assets import official
from guide_lib.checkpoint import networks_digest, save_tensors
from guide_lib.errors import GuideError
from guide_lib.generators import Generator, View, dressed, load_generator, load_student, save_student
from guide_lib.generators import load as loading
from guide_lib.generators.eg3d import EG3D
from guide_lib.generators.students import origin_of
from guide_lib.unlearning import UnlearningSettings

SETTINGS_OF = VARIANTS | {"weights": UnlearningSettings(steps=40, learning_rate=1e-3)}


@pytest.fixture(autouse=True)
def loaders(monkeypatch):
    """Two generators that can be loaded by name, in place of the pretrained ones."""
    known = {"deep": lambda resolution=16: DeepGenerator(), "flat": lambda resolution=16: TinyGenerator()}
    for name in list(loading.LOADERS):
        monkeypatch.delitem(loading.LOADERS, name)
    for name, load in known.items():
        monkeypatch.setitem(loading.LOADERS, name, load)
    return loading.LOADERS


def erased(generator: Generator, trained: str = "weights", steps: int = 3) -> Generator:
    """A student after a few steps."""
    for step in steps_of(generator, SETTINGS_OF[trained]):
        if step.index == steps:
            return step.student
    raise AssertionError


def changed(generator: Generator, by: float = 0.05) -> Generator:
    """A student whose weights have moved, for generators that would take long to train."""
    student = generator.student()
    with torch.no_grad():
        for parameter in student.trainable_parameters().values():
            parameter += by * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    return student.requires_grad_(False)


@pytest.mark.parametrize("trained", SETTINGS_OF)
def test_a_saved_student_draws_what_it_drew(trained, tmp_path):
    student = erased(DeepGenerator(), trained)
    save_student(tmp_path / "student.safetensors", student, "deep")
    found = load_generator(str(tmp_path / "student.safetensors"))
    assert_draws_the_same(found, student)
    ws = found.sample(2, torch.Generator().manual_seed(1))
    assert not torch.equal(found.synthesis(ws).image, DeepGenerator().synthesis(ws).image)
    assert not found.training and not any(p.requires_grad for p in found.parameters())


@pytest.mark.parametrize("second", SETTINGS_OF)
@pytest.mark.parametrize("first", ["weights", "adapters"])
def test_a_second_person_is_erased_from_a_saved_student(first, second, tmp_path):
    """The second file needs the generator alone: it outlives the first file."""
    save_student(tmp_path / "first.safetensors", erased(DeepGenerator(), first), "deep")
    begun = load_generator(str(tmp_path / "first.safetensors"))
    student = erased(begun, second)
    save_student(tmp_path / "second.safetensors", student, str(tmp_path / "first.safetensors"))
    (tmp_path / "first.safetensors").unlink()
    assert origin_of(tmp_path / "second.safetensors").name == "deep"
    assert_draws_the_same(load_generator(str(tmp_path / "second.safetensors")), student)


def test_a_digest_tells_students_from_the_generator_and_from_one_another(tmp_path):
    """So an evaluation does not mix their rows."""
    digests = {networks_digest(*DeepGenerator().drawing_parts(), DeepGenerator().layers)}
    for trained in SETTINGS_OF:
        save_student(tmp_path / f"{trained}.safetensors", erased(DeepGenerator(), trained), "deep")
        found = load_generator(str(tmp_path / f"{trained}.safetensors"))
        digests.add(networks_digest(*found.drawing_parts(), found.layers))
    assert len(digests) == 1 + len(SETTINGS_OF)


# --- generators that are files ---


@pytest.fixture
def eg3d(tmp_path) -> Path:
    """A small EG3D, converted."""
    (tmp_path / "tiny.pkl").write_bytes(write({"G_ema": described(tiny64(), SETTINGS)}))
    return official.convert(tmp_path / "tiny.pkl")


def test_a_student_of_a_converted_eg3d_draws_at_every_view(eg3d, tmp_path, monkeypatch):
    student = changed(load_generator(str(eg3d)))
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    save_student(tmp_path / "run" / "student.safetensors", student, "tiny.safetensors")
    monkeypatch.chdir(tmp_path / "run")  # the next command may run elsewhere
    found = load_generator("student.safetensors")
    assert isinstance(found, EG3D) and found.resolution == 64
    for view in (View(), View(12, -3, jitter=1)):
        expected = student.synthesis(IO["mapping.ws"], view)
        assert torch.equal(found.synthesis(IO["mapping.ws"], view).image, expected.image)
    assert networks_digest(*found.drawing_parts()) != networks_digest(*load_generator(str(eg3d)).drawing_parts())


def test_a_file_that_moved_is_found_beside_the_student(eg3d, tmp_path):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "student.safetensors"
    save_student(path, changed(load_generator(str(eg3d))), str(eg3d))
    shutil.move(eg3d, tmp_path / "elsewhere.safetensors")
    with pytest.raises(
        GuideError, match="was made from .*tiny.safetensors, which is not there; put that file beside it"
    ):
        load_generator(str(path))
    shutil.move(tmp_path / "elsewhere.safetensors", tmp_path / "run" / eg3d.name)
    assert load_generator(str(path)).resolution == 64


def test_another_generator_of_the_same_shape_is_noticed(eg3d, tmp_path):
    """Of equal names and shapes, but with other weights where training changes nothing."""
    save_student(tmp_path / "student.safetensors", changed(load_generator(str(eg3d))), str(eg3d))
    with safe_open(eg3d, "pt") as file:
        facts = file.metadata()
    tensors = load_file(eg3d)
    tensors["decoder.net.0.bias"] += 1
    save_file(tensors, eg3d, facts)
    with pytest.raises(
        GuideError, match="was made from another file than .*tiny.safetensors is now; put the earlier one"
    ):
        load_generator(str(tmp_path / "student.safetensors"))


def test_a_student_of_a_flat_checkpoint(tmp_path):
    torch.save(small_network().backbone.state_dict(), tmp_path / "flat.pt")
    path = official.convert(tmp_path / "flat.pt")
    student = changed(load_generator(str(path)))
    save_student(tmp_path / "student.safetensors", student, str(path))
    assert_draws_the_same(load_generator(str(tmp_path / "student.safetensors")), student)


# --- files from before they said whose they are ---


def older(path: Path, student: Generator, **metrics: object) -> None:
    """What earlier versions wrote."""
    save_tensors(path, student.trainable_parameters())
    path.with_name("metrics.json").write_text(json.dumps({"id": 0.1} | metrics))


def test_an_older_student_is_known_by_the_metrics_of_its_run(eg3d, tmp_path):
    student = erased(DeepGenerator())
    older(tmp_path / "student.safetensors", student, generator="deep", resolution=16)
    assert_draws_the_same(load_student(tmp_path / "student.safetensors"), student)
    older(tmp_path / "student.safetensors", changed(load_generator(str(eg3d))), generator=str(eg3d))
    assert isinstance(load_generator(str(tmp_path / "student.safetensors")), EG3D)


@pytest.mark.parametrize("metrics", [None, "", "[1]", '{"generator": 3, "resolution": "x"}', "\xff{"])
def test_an_older_student_without_them_is_known_by_names_and_shapes(metrics, tmp_path):
    student = erased(DeepGenerator())
    older(tmp_path / "student.safetensors", student)
    if metrics is None:
        (tmp_path / "metrics.json").unlink()
    else:
        (tmp_path / "metrics.json").write_bytes(metrics.encode("latin-1"))
    assert_draws_the_same(load_student(tmp_path / "student.safetensors"), student)


def test_the_resolution_of_an_older_mobilestylegan_is_known_by_its_blocks(tmp_path, monkeypatch, loaders):
    from guide_lib.generators.mobile import MobileStyleGAN

    def random(resolution: int = 256) -> MobileStyleGAN:
        generator = MobileStyleGAN(resolution)
        rng = torch.Generator().manual_seed(0)
        for tensor in generator.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=rng) / 20)
        return generator

    monkeypatch.setitem(loaders, "mobilestylegan-ffhq", torch.no_grad()(random))
    path = tmp_path / "student.safetensors"
    for size in (128, 256):
        student = changed(loaders["mobilestylegan-ffhq"](size))
        older(path, student, generator="mobilestylegan-ffhq")
        found = load_generator(str(path))
        assert found.resolution == size
        w = found.sample(1, torch.Generator().manual_seed(0))
        assert torch.equal(found.synthesis(w).image, student.synthesis(w).image)
    with pytest.raises(GuideError, match="are not of mobilestylegan-ffhq; name the student.safetensors of another run"):
        load_generator(str(path), resolution=128)
    older(path, changed(loaders["mobilestylegan-ffhq"](512)))
    with pytest.raises(GuideError, match="does not say its resolution; add --resolution 512 or 1024."):
        load_generator(str(path))
    assert load_generator(str(path), resolution=1024).resolution == 1024


# --- what is refused ---


def test_another_resolution_is_refused(tmp_path):
    save_student(tmp_path / "student.safetensors", erased(DeepGenerator()), "deep")
    assert load_generator(str(tmp_path / "student.safetensors"), resolution=16).resolution == 16
    with pytest.raises(GuideError, match="was made at 16 px, not at 32; leave the resolution out."):
        load_generator(str(tmp_path / "student.safetensors"), resolution=32)


def test_weights_of_another_generator_are_refused(tmp_path):
    save_student(tmp_path / "student.safetensors", erased(DeepGenerator()), "flat")
    with pytest.raises(
        GuideError, match="The weights in .* are not of flat; name the student.safetensors of another run"
    ):
        load_generator(str(tmp_path / "student.safetensors"))
    save_tensors(tmp_path / "student.safetensors", {"synthesis_network.x": torch.zeros(2)})
    with pytest.raises(GuideError, match="are not of any generator on this machine; name the student"):
        load_generator(str(tmp_path / "student.safetensors"))
    with pytest.raises(GuideError, match="These weights are not of a student of this generator"):
        dressed(TinyGenerator(), DeepGenerator().trainable_parameters())


def test_adapters_that_are_incomplete_are_refused(tmp_path):
    weights = dict(erased(DeepGenerator(), "adapters").trainable_parameters())
    weights.pop("layers.1.adapters.0.inward")
    with pytest.raises(GuideError, match="These weights are not of a student of this generator"):
        dressed(DeepGenerator(), weights)


def test_a_damaged_student_a_folder_and_other_files_of_a_run_are_one_sentence(tmp_path):
    path = tmp_path / "student.safetensors"
    save_student(path, erased(DeepGenerator()), "deep")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(GuideError, match="is damaged .wrong checksum"):
        load_generator(str(path))
    with pytest.raises(GuideError, match="is a folder; name the file in it, such as .*student.safetensors"):
        load_generator(str(tmp_path))
    save_tensors(tmp_path / "latents.safetensors", {"w_u": torch.zeros(1, 3, 6)})
    with pytest.raises(GuideError, match="holds another network, with tensors such as w_u"):
        load_generator(str(tmp_path / "latents.safetensors"))
