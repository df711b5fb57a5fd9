"""Rules every notebook keeps: readable size, alternative texts, stored outputs, one set-up cell for all.

Each rule takes a notebook and yields complaints. The last tests break a notebook on purpose, once a rule.
"""

import ast
import copy
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from project import ROOT

from guide_lib.evaluation.scenarios import METHODS
from guide_lib.inversion import methods as inversion_methods

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
REPOSITORY = "https://colab.research.google.com/github/guide-unlearning/guide-tutorial/blob/main/notebooks/"
SECTIONS = [
    "What you'll do",
    "What you'll learn",
    "What you'll need",
    "Recap",
    "On your own",
    "Further reading",
]
WIDGET = "application/vnd.jupyter.widget-view+json"
SETUP = "keep_freed_memory();"  # what the set-up cell ends with
STANDALONE = "guide_in_60_lines.ipynb"  # needs nothing of ours

Rule = Callable[[NotebookNode], Iterator[str]]


def text_cells(notebook: NotebookNode) -> list[str]:
    """Markdown sources without their code blocks."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [re.sub(r"```.*?```", "", source, flags=re.DOTALL) for source in sources]


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def python_of(cell: NotebookNode) -> str:
    """The cell's Python; shell and magic lines become `pass`."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)


def pictures(cell: NotebookNode) -> list[tuple[str, NotebookNode]]:
    """(media type, output) of each picture that a code cell stored."""
    outputs = [output for output in cell.get("outputs", []) if "data" in output]
    return [(kind, output) for output in outputs for kind in output.data if kind.startswith("image/")]


def one_title(notebook: NotebookNode) -> Iterator[str]:
    titles = re.findall(r"^# .+", "\n".join(text_cells(notebook)), flags=re.MULTILINE)
    if len(titles) != 1:
        yield f"{len(titles)} titles instead of one"
    if not notebook.cells[0].source.lstrip().startswith("# "):
        yield "the first cell does not start with the title"


def all_sections(notebook: NotebookNode) -> Iterator[str]:
    headings = "\n".join(re.findall(r"^##+ .+", "\n".join(text_cells(notebook)), flags=re.MULTILINE))
    yield from (f"no section '{section}'" for section in SECTIONS if section.lower() not in headings.lower())


def alternative_texts(notebook: NotebookNode) -> Iterator[str]:
    text = "\n".join(text_cells(notebook))
    if re.search(r"!\[\s*\]\(", text) or re.search(r"<img(?![^>]*\balt=\"[^\"]+)", text):
        yield "an image in the text has no alternative text"
    for i, cell in enumerate(notebook.cells):
        said = "".join(
            output.get("data", {}).get("text/html", "") + output.get("text", "") for output in cell.get("outputs", [])
        )
        for kind, output in pictures(cell):
            alt = output.metadata.get(kind, {}).get("alt", "").strip()
            if not alt:
                yield f"the picture under cell {i} has no alternative text"
            elif alt not in unescape(said):
                yield f"the picture under cell {i} has no caption that says the same"


def readable_size(notebook: NotebookNode) -> Iterator[str]:
    if len(nbformat.writes(notebook)) > 1_000_000:
        yield "larger than 1 MB"
    if len(notebook.cells) > 40:
        yield f"{len(notebook.cells)} cells, 40 are enough"
    text = "\n".join(text_cells(notebook)).split("## Further reading")[0]  # which is looked up, not read
    if (words := len(re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL).split())) > 1300:
        yield f"{words} words, 1300 are enough"
    for cell in code_cells(notebook):
        lines, most = len(cell.source.strip().splitlines()), 12 if SETUP in cell.source else 15
        if lines > most:
            yield f"a code cell of {lines} lines, {most} are enough: {cell.source[:40]!r}"


def sound_file(notebook: NotebookNode) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "metadata.widgets is stored; GitHub then shows 'Invalid Notebook'"
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) < len(ids):
        yield "cell ids are missing or double"
        return  # validate() would repair them
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {error.message}"


