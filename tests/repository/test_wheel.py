"""The wheel, installed in an empty environment outside of the checkout, does what the checkout does."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from project import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of an environment's commands, `guide` among them; its packages are those here, but for ours."""
    folder = tmp_path_factory.mktemp("elsewhere")

    def run(*command: object) -> None:
        subprocess.run([*map(str, command)], cwd=folder, check=True, capture_output=True)

    wheels, environment = folder / "wheels", folder / "env"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", wheels, ROOT)
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    commands = environment / "bin"
    run(*pip, "--python", commands / "python", "install", "-q", "--no-deps", "--no-index", *wheels.glob("*.whl"))
    (packages,) = environment.glob("lib/python*/site-packages")
    # a plain line adds the folder, but not what .pth files in it name, such as an editable install of this checkout
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return commands


def guide(commands: Path, folder: Path, *options: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [commands / "guide", *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library_that_runs_is_the_wheels(installed, tmp_path):
    where = [installed / "python", "-c", "import guide_lib; print(guide_lib.__file__)"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(installed.parent)


def test_doctor_runs(installed, tmp_path):
    assert "torch" in guide(installed, tmp_path, "doctor")


def test_a_person_is_erased_at_128_px(installed, tmp_path):
    options = ["--person", "7", "--resolution", "128", "--steps", "2", "--out", "run"]
    assert "look at run/before_after.png" in guide(installed, tmp_path, "unlearn", *options)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["person"] == "7"
