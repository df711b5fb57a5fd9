"""What `make` hands to the program: names as they were typed, whatever is in them."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from project import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")
TESTS, MARK = ROOT / "tests", "pytest.mark." + "alone"
NAMES = [
    "me.jpg",
    "my photo.jpg",
    "it's me.jpg",
    'the "best" one.jpg',
    "a$HOME$$b$(x)${y}.jpg",
    "`touch stolen`;touch stolen.jpg",
    "#1 100% \\ *?[a].jpg",
    "~/me.jpg",
    " two  spaces ",
    "--help",
    "caf\u00e9 \u4e2d.jpg",
]


@pytest.fixture
def make(tmp_path: Path):
    """Run `make demo` with a stub in place of Python, in a folder of its own; returns the stub's arguments."""
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\nprintf "%s\\n--next--\\n" "$@"\n')
    stub.chmod(0o755)

    def run(*variables: str, **environment: str) -> list[str]:
        command = ["make", "-s", "-f", str(ROOT / "Makefile"), "demo", f"BIN={stub.parent}", "STAMP=", *variables]
        taken = ("PHOTO", "SEED", "FACE", "OUT", "GENERATOR")
        kept = {name: value for name, value in os.environ.items() if name not in taken}
        done = subprocess.run(
            command, cwd=tmp_path, env=kept | environment, capture_output=True, text=True, check=True, encoding="utf-8"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["bin"], "a name was run as a command"
        return done.stdout.split("\n--next--\n")[:-1]

    return run


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["on the command line", "in the environment"])
def test_a_name_arrives_as_it_was_typed(name, how, make):
    values = {"PHOTO": name, "OUT": f"runs/{name}", "FACE": "1"}
    found = make(*(f"{k}={v}" for k, v in values.items())) if how == "on the command line" else make(**values)
    if name.startswith(" ") and how == "on the command line":
        name = name.lstrip()  # make takes the spaces after = for its own
    out = f"runs/{values['PHOTO']}"
    assert found == ["-m", "guide_lib", "unlearn", f"--photo={name}", "--face=1", f"--out={out}"]


def test_a_seed_the_portrait_and_the_usual_folder(make):
    usual = ["-m", "guide_lib", "unlearn"]
    assert make() == [*usual, "--out=runs/demo"]
    assert make("SEED=7") == [*usual, "--person=7", "--out=runs/demo"]
    assert make("SEED=0", "OUT=x y") == [*usual, "--person=0", "--out=x y"]
    assert make("PHOTO=me.jpg", "SEED=7") == [*usual, "--photo=me.jpg", "--out=runs/demo"]
    assert make("GENERATOR=heads-eg3d") == [*usual, "--generator=heads-eg3d", "--out=runs/demo"]


def test_all_tests_run_on_several_cores_but_those_that_want_to_be_alone():
    def commands(*variables: str) -> list[str]:
        asked = ["make", "-n", "test", "STAMP=", *variables]
        outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "PARALLEL")}
        said = subprocess.run(asked, cwd=ROOT, env=outside, capture_output=True, text=True, check=True).stdout
        return [line.partition("-m pytest ")[2] for line in said.splitlines() if "-m pytest" in line]

    unit, alone, examples, notebooks = commands()
    assert unit == "-n auto --dist loadfile --no-loadscope-reorder -m 'not alone'"
    assert {ROOT / name for name in alone.split()} == {
        path for path in TESTS.rglob("test_*.py") if MARK in path.read_text(encoding="utf-8")
    }
    assert "-n auto" in examples and examples.endswith("--doctest-modules guide_lib")
    assert "-n auto --dist loadfile" in notebooks, "the cells of a notebook run in one kernel, one after another"
    assert [line.partition(" ")[0] for line in commands("PARALLEL=-n 0")] == ["-n", alone, "-n", "-n"]


@pytest.mark.parametrize(("cores", "processes", "threads"), [(1, 0, "1"), (2, 2, "1"), (4, 4, "1"), (16, 4, "4")])
def test_every_process_of_the_tests_has_its_share_of_the_cores(cores, processes, threads, monkeypatch):
    spec = importlib.util.spec_from_file_location("tests_on_cores", ROOT / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "to be undone")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert module.pytest_xdist_auto_num_workers() == processes and os.environ["OMP_NUM_THREADS"] == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert module.pytest_xdist_auto_num_workers() == processes and os.environ["OMP_NUM_THREADS"] == "3"