def ran_from_top_to_bottom(notebook: NotebookNode) -> Iterator[str]:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts {counts}: run it from top to bottom and store it"
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    if not outputs:
        yield "no stored outputs"
    if any(output.output_type == "error" for output in outputs):
        yield "an error is stored"
    for cell in code_cells(notebook):
        if "NBVAL_CHECK_OUTPUT" in cell.source and not cell.outputs:
            yield "a cell asks nbval to compare an output that is not stored"


def claims_are_asserted(notebook: NotebookNode) -> Iterator[str]:
    nodes = (node for cell in code_cells(notebook) for node in ast.walk(ast.parse(python_of(cell))))
    asserts = sum(isinstance(node, ast.Assert) for node in nodes)
    if asserts < 3:
        yield f"{asserts} asserts, at least 3 are due"


def simple_widgets(notebook: NotebookNode) -> Iterator[str]:
    code = code_cells(notebook)
    for name in ("interact", "clear_output", "Output", "display_html"):
        if any(re.search(rf"\b{name}\(", cell.source) for cell in code):
            yield f"{name}() is used; see guide_lib.widgets"
    for cell, following in zip(code, [*code[1:], None], strict=True):
        if any(WIDGET in output.get("data", {}) for output in cell.outputs) and not (following and pictures(following)):
            yield f"no picture after the widget of {cell.source[:40]!r}"


def portable(notebook: NotebookNode) -> Iterator[str]:
    stored = [str(output) for cell in code_cells(notebook) for output in cell.outputs]
    for text in [cell.source for cell in notebook.cells] + stored:
        for place in re.findall(r"(?<![\w./:])/(?:home|root|tmp|work|Users|usr)/\S*", text):
            yield f"the path of one machine: {place[:60]}"


def sources_are_named(notebook: NotebookNode) -> Iterator[str]:
    reading = "\n".join(text_cells(notebook)).split("Further reading", 1)[-1]
    for entry in re.findall(r"^- .+", reading, flags=re.MULTILINE):
        if not re.search(r"doi:10\.\d{4,}/|arXiv:\d{4}\.\d{4,5}", entry):
            yield f"no DOI and no arXiv number: {entry[:60]}"


def exercises_state_their_effort(notebook: NotebookNode) -> Iterator[str]:
    for exercise in re.findall(r"^\*\*Exercise.*", "\n".join(text_cells(notebook)), flags=re.MULTILINE):
        if not re.match(r"\*\*Exercise \d+\*\* [●○]{3} \(\d+ minutes", exercise):
            yield f"no difficulty (●●○) and minutes: {exercise[:60]}"


RULES: list[Rule] = [
    one_title,
    all_sections,
    alternative_texts,
    readable_size,
    sound_file,
    ran_from_top_to_bottom,
    claims_are_asserted,
    simple_widgets,
    portable,
    sources_are_named,
    exercises_state_their_effort,
]


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def setup_cells(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in code_cells(notebook) if SETUP in cell.source]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(path: Path, rule: Rule) -> None:
    assert list(rule(read(path))) == []


def test_badge_opens_this_notebook(path: Path) -> None:
    assert f"]({REPOSITORY}{path.name})" in read(path).cells[0].source


def test_every_method_that_a_notebook_names_exists(path: Path) -> None:
    """Names are data, so that only a run of the notebook would notice one that is no more."""
    code = "\n".join(cell.source for cell in code_cells(read(path)))
    named = re.findall(r'(?:\bforget\(|METHODS\[)"([^"]+)"', code)
    for listed in re.findall(r"for name in \(([^()]*)\):\n.*METHODS\[name\]", code):
        named += ast.literal_eval(f"[{listed}]")
    assert {*named} <= {*METHODS, *inversion_methods.METHODS}


