"""What the commands are given: paths as people type them, folders, students; nothing is left of a wrong input."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from test_stylegan2 import small_network
from tiny import AnySize, TinyGenerator, TinyPerceptual

from guide_lib import experiment
from guide_lib.__main__ import main
from guide_lib.assets import shipped
from guide_lib.generators import load as loading
from guide_lib.generators import load_generator
from guide_lib.session import session as sessions


@pytest.fixture
def tiny(monkeypatch):
    """A tiny generator under the usual name, which is loaded as the pretrained one is, with tiny judges."""

    def networks(name, resolution=None, device=None, *_):
        generator = load_generator(name, resolution, device)
        return experiment.Networks(generator, TinyPerceptual(), AnySize(), AnySize(seed=8))

    monkeypatch.setitem(loading.LOADERS, "mobilestylegan-ffhq", lambda resolution=16: TinyGenerator())
    monkeypatch.setattr(sessions, "load_networks", networks)


def portrait() -> Image.Image:
    return Image.open(shipped("portrait.png")).convert("RGB")


# --- a wrong input leaves nothing behind ---


@pytest.mark.parametrize(
    "argv",
    [
        ["unlearn", "--photo", "nobody.jpg"],
        ["unlearn", "--photo", "wall.png"],
        ["unlearn", "--photo", "x" * 300],
        ["unlearn", "--person", "1", "--generator", "nothing"],
        ["unlearn", "--person", "1", "--generator", "runs/x/student.safetensors"],
        ["unlearn", "--person", "1", "--generator", "wall.png"],
        ["unlearn", "--person", "1", "--resolution", "300"],
        ["unlearn", "--person", "1", "--device", "nothing"],
        ["invert", "empty"],
        ["invert", "nobody.jpg"],
        ["evaluate", "--scenario", "ood", "--photos", "nobody.jpg", "--people", "1"],
        ["evaluate", "--scenario", "ood", "--photos", "empty", "--people", "1"],
        ["evaluate", "--real", "nowhere", "--pairs", "2"],
        ["compare", "--generator", "nothing"],
    ],
    ids=lambda argv: " ".join(argv)[:60],
)
def test_a_wrong_input_leaves_no_folder(argv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (200, 200), "grey").save("wall.png")
    Path("empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for out in ("runs/new", str(tmp_path / "other")):
        assert main([*argv, "--out", out]) == 2
        assert capsys.readouterr().err.count("error: ") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_was_there_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    assert main(["unlearn", "--photo", "nobody.jpg", "--out", "mine"]) == 2
    assert main(["unlearn", "--person", "1", "--generator", "nothing", "--out", "mine/new"]) == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


# --- paths ---


def test_paths_are_taken_as_they_are_typed(tiny, tmp_path, monkeypatch, capsys):
    """Home, a variable, quotes that the shell has left, spaces; for what is read and for what is written."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORK", str(tmp_path / "work"))
    (tmp_path / "home" / "my photos").mkdir(parents=True)
    portrait().save(tmp_path / "home" / "my photos" / "it's $5.png")
    argv = ["unlearn", "--steps", "1", "--photo", '"~/my photos/it\'s $5.png"', "--out", "$WORK/my run"]
    assert main(argv) == 0
    student = tmp_path / "work" / "my run" / "student.safetensors"
    assert student.is_file() and not list(tmp_path.glob("*~*")) and not list(Path.cwd().glob("$WORK"))
    generator = ["--generator", "'$WORK/my run/student.safetensors'"]
    assert main(["unlearn", "--person", "3", "--steps", "1", *generator, "--out", "~/second"]) == 0
    assert main(["report", "~/second"]) == 0
    assert (tmp_path / "home" / "second" / "report.html").is_file()
    capsys.readouterr()
    torch.save(small_network().backbone.state_dict(), tmp_path / "home" / "some.pt")
    assert main(["convert", "~/some.pt", "--out", "$WORK/some.safetensors"]) == 0
    assert (tmp_path / "work" / "some.safetensors").is_file() and "(StyleGAN2; " in capsys.readouterr().out


