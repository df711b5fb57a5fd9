"""What a reader can get wrong on the command line: one clear sentence, exit status 2, nothing lost."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pretend import Pretend
from safetensors.torch import load_file
from tiny import AnySize, TinyGenerator, TinyPerceptual

from guide_lib import experiment
from guide_lib.__main__ import main
from guide_lib.assets import ASSETS, cache_dir, doctor, fetch, shipped
from guide_lib.assets.doctor import diagnose
from guide_lib.checkpoint import load_tensors
from guide_lib.inversion import methods as inversion_methods
from guide_lib.inversion import report as inversion_report
from guide_lib.inversion.optimise import InversionSettings
from guide_lib.perception.faces import align
from guide_lib.session import session as sessions


@pytest.fixture
def refused(capsys, tmp_path):
    """Run a command that must fail; returns its one line on standard error. The files in tmp_path must survive."""

    def run(*argv: str) -> str:
        kept = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        status = main([*map(str, argv)])
        assert status == 2
        lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("error")]
        assert len(lines) == 1
        assert lines[0].endswith(".")
        assert all(p.exists() and p.read_bytes() == content for p, content in kept.items()), "something was lost"
        return lines[0]

    return run


@pytest.fixture
def tiny_networks(monkeypatch):
    """Stand-ins instead of the pretrained networks: the same path through the library in a second."""

    networks = experiment.Networks(TinyGenerator(), TinyPerceptual(), AnySize(), AnySize(seed=8))
    monkeypatch.setattr(sessions, "load_networks", lambda *_: networks)
    return networks


def portrait() -> Image.Image:
    return Image.open(shipped("portrait.png")).convert("RGB")


def test_a_photo_without_a_face(refused, tmp_path):
    Image.new("RGB", (256, 256), "steelblue").save(tmp_path / "sky.png")
    assert "No face found in sky.png" in refused("unlearn", "--photo", tmp_path / "sky.png", "--out", tmp_path / "run")


def test_two_faces_and_no_choice(refused, tmp_path):
    pair = Image.new("RGB", (1024, 512))
    pair.paste(portrait(), (0, 0))
    pair.paste(portrait(), (512, 0))
    pair.save(tmp_path / "pair.png")
    line = refused("unlearn", "--photo", tmp_path / "pair.png", "--out", tmp_path / "run")
    assert "2 faces found in pair.png; choose one with --face 0 (leftmost) to --face 1." in line


def test_a_text_file_named_jpg(refused, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture")
    line = refused("unlearn", "--photo", tmp_path / "notes.jpg", "--out", tmp_path / "run")
    assert "is not a picture that can be read; save it as JPEG or PNG." in line


def test_a_picture_of_20_px(refused, tmp_path):
    portrait().resize((20, 20)).save(tmp_path / "stamp.png")
    line = refused("unlearn", "--photo", tmp_path / "stamp.png", "--out", tmp_path / "run")
    assert "has only 20 x 20 pixels; use a photo of at least" in line


def test_a_truncated_archive(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "cache" / "archives" / ASSETS["mobilestylegan-ffhq"].archive
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"PK\x03\x04 the rest never arrived")
    assert "delete it and run the command again." in refused("unlearn", "--person", "1", "--out", tmp_path / "run")


def test_a_wrong_checksum_inside_the_archive(refused, tmp_path, monkeypatch):
    fetch("sface")
    source = cache_dir() / "archives" / ASSETS["sface"].archive
    cache = tmp_path / "cache"
    (cache / "archives").mkdir(parents=True)
    shutil.copy(source, cache / "archives")
    monkeypatch.setenv("GUIDE_CACHE", str(cache))
    wrong = dataclasses.replace(ASSETS["sface"], members=dict.fromkeys(ASSETS["sface"].members, "0" * 64))
    monkeypatch.setitem(ASSETS, "sface", wrong)
    for other in set(ASSETS) - {"sface"}:
        monkeypatch.delitem(ASSETS, other)
    assert "has a wrong checksum: delete the archive, run again." in refused("assets", "fetch")


def test_an_unknown_generator(refused, tmp_path):
    line = refused("unlearn", "--person", "1", "--generator", "stylegan2", "--out", tmp_path / "run")
    assert "There is no generator 'stylegan2'; did you mean 'mobilestylegan-ffhq'?" in line


def test_a_cache_that_cannot_be_written(refused, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file where the folder should be")
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "file" / "cache"))
    line = refused("unlearn", "--person", "1", "--out", tmp_path / "run")
    assert "set GUIDE_CACHE to a folder" in line


def test_a_results_folder_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("a file where the folder should be")
    line = refused("unlearn", "--person", "1", "--out", tmp_path / "file" / "run")
    assert "choose another folder with --out." in line


def test_two_runs_in_one_folder(refused, tmp_path):
    from filelock import FileLock

    with FileLock(tmp_path / ".lock"):
        assert "Another run is writing to" in refused("unlearn", "--person", "1", "--out", tmp_path)


def test_a_missing_photo_and_an_unknown_device(refused, tmp_path):
    assert "There is no photo at" in refused("unlearn", "--photo", tmp_path / "me.jpg", "--out", tmp_path / "run")
    line = refused("unlearn", "--person", "1", "--device", "tpu", "--out", tmp_path / "run")
    assert "no device 'tpu' on this machine; choose one of:" in line


@pytest.mark.parametrize(
    "argv",
    [
        ["unlearn", "--steps", "0"],
        ["unlearn", "--person", "-1"],
        ["unlearn", "--seed", "20000000000000"],
        ["unlearn", "--face", "x"],
        ["compare", "--people", "0"],
        ["evaluate", "--pairs", "-1"],
        ["invert", "me.jpg", "--steps", "-3"],
    ],
)
def test_a_number_that_no_run_can_have_is_refused_at_once(argv, tmp_path, capsys):
    with pytest.raises(SystemExit) as refusal:
        main([*argv, "--out", str(tmp_path / "run")])
    assert refusal.value.code == 2 and not (tmp_path / "run").exists()
    assert f"a whole number from {0 if argv[-1] not in '0' else 1} to 4294967295, not '{argv[-1]}'" in (
        capsys.readouterr().err
    )


def test_a_rate_a_device_and_pairs_that_make_no_sense_are_one_sentence(refused, tmp_path):
    out = ("--out", tmp_path / "run")
    assert "The learning rate is a positive number, not -1." in refused("unlearn", "--learning-rate", "-1", *out)
    assert "'cpu:x' is no device; say, for example, cuda:0." in refused("unlearn", "--device", "cpu:x", *out)
    assert "name at least two --pairs" in refused("evaluate", "--pairs", "1", *out)


def test_one_photo_is_inverted_and_not_a_second_time(tiny_networks, tmp_path, capsys, monkeypatch):
    """The numbers in metrics.json are those of the codes in inversion.safetensors."""
    argv = ["invert", str(shipped("portrait.png")), "--out", str(tmp_path)]
    assert main(argv) == 0
    said = capsys.readouterr().out
    codes = load_file(tmp_path / "inversion.safetensors")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(codes) == {"W", "W+"}
    photo = F.interpolate(align(portrait()), size=16, mode="area")
    for space, ws in codes.items():
        assert ws.shape == (1, 3, 6)
        image = tiny_networks.generator.synthesis(ws).image
        judge = (tiny_networks.judge.embed(image) * tiny_networks.judge.embed(photo)).sum().item()
        lpips = tiny_networks.perceptual(image, photo).item()
        assert metrics[space]["judge"] == pytest.approx(judge, abs=1e-4)
        assert metrics[space]["lpips"] == pytest.approx(lpips, rel=1e-4)
        assert metrics[space]["seconds"] > 0
        assert f"{space:7}  judge cosine {judge:.2f}, LPIPS {lpips:.2f}" in said
    with Image.open(tmp_path / "inversion.png") as picture:
        assert picture.width > 3 * 256
    monkeypatch.setattr(inversion_methods, "inversion_steps", None)  # would fail if it were needed again
    assert main(argv) == 0
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_the_steps_in_w_plus_can_be_chosen(tiny_networks, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(inversion_report, "invert_by", lambda method, *args, **_: asked.append(method) or {})
    assert main(["invert", str(shipped("portrait.png")), "--steps", "7", "--out", str(tmp_path)]) == 0
    assert asked[0].optimisation == InversionSettings(steps_w_plus=7, grid=1000.0) and not asked[0].encoder
    assert json.loads((tmp_path / "metrics.json").read_text())["method"]["optimisation"]["steps_w_plus"] == 7


def test_a_folder_is_inverted_photo_by_photo(tiny_networks, tmp_path, capsys):
    """What cannot be used is named on standard error, and each photo has the code that it would have alone."""
    album = tmp_path / "album"
    album.mkdir()
    portrait().save(album / "b.png")
    portrait().crop((60, 0, 400, 340)).save(album / "a.png")
    (album / "notes.txt").write_text("the party")
    assert main(["invert", str(album), "--out", str(tmp_path / "all")]) == 0
    assert "skipped: " in (err := capsys.readouterr().err) and "notes.txt is not a picture" in err
    metrics = json.loads((tmp_path / "all" / "metrics.json").read_text())
    assert list(metrics["photos"]) == ["a.png", "b.png"] and list(metrics["skipped"]) == ["notes.txt"]
    mean = sum(photo["W+"]["judge"] for photo in metrics["photos"].values()) / 2
    assert metrics["W+"]["judge"] == pytest.approx(mean, abs=1e-6)
    assert main(["invert", str(album / "b.png"), "--out", str(tmp_path / "one")]) == 0
    together, alone = (load_file(tmp_path / name / "inversion.safetensors") for name in ("all", "one"))
    assert torch.allclose(together["W+"][1:], alone["W+"], atol=1e-3)


def test_an_inversion_that_cannot_start(refused, tmp_path):
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "notes.txt").write_text("the party")
    out = ("--out", tmp_path / "run")
    assert "There is no usable photo in" in refused("invert", tmp_path / "album", *out)
    assert "--face chooses in one photo, not in a folder" in refused("invert", tmp_path / "album", "--face", "0", *out)
    assert "There is no photo at" in refused("invert", tmp_path / "me.jpg", *out)
    assert "There is no face 3 in portrait.png" in refused("invert", shipped("portrait.png"), "--face", "3", *out)


def test_a_photo_inverted_by_pivotal_tuning_leaves_the_tuned_weights(tiny_networks, tmp_path, monkeypatch):
    """From the files alone: the weights put into the generator draw, at the code, what metrics.json has measured."""
    method = inversion_methods.METHODS["pivotal"]
    quick = dataclasses.replace(method, tuning=dataclasses.replace(method.tuning, steps=5, threshold=0.0))
    monkeypatch.setitem(inversion_methods.METHODS, "pivotal", quick)
    argv = ["invert", str(shipped("portrait.png")), "--method", "pivotal", "--out", str(tmp_path)]
    assert main(argv) == 0
    weights, codes = load_file(tmp_path / "student.safetensors"), load_file(tmp_path / "inversion.safetensors")
    tuned = tiny_networks.generator.student()
    for name, parameter in tuned.trainable_parameters().items():
        parameter.data = weights[name]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    photo = F.interpolate(align(portrait()), size=16, mode="area")
    lpips = tiny_networks.perceptual(tuned.synthesis(codes["tuned"]).image, photo).item()
    assert metrics["tuned"]["lpips"] == pytest.approx(lpips, rel=1e-4)
    assert metrics["method"] == "pivotal" and lpips != pytest.approx(metrics["W"]["lpips"], rel=1e-3)


def test_the_photo_of_a_run_is_inverted_and_the_last_code_is_erased(tiny_networks, tmp_path):
    argv = ["unlearn", "--steps", "2", "--out", str(tmp_path)]
    assert main(argv) == 0
    cosines = json.loads((tmp_path / "metrics.json").read_text())["inversion"]
    assert list(cosines) == ["W", "W+"] and all(-1 <= value <= 1 for value in cosines.values())
    (cache,) = tmp_path.glob("inversion-*.safetensors")
    assert torch.equal(load_file(tmp_path / "latents.safetensors")["w_u"], load_file(cache)["W+"])


def test_doctor_and_assets_say_what_is_there(capsys):
    assert main(["assets"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ASSETS)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "torch" in out and "cache:" in out


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_doctor_names_the_card_and_whether_it_works(kind, monkeypatch):
    with Pretend(kind):
        lines = [line for line in diagnose() if line.startswith(f"{kind}:0")]
        assert len(lines) == 1 and lines[0].endswith(": works")
        assert all(
            fact in lines[0] for fact in (["capability 9.0", "86 GB", "driver"] if kind == "cuda" else ["17 GB"])
        )
        monkeypatch.setattr(doctor, "trouble_with", lambda device: "no kernel image is available")
        (line,) = [line for line in diagnose() if line.startswith(f"{kind}:0")]
        assert line.endswith("does not work: no kernel image is available")


def test_doctor_says_why_there_is_no_card(monkeypatch):
    monkeypatch.setattr(doctor, "devices_present", lambda: ["cpu"])
    monkeypatch.setattr(doctor, "trouble_with", lambda device: "The NVIDIA driver on your system is too old")
    assert "cuda: none (The NVIDIA driver on your system is too old)" in list(diagnose())


def test_a_person_is_unlearned_end_to_end_and_an_interrupted_run_continues(tmp_path, capsys):
    """Four steps at 128 px: the files are all there, say the same, and the picture is not blank."""
    argv = ["unlearn", "--person", "7", "--resolution", "128", "--out", str(tmp_path), "--steps", "4"]
    assert main(argv) == 0
    assert not (tmp_path / "checkpoint.safetensors").exists()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["others"] == 32
    assert f"{metrics['id']:.2f}" in capsys.readouterr().out
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 5
    with Image.open(tmp_path / "before_after.png") as picture:
        assert picture.width > 600 and len(picture.getcolors(1 << 24)) > 1000
    first, facts = load_tensors(tmp_path / "student.safetensors")
    assert main(argv) == 0
    again, same = load_tensors(tmp_path / "student.safetensors")
    assert facts == same and all(torch.equal(again[name], weight) for name, weight in first.items()), (
        "the same command must give the same weights"
    )


def test_whoever_reads_only_the_beginning_gets_no_traceback():
    command = [sys.executable, "-m", "guide_lib", "assets", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 0


def test_a_photo_is_erased_at_once_and_then_trained_from_there(tiny_networks, tmp_path, capsys):
    assert main(["unlearn", "--steps", "2", "--out", str(tmp_path)]) == 0
    assert "closed form: erased in " in capsys.readouterr().out
    assert {"at_once.png", "before_after.png", "losses.csv"} <= {path.name for path in tmp_path.iterdir()}
    settings = json.loads((tmp_path / "metrics.json").read_text())["settings"]
    assert settings["walk"] == 0 and settings["steps"] == 2
    assert not (tmp_path / "forgotten.safetensors").exists()  # the training has built on it


def test_several_photos_of_one_person_are_erased_as_one_and_taken_back(tiny_networks, tmp_path, refused, capsys):
    photos = []
    for number in range(2):
        path = tmp_path / f"ada{number}.png"
        portrait().rotate(5 * number, expand=False, fillcolor=(128, 128, 128)).save(path)
        photos += ["--photo", str(path)]
    out = ["--out", str(tmp_path / "run")]
    assert main(["unlearn", "--method", "closed-form", *photos, *out]) == 0
    assert load_file(tmp_path / "run" / "latents.safetensors")["others"].shape == (1, 3, 6)
    assert not (tmp_path / "run" / "losses.csv").exists()
    assert "name one --photo" in refused("unlearn", "--method", "guide", *photos, *out)
    assert "--fibre is for the closed form" in refused("unlearn", "--method", "guide", "--fibre", *out)
    assert "'eve' is not among the forgotten (ada0)" in refused("undo", "eve", *out)
    assert main(["undo", "ada0", *out]) == 0
    assert "forgotten: nobody" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["id"] > 0.999
    assert "There is no folder at" in refused("undo", "ada0", "--out", tmp_path / "elsewhere")


def test_everybody_in_a_folder_is_forgotten_and_one_is_taken_back(tiny_networks, tmp_path, capsys):
    (tmp_path / "people" / "ben").mkdir(parents=True)
    portrait().save(tmp_path / "people" / "ada.png")
    portrait().rotate(6, fillcolor=(90, 90, 90)).save(tmp_path / "people" / "ben" / "1.png")
    portrait().rotate(-6, fillcolor=(90, 90, 90)).save(tmp_path / "people" / "ben" / "2.png")
    (tmp_path / "people" / "notes.txt").write_text("not a photo")
    out = ["--out", str(tmp_path / "run")]
    assert main(["forget-list", str(tmp_path / "people"), "--fibre", *out]) == 0
    assert load_tensors(tmp_path / "run" / "forgotten.safetensors")[1]["metric"] == "fibre"
    said = capsys.readouterr()
    assert "forgotten: ada, ben" in said.out and "skipped 1 file" in said.err and "ada   " in said.out
    both = load_file(tmp_path / "run" / "student.safetensors")
    assert main(["undo", "ada", *out]) == 0 and "forgotten: ben\n" in capsys.readouterr().out
    one = load_file(tmp_path / "run" / "student.safetensors")
    assert any(not torch.equal(both[name], one[name]) for name in both)


def test_a_run_is_attacked_by_name_and_the_numbers_are_in_its_folder(tiny_networks, tmp_path, capsys, refused):
    assert main(["unlearn", "--person", "1", "--steps", "2", "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    for name, words in {
        "search": "space W+, best ",
        "half photo": "space W, best ",
        "search beside": "of excess, space W, excess ",
        "mixing": "kept coarse, rows ",
        "relearn beside": "of control, steps ",
        "fingerprint": "rank ",
    }.items():
        assert main(["attack", name, "--out", str(tmp_path / "run")]) == 0
        assert words in capsys.readouterr().out
        stored = json.loads((tmp_path / "run" / f"attack-{name.replace(' ', '_')}.json").read_text())
        assert stored["attack"] == name and stored["found"]
    assert main(["attack", "search", "--attacker", "reflected", "--out", str(tmp_path / "run")]) == 0
    assert "There is no attack 'magic'; choose one of: search" in refused("attack", "magic", "--out", tmp_path / "run")
    assert "There is no folder at" in refused("attack", "search", "--out", tmp_path / "none")