def test_setup_cell_is_the_same_everywhere() -> None:
    cells = [setup_cells(read(path)) for path in NOTEBOOKS if path.name != STANDALONE]
    assert all(len(found) == 1 for found in cells)
    assert len({found[0] for found in cells}) == 1


@pytest.mark.parametrize("colab", [False, True])
def test_a_kernel_without_the_library_says_so_in_one_sentence(colab: bool) -> None:
    """Before, the set-up cell tried to install into whatever kernel it was; now only into Colab's.

    Python without its site-packages is such a kernel.
    """
    there = "sys.modules['google.colab'] = sys" if colab else ""
    pretence = f"import subprocess, sys\nsubprocess.check_call = lambda asked: print(*asked)\n{there}\n"
    code = pretence + setup_cells(read(NOTEBOOKS[0]))[0]
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr == "This kernel has no guide_lib; close the notebook and open it with `make lab`.\n"
    assert bool(re.fullmatch(r"pip install -q --no-deps .*onnx==.* git\+https://\S+\n", ran.stdout)) == colab
    assert colab or ran.stdout == ""


def test_the_method_in_60_lines_has_no_more_and_stands_alone() -> None:
    """Everything up to the students that were unlearned, without blank lines, docstrings and checks."""
    code = [cell.source for cell in code_cells(read(FOLDER / STANDALONE))]
    assert not any("guide_lib" in source for source in code)
    (last,) = [i for i, source in enumerate(code) if "students = " in source]
    lines = "\n".join(code[: last + 1]).splitlines()
    counted = [line for line in lines if line.strip() and not re.match(r'\s*("""|assert |print\()', line)]
    assert 40 < len(counted) <= 60, len(counted)


def spoil_titles(notebook: NotebookNode) -> None:
    notebook.cells[1].source += "\n# Another title"


def spoil_sections(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.source = cell.source.replace("Recap", "The end")


def spoil_alternative_texts(notebook: NotebookNode) -> None:
    next(output for cell in notebook.cells for _, output in pictures(cell)).metadata = {}


def spoil_size(notebook: NotebookNode) -> None:
    code_cells(notebook)[1].source += "\nprint()" * 15


def spoil_file(notebook: NotebookNode) -> None:
    notebook.cells[1].id = notebook.cells[0].id


def spoil_run(notebook: NotebookNode) -> None:
    code_cells(notebook)[2].execution_count = None


def spoil_asserts(notebook: NotebookNode) -> None:
    for cell in code_cells(notebook):
        cell.source = cell.source.replace("assert ", "holds = ")


def spoil_widgets(notebook: NotebookNode) -> None:
    data = {WIDGET: {"model_id": "1", "version_major": 2, "version_minor": 0}}
    code_cells(notebook)[-1].outputs = [nbformat.v4.new_output("display_data", data)]


def spoil_portability(notebook: NotebookNode) -> None:
    code_cells(notebook)[0].source += "\nopen('/home/ada/photo.jpg')"


def spoil_sources(notebook: NotebookNode) -> None:
    notebook.cells[-1].source += "\n- Ada: *A book that I read*."


def spoil_exercises(notebook: NotebookNode) -> None:
    notebook.cells[1].source += "\n\n**Exercise 1** Do something."


SPOILERS = [
    spoil_titles,
    spoil_sections,
    spoil_alternative_texts,
    spoil_size,
    spoil_file,
    spoil_run,
    spoil_asserts,
    spoil_widgets,
    spoil_portability,
    spoil_sources,
    spoil_exercises,
]


@pytest.mark.parametrize(
    ("rule", "spoil"), list(zip(RULES, SPOILERS, strict=True)), ids=[rule.__name__ for rule in RULES]
)
def test_every_rule_can_fail(rule: Rule, spoil: Callable[[NotebookNode], None]) -> None:
    notebook = copy.deepcopy(read(NOTEBOOKS[0]))
    spoil(notebook)
    assert list(rule(notebook))
