"""Every public name says what it is, and the examples in the docstrings are run.

Public is a name without a leading underscore: modules, functions, classes, their methods and properties, and every
field of a dataclass or named tuple, which its class's docstring explains as `name: what it is` (or `a, b: ...`).

Exempt, since somebody else says it: methods with two underscores (the class's docstring has what they take), and
methods that override one with a docstring: `forward` of a network, whose shapes the class's docstring states, and what
an abstract method of `Generator`, `View` or another base class has promised.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

import pytest
from project import ROOT

FEWEST_EXAMPLES = 60
# One entry or several that share one: "steps, seconds: ...", also in the middle of a line.
ENTRY = re.compile(r"((?:\w+,\s)*\w+):\s")


def module_of(path: str) -> ModuleType:
    """guide_lib/metrics/identity.py -> the module."""
    return importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))


MODULES = [module_of(path.relative_to(ROOT).as_posix()) for path in sorted((ROOT / "guide_lib").rglob("*.py"))]


def public_members(owner: ModuleType | type, module: ModuleType) -> Iterator[tuple[str, object]]:
    """The public functions, classes and properties that `owner` itself defines, by their full names."""
    for name, value in vars(owner).items():
        value = inspect.unwrap(getattr(value, "__func__", value))  # of a class method; of what is decorated
        defined = inspect.isroutine(value) or inspect.isclass(value)
        here = isinstance(value, property) or defined and value.__module__ == module.__name__
        if here and not name.startswith("_"):
            yield f"{owner.__name__}.{name}", getattr(owner, name)


def public_names() -> Iterator[tuple[str, object]]:
    """Every module, and all that is public in it; classes in classes are not used here."""
    for module in MODULES:
        yield module.__name__, module
        for name, member in public_members(module, module):
            yield name, member
            if inspect.isclass(member):
                yield from ((f"{module.__name__}.{inner}", value) for inner, value in public_members(member, module))


def own_text(value: object) -> str:
    """The docstring; a class inherits none, and the signature that `dataclass` puts in its place is none."""
    if not inspect.isclass(value):
        return inspect.getdoc(value) or ""
    text = vars(value).get("__doc__") or ""
    return "" if text.startswith(f"{value.__name__}(") else text


def fields_of(kind: type) -> list[str]:
    """The public fields of a dataclass or named tuple."""
    names = (
        [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else getattr(kind, "_fields", ())
    )
    return [name for name in names if not name.startswith("_")]


def unnamed_fields(kind: type) -> set[str]:
    """Those of which neither the class nor a class that it extends says what they are."""
    text = "\n".join(inspect.cleandoc(base.__doc__ or "") for base in kind.__mro__[:-1])
    return set(fields_of(kind)) - {name for entry in ENTRY.findall(text) for name in re.split(r",\s", entry)}


def runnable_code(text: str) -> list[str]:
    """Lines of a docstring that are Python and that no example runs: an assignment, a call, a loop, a block."""
    parts = doctest.DocTestParser().parse(text)
    prose = "\n".join(part for part in parts if isinstance(part, str))
    lines = [line.partition("  #")[0].strip() for line in prose.splitlines()]
    return [line for line in lines if is_statement(line)]


def is_statement(line: str) -> bool:
    """Whether the line, or the line with a body, is a statement that does something."""
    for candidate in (line, f"{line} pass"):
        with contextlib.suppress(SyntaxError):
            (statement,) = ast.parse(candidate).body or [ast.Pass()]
            value = getattr(statement, "value", None)
            return isinstance(statement, ast.Assign | ast.For | ast.With) or isinstance(value, ast.Call | ast.Await)
    return False


@pytest.fixture(scope="module")
def public() -> list[tuple[str, object]]:
    return list(public_names())


def test_every_public_name_has_a_docstring(public):
    silent = [name for name, value in public if not own_text(value)]
    print(f"\npublic names: {len(public)}, without a docstring: {len(silent)}")
    assert not silent, f"{len(silent)} without a docstring: {', '.join(silent)}"


def test_every_field_is_explained(public):
    kinds = [(name, value) for name, value in public if inspect.isclass(value)]
    total = sum(len(fields_of(kind)) for _, kind in kinds)
    unnamed = [f"{name}.{field}" for name, kind in kinds for field in sorted(unnamed_fields(kind))]
    print(f"\nfields: {total}, not explained: {len(unnamed)}")
    assert not unnamed, f"{len(unnamed)} fields not explained: {', '.join(unnamed)}"


def test_no_docstring_shows_code_that_nobody_runs(public):
    idle = {name: lines for name, value in public if (lines := runnable_code(inspect.getdoc(value) or ""))}
    assert not idle, f"write these as examples, with >>>: {idle}"


def test_code_is_told_from_prose():
    text = (
        "Prose: w = a - b.\n\n    ws = encoder(photo)        # [N, 3]\n>>> look(ws)\nfound(1)\n\nadd(a, b)\nw = |a|\n"
    )
    assert runnable_code(text) == ["ws = encoder(photo)", "add(a, b)"]


def test_the_docstrings_show_enough_that_runs():
    finder = doctest.DocTestFinder()
    shown = [test.name for module in MODULES for test in finder.find(module, module.__name__) if test.examples]
    print(f"\ndocstrings with examples that run: {len(shown)}")
    assert len(shown) >= FEWEST_EXAMPLES, f"{len(shown)} of {FEWEST_EXAMPLES}: {', '.join(shown)}"