def test_names_in_another_encoding_go_through_all_commands(tiny, tmp_path, monkeypatch, capsys):
    """From the photos to the page, on a terminal that knows ASCII alone."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    portrait().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(folder / os.fsdecode(b"Jos\xe9.png"))
    (folder / os.fsdecode(b"\xff.txt")).write_text("a caption")
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    run = folder / "run"
    assert main(["invert", str(folder), "--steps", "1", "--out", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    assert (
        main(["unlearn", "--photo", str(folder / os.fsdecode(b"Jos\xe9.png")), "--steps", "1", "--out", str(run)]) == 0
    )
    assert main(["report", str(run)]) == 0
    screen.flush()
    assert rb"caf\udce9" in screen.buffer.getvalue() and (run / "report.html").read_text(encoding="utf-8")
    assert (
        main(["invert", str(folder / os.fsdecode(b"Jos\xe9.png")), "--steps", "1", "--out", str(tmp_path / "one")]) == 0
    )
    metrics = json.loads((tmp_path / "one" / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["photos"]) == [r"Jos\xe9.png"]


@pytest.mark.parametrize("name", ["two\nlines", "tab\there", "a\x1b[31mcolour", "left\u202egpj"])
def test_a_message_stays_on_one_line_whatever_a_name_holds(name, tmp_path, monkeypatch, capsys):
    """And the terminal is not told to do anything."""
    monkeypatch.chdir(tmp_path)
    Path(f"{name}.jpg").write_text("hello")
    for argv in (["unlearn", "--photo", f"{name}.jpg"], ["unlearn", "--person", "1", "--generator", f"{name}.pt"]):
        assert main([*argv, "--out", "new"]) == 2
        said = capsys.readouterr().err
        assert said.endswith(".\n") and said[:-1].isprintable() and name.encode("unicode_escape").decode() in said


def test_a_person_may_have_a_name_as_long_as_a_file_can(tiny, tmp_path):
    """Before, the names of what is made for them were too long, and the evaluation ended."""
    (tmp_path / "people").mkdir()
    for name in ("x" * 251, "\u4eac" * 83 + "a", "\u4eac" * 83 + "b"):
        portrait().save(tmp_path / "people" / f"{name}.png")
    asked = ["evaluate", "--scenario", "ood", "--photos", str(tmp_path / "people"), "--people", "3", "--steps", "1"]
    assert main([*asked, "--methods", "GUIDE", "--out", str(tmp_path / "out")]) == 0
    assert main(["report", str(tmp_path / "out")]) == 0
    people = [json.loads(row)["person"] for row in (tmp_path / "out" / "people.jsonl").read_text().splitlines()]
    assert len(set(people)) == 3 and len(list((tmp_path / "out" / "pictures").iterdir())) == 3


# --- students ---


def test_a_saved_student_is_drawn_measured_attacked_reported_and_unlearned_again(tiny, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["unlearn", "--person", "1", "--preset", "fast", "--steps", "2", "--out", str(first)]) == 0
    student = str(first / "student.safetensors")
    assert (
        main(
            [
                "unlearn",
                "--person",
                "2",
                "--preset",
                "fast",
                "--steps",
                "2",
                "--generator",
                student,
                "--out",
                str(second),
            ]
        )
        == 0
    )
    pictures = [load_generator(str(path / "student.safetensors")) for path in (first, second)]
    ws = pictures[0].sample(2, torch.Generator().manual_seed(0))
    drawn = [generator.synthesis(ws).image for generator in (TinyGenerator(), *pictures)]
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])
    # the second began where the first ended
    weights = [load_file(path / "student.safetensors")["backbone.weight"] for path in (first, second)]
    assert (weights[1] - weights[0]).abs().max() < 3 * (weights[0] - TinyGenerator().backbone.weight).abs().max()
    measured = tmp_path / "measured"
    asked = ["evaluate", "--people", "1", "--methods", "GUIDE", "--steps", "1", "--out", str(measured)]
    assert main([*asked, "--attacks", "--generator", student]) == 0
    (row,) = (measured / "people.jsonl").read_text().splitlines()
    assert "reinverted_w" in json.loads(row)
    assert (
        main(["invert", str(shipped("portrait.png")), "--steps", "1", "--generator", student, "--out", str(first)]) == 0
    )
    for folder in (first, second, measured):
        assert main(["report", str(folder)]) == 0


def test_rows_of_a_student_and_of_its_generator_are_not_mixed(tiny, tmp_path, capsys):
    assert main(["unlearn", "--person", "1", "--steps", "2", "--out", str(tmp_path / "run")]) == 0
    asked = ["evaluate", "--people", "1", "--methods", "GUIDE", "--steps", "1", "--out", str(tmp_path / "rows")]
    assert main(asked) == 0
    assert main([*asked, "--generator", str(tmp_path / "run" / "student.safetensors")]) == 2
    assert "holds rows made with other settings" in capsys.readouterr().err
