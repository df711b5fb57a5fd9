"""Data flows one way through the house: a module imports only from modules to its left."""

import ast
from pathlib import Path

import pytest
from project import ROOT

PACKAGE = ROOT / "guide_lib"
# What is stated first knows nothing of what follows; a name is a package or a module of guide_lib.
ORDER = [
    *("errors", "runtime", "processes", "workers", "files", "readers", "assets", "checkpoint"),
    *("generators", "heads", "perception"),
    *("targets", "losses", "variants", "closed_form", "unlearning", "metrics", "figures"),
    *("experiment", "inversion", "attacks", "robust", "session", "evaluation", "widgets", "checks", "gpu"),
    *("commands", "__main__"),
]
AT_THE_TOP, LONGEST = 14, 300


def room(path: Path) -> str:
    """The part of the house that a file belongs to: its folder in the package, or its own name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path: Path) -> set[str]:
    """Every room that a file mentions in an import, wherever in the file."""
    tree, rooms = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "guide_lib":
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("guide_lib."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("guide_lib.")}
    return rooms


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_left(path):
    here = ORDER.index(room(path))
    late = sorted(name for name in imported_rooms(path) - {room(path)} if ORDER.index(name) > here)
    assert not late, f"{path.name} imports {', '.join(late)}, which stands to its right"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_can_be_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_every_room_has_its_place_in_the_order():
    assert sorted(set(map(room, FILES))) == sorted(ORDER)


def test_the_top_of_the_library_is_taken_in_at_a_glance():
    modules = sorted(path.name for path in PACKAGE.glob("*.py"))
    assert len(modules) <= AT_THE_TOP, modules


def test_the_order_is_printed(capsys):
    """`pytest -s tests/repository/test_architecture.py` shows it."""
    with capsys.disabled():
        print("\n" + " -> ".join(ORDER))
