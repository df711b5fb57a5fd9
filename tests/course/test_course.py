"""The editions made from the notebooks: stubs fail, answers pass, and nothing else changes."""

import ast
import copy
import importlib.util
import inspect
import json
import re

import nbformat
import pytest
from project import ROOT

from guide_lib.experiment import load_networks

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
DEFAULT = inspect.signature(load_networks).parameters["name"].default


def script(name):
    """notebooks/<name>.py, imported but not run."""
    spec = importlib.util.spec_from_file_location(f"notebooks_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build, store = script("build"), script("store_outputs")
ANSWER = "def double(x):\n    ### BEGIN SOLUTION\n    y = 2 * x\n    return y\n    ### END SOLUTION"


def small():
    """An exercise with its check, and a written answer."""
    texts = [
        "# A title",
        "**Exercise 1** Double it.\n\n<details><summary>Hint</summary>\n\nTwice.\n</details>",
        "**Written answer why** (4 points). Why?\n\n",
    ]
    texts[2] += "<!-- BEGIN SOLUTION -->\nBecause.\n<!-- END SOLUTION -->"
    code = [ANSWER, "# CHECK double, 2 points\nassert double(3) == 6", "print(1)"]
    first, task, written = map(nbformat.v4.new_markdown_cell, texts)
    cells = [first, task, *map(nbformat.v4.new_code_cell, code), written]
    cells[4].outputs = [nbformat.v4.new_output("stream", text="1\n")]
    return nbformat.v4.new_notebook(cells=cells)


def test_students_get_a_stub_and_a_folded_solution():
    made = build.student(small())
    assert made.cells[2].source == f"def double(x):\n    {build.STUB}"
    assert "<details>" in made.cells[1].source and "y = 2 * x" in made.cells[1].source
    assert "Because" not in made.cells[5].source and build.EMPTY in made.cells[5].source
    assert made.cells[4].outputs == []


def test_solutions_have_no_marks():
    made = build.solution(small())
    assert made.cells[2].source == "def double(x):\n    y = 2 * x\n    return y"
    assert made.cells[5].source.endswith("\nBecause.")


def test_nbgrader_knows_answers_checks_and_texts():
    source, release = build.nbgrader_source(small()), build.nbgrader_release(small())
    for made in (source, release):
        kinds = [cell.metadata.get("nbgrader", {}) for cell in made.cells]
        assert [(k.get("solution"), k.get("grade"), k.get("points")) for k in kinds] == [
            *((None, None, None),) * 2,
            (True, False, None),
            (False, True, 2),
            (None, None, None),
            (True, True, 4),
        ]
        assert kinds[2]["grade_id"] == "double-answer" and kinds[3]["locked"]
    assert source.cells[2].source == ANSWER and "y = 2 * x" not in str(release)


@pytest.mark.parametrize("edition", build.EDITIONS)
def test_the_verifier_sees_every_unwanted_change(edition):
    source = small()
    made = build.EDITIONS[edition](source)
    assert list(build.verify(source, made, edition)) == []
    for i in range(len(made.cells)):
        spoilt = copy.deepcopy(made)
        spoilt.cells[i].source = "x = 1\n" + spoilt.cells[i].source
        assert list(build.verify(source, spoilt, edition)), f"cell {i} of {edition}"
    del made.cells[0]
    assert list(build.verify(source, made, edition))


def test_flaws_of_a_source_are_found():
    assert list(build.flaws(small())) == []
    unchecked, needed, twice, unhelped, unset = (small() for _ in range(5))
    unset.cells[1].source = unset.cells[1].source.replace("**Exercise 1**", "")
    unhelped.cells[1].source = "**Exercise 1** Double it."
    unchecked.cells[3].source = "print(2)"
    needed.cells[4].source = "print(double(2))"
    twice.cells[4].source = twice.cells[3].source
    for notebook, words in (
        (unchecked, "no check"),
        (needed, "later cells use double"),
        (twice, "graded twice"),
        (unhelped, "no hint"),
        (unset, "no exercise"),
    ):
        assert any(words in text for text in build.flaws(notebook))


def test_a_flawed_notebook_is_not_written(tmp_path):
    notebook = small()
    del notebook.cells[3]
    nbformat.write(notebook, tmp_path / "bad.ipynb")
    assert build.build(tmp_path / "bad.ipynb", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # nbformat's about missing ids
@pytest.mark.parametrize("minor", [2, 4, 5])
def test_notebooks_without_cell_ids_have_editions_too(minor, tmp_path):
    """As Jupyter wrote them until 2021 (4.4), and as some tools still do. Before: AttributeError."""
    notebook = json.loads(nbformat.writes(small()))
    notebook["nbformat_minor"] = minor
    for cell in notebook["cells"]:
        del cell["id"]
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(notebook))
    assert build.build(path, tmp_path / "out") == []
    made = json.loads((tmp_path / "out" / "student" / "old.ipynb").read_text())
    assert build.STUB in "".join(made["cells"][2]["source"]) and made["nbformat_minor"] == minor


@pytest.mark.parametrize("content", [None, "", "hello", "[]", "{}", '{"nbformat": 99, "nbformat_minor": 0}', '{"a":'])
def test_what_is_no_notebook_is_said(content, tmp_path):
    path = tmp_path / "bad.ipynb"
    if content is not None:
        path.write_text(content)
    (said,) = build.build(path, tmp_path / "out")
    assert said.startswith("bad.ipynb: ") and "; " in said and "\n" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_all_editions_of_the_course_can_be_made(path, tmp_path):
    assert build.build(path, tmp_path) == []
    assert len(list(tmp_path.rglob("*.ipynb"))) == len(build.EDITIONS)
    assert "SOLUTION" not in (tmp_path / "student" / path.name).read_text(encoding="utf-8")


def imports_of(notebook):
    """Every import statement of the code cells, as source."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    trees = [ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)) for source in sources]
    return "\n".join(ast.unparse(n) for tree in trees for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom))


def graded(notebook):
    """(answers, check) of every exercise, as source; answers are what stands before the check."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(code[i - 1].source, cell.source) for i, cell in enumerate(code) if build.CHECK.search(cell.source)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stubs_fail_their_checks_and_solutions_pass_them(path):
    """Without the cells between them, which need the networks: no answer depends on those."""
    notebook = nbformat.read(path, as_version=4)
    names: dict = {}
    exec(imports_of(notebook), names)
    for answer, check in graded(build.solution(notebook)):
        exec(f"{answer}\n{check}", names)
    for answer, check in graded(build.student(notebook)):
        exec(answer, names)
        with pytest.raises(NotImplementedError):
            exec(check, names)


def test_times_in_the_readme_are_the_stored_ones():
    readme, times = store.README.read_text(encoding="utf-8"), json.loads(store.TIMES.read_text(encoding="utf-8"))
    assert store.quoted(readme, times) == readme
    for name, seconds in times.items():
        row = next(line for line in readme.splitlines() if f"(notebooks/{name})" in line)
        assert row.endswith(f"| {store.in_words(seconds)} |")
        assert seconds <= 300, "every notebook runs in five minutes"
    assert sum(times.values()) <= 25 * 60


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_states_the_stored_time(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    seconds = json.loads(store.TIMES.read_text(encoding="utf-8"))[path.name]
    assert f"compute for {store.in_words(seconds)} on two CPU cores" in first
    assert store.stated(first, seconds) == first != store.stated(first, 2 * seconds)


@pytest.mark.parametrize(("seconds", "words"), [(14.4, "14 s"), (89, "89 s"), (90, "1.5 min"), (238, "4 min")])
def test_times_are_rounded_as_one_would_say_them(seconds, words):
    assert store.in_words(seconds) == words


def test_quoting_changes_the_last_column_of_known_rows_only():
    row = "| [00 A](notebooks/a.ipynb) | text | 1 min |\n| [01 B](notebooks/b.ipynb) | text | 2 min |"
    assert store.quoted(row, {"a.ipynb": 20}) == row.replace("1 min", "20 s")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_three_notebooks_let_choose_the_generator_and_nothing_else_of_them_changes(path):
    asked, there = store.on_another(path, "heads-eg3d"), nbformat.read(path, as_version=4)
    assert (asked is not None) == path.stem.startswith(("04", "05", "06"))
    if asked is not None:
        changed = [(a.source, b.source) for a, b in zip(asked.cells, there.cells, strict=True) if a.source != b.source]
        ((now, before),) = changed
        assert f'GENERATOR = "{DEFAULT}"' in before
        assert now == before.replace(DEFAULT, "heads-eg3d", 1) and "load_networks(GENERATOR" in now
