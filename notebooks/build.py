"""Make the copies of the notebooks that a class works with: `make course`, or

    python notebooks/build.py [01_explore_the_latent_space.ipynb ...] [--out dist/course]

A committed notebook holds our answers between two marks, `### BEGIN SOLUTION` and `### END SOLUTION` (in a text cell
the same as HTML comments), and a check right after each, a cell that starts with `# CHECK name, 2 points`. From it come
three editions, each verified to differ from the source only where it should:

student/    an answer is a stub that raises NotImplementedError; the solution is folded away in the exercise's text
solution/   the answers without the marks
nbgrader/   source/ with the marks and release/ with stubs and without solutions, both with nbgrader's cell metadata
"""

from __future__ import annotations

import argparse
import ast
import copy
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
MARKED = re.compile(
    r"^(?P<indent>[ \t]*)(?:###|<!--) BEGIN SOLUTION(?: -->)?\n(?P<answer>.*?)"
    r"^[ \t]*(?:###|<!--) END SOLUTION(?: -->)?$",
    re.DOTALL | re.MULTILINE,
)
CHECK = re.compile(r"\A# CHECK (?P<name>\w+), (?P<points>\d+) points?$", re.MULTILINE)
WRITTEN = re.compile(r"^\*\*Written answer (?P<name>\w+)\*\* \((?P<points>\d+) points?\)", re.MULTILINE)
STUB = 'raise NotImplementedError("write this part, then run the cell again")'
EMPTY = "*Write your answer here.*"


def is_answer(cell: NotebookNode) -> bool:
    return bool(MARKED.search(cell.source))


def stubbed(cell: NotebookNode) -> str:
    """The cell's source with every marked part replaced by a stub."""
    empty = STUB if cell.cell_type == "code" else EMPTY
    return MARKED.sub(lambda found: found["indent"] + empty, cell.source)


def unmarked(cell: NotebookNode) -> str:
    """The cell's source with the answers, but without the marks."""
    return MARKED.sub(lambda found: found["answer"].rstrip("\n"), cell.source)


def folded(cell: NotebookNode) -> str:
    """The answer as a part of a text that is folded away."""
    return f"\n<details><summary>Solution</summary>\n\n```python\n{unmarked(cell)}\n```\n</details>"


def exercise_of(notebook: NotebookNode, index: int) -> int:
    """The index of the text cell that sets the exercise which code cell `index` answers."""
    texts = [i for i in range(index) if "**Exercise" in notebook.cells[i].source]
    return texts[-1]


def student(notebook: NotebookNode) -> NotebookNode:
    made = blank(notebook)
    for i, cell in enumerate(notebook.cells):
        if is_answer(cell):
            made.cells[i].source = stubbed(cell)
            if cell.cell_type == "code":
                made.cells[exercise_of(notebook, i)].source += folded(cell)
    return made


def solution(notebook: NotebookNode) -> NotebookNode:
    made = blank(notebook)
    for cell in made.cells:
        cell.source = unmarked(cell)
    return made


def nbgrader_source(notebook: NotebookNode) -> NotebookNode:
    made = blank(notebook)
    for i, cell in enumerate(made.cells):
        if roles := nbgrader_roles(made, i):
            cell.metadata["nbgrader"] = {"schema_version": 3, "task": False, **roles}
    return made


def nbgrader_release(notebook: NotebookNode) -> NotebookNode:
    made = nbgrader_source(notebook)
    for cell in made.cells:
        cell.source = stubbed(cell)
    return made


EDITIONS: dict[str, Callable[[NotebookNode], NotebookNode]] = {
    "student": student,
    "solution": solution,
    "nbgrader/source": nbgrader_source,
    "nbgrader/release": nbgrader_release,
}


