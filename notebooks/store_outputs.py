"""Run every notebook of this folder from top to bottom and store its outputs: `make notebooks`.

    python notebooks/store_outputs.py [00_unlearn_a_face.ipynb ...]
    python notebooks/store_outputs.py --generator heads-eg3d      # those that let choose, on another; stores nothing

What is stored is what a reader needs: no widget state (GitHub would refuse the file), no clock times (every run
would be a change), progress bars as they end. How long each took goes into its first cell, into
data/results/notebooks.json, and from there into the README's table.
"""

import argparse
import json
import os
import re
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
README = FOLDER.parent / "README.md"
CHOICE = re.compile(r'^GENERATOR = "[^"]+"', re.MULTILINE)
TIMES = FOLDER.parent / "data" / "results" / "notebooks.json"


def execute(notebook: nbformat.NotebookNode) -> int:
    """Run all cells; returns the seconds that they took."""
    resources = {"metadata": {"path": str(FOLDER)}}
    options = {"store_widget_state": False, "record_timing": False, "coalesce_streams": True}
    started = time.monotonic()
    NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources, **options).execute()
    return round(time.monotonic() - started)


def store_outputs(path: Path) -> int:
    """Execute one notebook in place and return the seconds it took; an error leaves the file as it was."""
    notebook = nbformat.read(path, as_version=4)
    seconds = execute(notebook)
    notebook.cells[0].source = stated(notebook.cells[0].source, seconds)
    nbformat.write(notebook, path)
    return seconds


def on_another(path: Path, generator: str) -> nbformat.NotebookNode | None:
    """The notebook with its line `GENERATOR = ...` changed; None where there is no such line."""
    notebook, found = nbformat.read(path, as_version=4), 0
    for cell in notebook.cells:
        cell.source, changed = CHOICE.subn(f'GENERATOR = "{generator}"', cell.source)
        found += changed
    return notebook if found else None


def in_words(seconds: float) -> str:
    """Seconds up to a minute and a half, then half minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{round(seconds / 30) / 2:g} min"


def quoted(readme: str, times: dict[str, int]) -> str:
    """The README with the times in the last column of its table of notebooks; unknown ones are left alone."""
    row = re.compile(r"^(\| \[.*?\]\(notebooks/(.+?)\) \|.*\|) [^|]*? \|$", re.MULTILINE)
    return row.sub(lambda m: f"{m[1]} {in_words(times[m[2]])} |" if m[2] in times else m[0], readme)


def stated(source: str, seconds: float) -> str:
    """A notebook's first cell with this time in its table."""
    return re.sub(r"compute for .+? on two CPU cores", f"compute for {in_words(seconds)} on two CPU cores", source)


def record(name: str, seconds: int) -> None:
    """Write one notebook's time into the table and the README."""
    times = json.loads(TIMES.read_text(encoding="utf-8")) if TIMES.exists() else {}
    times = dict(sorted({**times, name: seconds}.items()))
    TIMES.write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")
    README.write_text(quoted(README.read_text(encoding="utf-8"), times), encoding="utf-8")


if __name__ == "__main__":
    # The kernels inherit this: a warning of another package would store a path of this machine.
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:torchvision.models._utils"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="of notebooks; all by default")
    parser.add_argument("--generator", help="run those that let choose on this one, and store nothing")
    args = parser.parse_args()
    for path in [FOLDER / name for name in args.names] or sorted(FOLDER.glob("*.ipynb")):
        if args.generator is None:
            record(path.name, seconds := store_outputs(path))
        elif (notebook := on_another(path, args.generator)) is not None:
            seconds = execute(notebook)
        else:
            continue
        print(f"{path.name}: {seconds} s")
