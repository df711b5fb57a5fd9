"""Run every notebook of this folder from top to bottom and store its outputs: `make notebooks`.

    python notebooks/store_outputs.py [00_unlearn_a_face.ipynb ...]

What is stored is what a reader needs: no widget state (GitHub would refuse the file), no clock times (every run
would be a change), progress bars as they end.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def store_outputs(path: Path) -> None:
    """Execute one notebook in place; an error leaves the file as it was."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    options = {"store_widget_state": False, "record_timing": False, "coalesce_streams": True}
    started = time.monotonic()
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources, **options).execute()
    nbformat.write(notebook, path)
    print(f"{path.name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    # The kernels inherit this: a warning of another package would store a path of this machine.
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:torchvision.models._utils"
    for path in [FOLDER / name for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        store_outputs(path)