def blank(notebook: NotebookNode) -> NotebookNode:
    """A copy without outputs."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return made


def nbgrader_roles(notebook: NotebookNode, index: int) -> dict[str, object]:
    """What nbgrader must know: answers are open, checks are locked and graded, texts are graded by hand."""
    cell = notebook.cells[index]
    if check := CHECK.search(cell.source):
        points = int(check["points"])
        return {"grade_id": check["name"], "grade": True, "locked": True, "solution": False, "points": points}
    if not is_answer(cell):
        return {}
    if written := WRITTEN.search(cell.source):
        points = int(written["points"])
        return {"grade_id": written["name"], "grade": True, "locked": False, "solution": True, "points": points}
    name = CHECK.search(notebook.cells[index + 1].source)["name"]
    return {"grade_id": f"{name}-answer", "grade": False, "locked": False, "solution": True}


def flaws(notebook: NotebookNode) -> Iterator[str]:
    """What is wrong with a source: an answer without hint or check, or one that later cells need; a double name."""
    names = [m["name"] for cell in notebook.cells if (m := CHECK.search(cell.source) or WRITTEN.search(cell.source))]
    yield from (f"'{name}' is graded twice" for name in set(names) if names.count(name) > 1)
    for i, cell in enumerate(notebook.cells):
        if not is_answer(cell):
            continue
        if cell.cell_type == "markdown":
            if not WRITTEN.search(cell.source):
                yield f"cell {i}: a written answer without a heading and points"
            continue
        if not any("**Exercise" in c.source for c in notebook.cells[:i]):
            yield f"cell {i}: no exercise before the answer"
        if not any("<summary>Hint" in c.source for c in notebook.cells[:i][-3:]):
            yield f"cell {i}: no hint before the answer"
        if i + 1 == len(notebook.cells) or not CHECK.search(notebook.cells[i + 1].source):
            yield f"cell {i}: no check after the answer"
        own = {node.name for node in ast.parse(unmarked(cell)).body if isinstance(node, ast.FunctionDef)}
        later = " ".join(c.source for c in notebook.cells[i + 2 :] if c.cell_type == "code")
        yield from (f"cell {i}: later cells use {name}" for name in own if re.search(rf"\b{name}\b", later))


def verify(notebook: NotebookNode, made: NotebookNode, edition: str) -> Iterator[str]:
    """Where an edition differs from its source although it should not."""
    if [cell.get("id") for cell in notebook.cells] != [cell.get("id") for cell in made.cells]:  # none before 4.5
        yield "cells were added, lost or moved"
        return
    settings = {
        exercise_of(notebook, i) for i, c in enumerate(notebook.cells) if is_answer(c) and c.cell_type == "code"
    }
    for i, (old, new) in enumerate(zip(notebook.cells, made.cells, strict=True)):
        if edition == "nbgrader/source" or not is_answer(old):
            grown = edition == "student" and i in settings and new.source.startswith(old.source + "\n<details>")
            if new.source != old.source and not grown:
                yield f"cell {i} differs"
        elif edition == "solution":
            if new.source != unmarked(old) or "SOLUTION" in new.source:
                yield f"cell {i} is not the answer without its marks"
        elif new.source != stubbed(old) or "SOLUTION" in new.source:
            yield f"cell {i} is more or less than a stub"
        if new.get("outputs"):
            yield f"cell {i} holds outputs"


def build(path: Path, out: Path) -> list[str]:
    """Write all editions of one notebook below `out`; returns what is wrong with it, nothing written then."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except OSError as error:
        return [f"{path.name}: cannot be read ({error.strerror}); check its name"]
    except Exception:  # whatever else a damaged file makes nbformat raise
        return [f"{path.name}: is no notebook; save it again in Jupyter"]
    complaints, editions = list(flaws(notebook)), {}
    for name, make in EDITIONS.items() if not complaints else ():
        editions[name] = make(notebook)
        complaints += [f"{name}: {text}" for text in verify(notebook, editions[name], name)]
    for name, made in editions.items() if not complaints else ():
        folder = out / name / path.stem if name.startswith("nbgrader") else out / name
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, folder / path.name)
    return [f"{path.name}: {text}" for text in complaints]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks of this folder (default: all)")
    parser.add_argument("--out", type=Path, default=FOLDER.parent / "dist" / "course")
    args = parser.parse_args(argv)
    paths = [FOLDER / name for name in args.names] or sorted(FOLDER.glob("*.ipynb"))
    complaints = [text for path in paths for text in build(path, args.out)]
    print("\n".join(complaints) or f"{len(paths)} notebooks, {len(EDITIONS)} editions each, in {args.out}")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
