"""Make the site of the course, of what is stored: `make site`, or

    python website/build.py [--out dist/site]

A page for each notebook, with its stored outputs and our answers, a gallery of them, the documents, and the students'
copies to download. Nothing is executed. It works from the disk, too, but for formulas, which a network draws (MathJax).
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/guide-unlearning/guide-tutorial/blob/main"
COLAB = "https://colab.research.google.com/github/guide-unlearning/guide-tutorial/blob/main/notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)((?:#[^)\s]*)?\))")
WIDTH = 480  # px of a thumbnail
PAGES = ("results", "protocol", "networks", "speed", "eg3d", "endurance", "teaching", "troubleshooting")


def course() -> ModuleType:
    """notebooks/build.py, which makes the copies of a class."""
    spec = importlib.util.spec_from_file_location("course_build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def linked(text: str, folder: str) -> str:
    """Markdown whose links to files that are no pages of the site lead to the repository."""

    def there(found: re.Match[str]) -> str:
        target = (ROOT / folder / found[2]).resolve()
        inside = target.is_relative_to(ROOT) and target.exists()
        page = inside and target.parent.name in ("docs", "notebooks") and target.suffix in (".md", ".ipynb", ".png")
        if page or not inside:
            return found[0]
        return f"{found[1]}{REPOSITORY}/{target.relative_to(ROOT)}{found[3]}"

    return LINK.sub(there, text)


def shown(notebook: NotebookNode, made: ModuleType) -> NotebookNode:
    """The notebook as a page: answers without their marks, a sentence where a widget was."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = linked(made.unmarked(cell), "notebooks")
            continue
        cell.source = made.unmarked(cell)
        for output in cell.outputs:
            if WIDGET in output.get("data", {}):
                output.data = {"text/markdown": "*Here is a widget: open the notebook in Jupyter or Colab to use it.*"}
    return notebook


def picture_of(notebook: NotebookNode) -> Image.Image | None:
    """The last picture that the notebook has stored."""
    for cell in reversed(notebook.cells):
        for output in reversed(cell.get("outputs", [])):
            for kind in ("image/jpeg", "image/png"):
                if data := output.get("data", {}).get(kind):
                    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    return None


def card(name: str, notebook: NotebookNode, seconds: dict[str, int], source: Path) -> str:
    """One of the gallery; its thumbnail is written."""
    title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
    lines = ["", f"::::{{grid-item-card}} {title}", f":link: notebooks/{name}", ":link-type: doc"]
    if (picture := picture_of(notebook)) is not None:
        picture.thumbnail((WIDTH, WIDTH * 4))
        picture.save(source / "_static" / f"{name}.jpg", quality=85)
        lines += [f":img-top: _static/{name}.jpg", f":img-alt: The last picture of {title}"]
    minutes = max(1, round(seconds.get(f"{name}.ipynb", 0) / 60))
    computed = f"{minutes} minute{'s' * (minutes > 1)} of computing" if f"{name}.ipynb" in seconds else ""
    copies = [f"[Colab]({COLAB}/{name}.ipynb)"]
    if (source / "student" / f"{name}.ipynb").exists():
        copies.append(f"{{download}}`student copy <student/{name}.ipynb>`")
    return "\n".join([*lines, "", computed, ":::{card-footer}", " · ".join(copies), ":::", "::::"])


def gather(source: Path) -> None:
    """The pages, pictures and copies of the site below `source`, an empty folder."""
    made, cards, names = course(), [], []
    (source / "_static").mkdir()
    shutil.copy(ROOT / "website" / "site.css", source / "_static")
    shutil.copy(ROOT / "website" / "conf.py", source)
    (source / "docs").mkdir()
    for path in (ROOT / "docs").iterdir():
        if path.suffix == ".md":
            (source / "docs" / path.name).write_text(linked(path.read_text("utf-8"), "docs"), encoding="utf-8")
        elif path.suffix == ".png":
            shutil.copy(path, source / "docs")
    (source / "notebooks").mkdir()
    seconds: dict[str, int] = json.loads((ROOT / "data" / "results" / "notebooks.json").read_bytes())
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if complaints := made.build(path, source / "course"):
            raise SystemExit("error: " + "\n".join(complaints))
        (source / "student").mkdir(exist_ok=True)
        shutil.move(source / "course" / "student" / path.name, source / "student")
        notebook: Any = nbformat.read(path, as_version=4)
        cards.append(card(path.stem, notebook, seconds, source))
        names.append(f"notebooks/{path.stem}")
        nbformat.write(shown(notebook, made), source / "notebooks" / path.name)
    shutil.rmtree(source / "course")
    index = (ROOT / "website" / "index.md").read_text("utf-8")
    for mark, lines in {
        "CARDS": cards,
        "NOTEBOOKS": names,
        "DOCS": [f"docs/{page}" for page in PAGES],
    }.items():
        index = index.replace(f"<!-- {mark} -->", "\n".join(lines))
    (source / "index.md").write_text(index, encoding="utf-8")


def build(out: Path) -> int:
    """Write the site to `out`; returns Sphinx's exit status, which a warning makes 1."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "site"
        source.mkdir()
        gather(source)
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, out]
        return subprocess.run(command, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "site")
    args = parser.parse_args()
    if not (status := build(args.out)):
        print(f"open {args.out / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
