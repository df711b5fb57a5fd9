"""Data flows one way through the house: a module imports only from modules to its left."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "guide_lib"
ORDER = [
    *("errors", "runtime", "files", "readers", "downloads", "assets", "official", "generators", "perception"),
    *("encoder", "goae", "inversion", "pivotal", "directions", "targets", "losses", "checkpoint", "variants"),
    *("unlearning", "metrics", "layout", "distribution", "intervals", "forgetting", "attacks", "charts", "plots"),
    *("widgets", "experiment"),
    *("inversion_methods", "inversion_report", "results", "scenarios", "comparison", "report", "checks"),
    *("doctor", "__main__"),
]


def room(path: Path) -> str:
    """The part of the house that a file belongs to: its folder in the package, or its own name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported_rooms(path: Path) -> set[str]:
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
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
