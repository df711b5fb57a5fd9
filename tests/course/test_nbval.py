"""`make test` compares what marked cells print with what is stored: its command line, on a notebook of one cell."""

import re
import shlex
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from project import ROOT

CELLS = {  # name: the cell, what is stored of it, whether it passes
    "equal": ("# NBVAL_CHECK_OUTPUT\nprint('Right.')", "Right.\n", True),
    "cleared": ("# NBVAL_CHECK_OUTPUT\nprint('Right.')", None, False),  # somebody cleared the outputs
    "different": ("# NBVAL_CHECK_OUTPUT\nprint('Wrong.')", "Right.\n", False),
    "sanitised": ("# NBVAL_CHECK_OUTPUT\nprint('took 3.2 s on cpu')", "took 41 s on cuda:0\n", True),  # sanitize.cfg
    "unmarked": ("print('another picture')", "a picture\n", True),  # may differ
    "failing": ("assert 1 + 1 == 3", None, False),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> str:
    """What nbval, called as in the Makefile, says of a folder with a notebook for each cell."""
    (line,) = re.findall(r"-m pytest .*? (--nbval.*) notebooks$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    folder = tmp_path_factory.mktemp("notebooks")
    for name, (cell, stored, _) in CELLS.items():
        outputs = [] if stored is None else [new_output("stream", name="stdout", text=stored)]
        checked = new_code_cell(cell, outputs=outputs, execution_count=1)
        nbformat.write(new_notebook(cells=[checked]), folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", *shlex.split(line), "-rA", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600).stdout


@pytest.mark.parametrize("name", CELLS)
def test_marked_cells_are_compared_and_all_are_run(name, said):
    (result,) = re.findall(rf"^(PASSED|FAILED) .*\b{name}\.ipynb::", said, re.M)
    assert result == ("PASSED" if CELLS[name][2] else "FAILED")
