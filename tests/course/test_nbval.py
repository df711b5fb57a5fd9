"""`make test` compares what marked cells print with what is stored: its command line, on a notebook of one cell."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from project import ROOT


def passes(cell: str, stored: str | None, folder: Path) -> bool:
    """Whether nbval, called as in the Makefile, accepts a notebook with this cell and its stored output."""
    (line,) = re.findall(r"-m (pytest --nbval.*) notebooks$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    outputs = [] if stored is None else [new_output("stream", name="stdout", text=stored)]
    checked = new_code_cell(cell, outputs=outputs, execution_count=1)
    nbformat.write(new_notebook(cells=[checked]), folder / "one.ipynb")
    command = [sys.executable, "-m", *shlex.split(line), "-p", "no:cacheprovider", str(folder / "one.ipynb")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120).returncode == 0


@pytest.mark.parametrize(
    ("cell", "stored", "accepted"),
    [
        ("# NBVAL_CHECK_OUTPUT\nprint('Right.')", "Right.\n", True),
        ("# NBVAL_CHECK_OUTPUT\nprint('Right.')", None, False),  # somebody cleared the outputs
        ("# NBVAL_CHECK_OUTPUT\nprint('Wrong.')", "Right.\n", False),
        ("# NBVAL_CHECK_OUTPUT\nprint('took 3.2 s on cpu')", "took 41 s on cuda:0\n", True),  # sanitize.cfg
        ("print('another picture')", "a picture\n", True),  # not marked: may differ
        ("assert 1 + 1 == 3", None, False),
    ],
)
def test_marked_cells_are_compared_and_all_are_run(cell, stored, accepted, tmp_path):
    assert passes(cell, stored, tmp_path) is accepted
