"""What could go wrong in a solution, one place at a time: python tests/mutants.py checks

A fault replaces an operator, a constant, a function or a keyword in our answer to an exercise, or drops a call; the
exercise's check must then not say "Right.". A fault that leaves the answer as right as it was stands in `HARMLESS`.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib.util
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
SWAPPED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.GtE: ast.Gt,
    ast.Gt: ast.GtE,
    ast.USub: ast.UAdd,
}
RENAMED = {"min": "max", "max": "min", "mean": "sum", "sum": "mean", "norm": "sum", "std": "var", "square": "abs"}
HARMLESS = {
    "(same >= threshold).float().mean().item() becomes (same >= threshold).float().mean() in rates",
    "(different >= threshold).float().mean().item() becomes (different >= threshold).float().mean() in rates",
    # there is one pair
    "distance(student(w_u), teacher(w_t)).sum() becomes distance(student(w_u), teacher(w_t)).mean() in losses",
    "distance(student(w_u), teacher(w_t)).sum() becomes distance(student(w_u), teacher(w_t)) in losses",
    # of one shape
    "w_u becomes w_avg of w_u.shape in person_distance",
    "w_u becomes w_avg of w_u.shape in target",
    "w_u becomes w_avg of w_u.shape in partial_target",
    "w_u becomes neighbours of w_u.shape in offsets",
    "x becomes y of x.shape in kernel_distance",
    # what is added to `measured` is the same everywhere, and what it is multiplied by sums to 0
    "measured - measured.mean() becomes measured + measured.mean() in gain",
    "measured - measured.mean() becomes measured in gain",
    "measured.mean() becomes measured.sum() in gain",
    "measured becomes asked of measured.mean in gain",
    # Adam moves alike whatever the loss is multiplied by
    "loss_of(codes).sum() becomes loss_of(codes).mean() of loss_of(codes).sum().backward in search",
    "30.0 becomes 31.0 in partial_target",  # what d is where it is not given
}


@dataclass(frozen=True)
class Fault:
    """check: the exercise. name: what was done, and in which. source: the spoilt answer and its check."""

    check: str
    name: str
    source: str


def _build():
    """notebooks/build.py."""
    spec = importlib.util.spec_from_file_location("notebooks_build", FOLDER / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _variants(node: ast.AST, names: list[str]) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in the place of a node, each with a word on it; a variable of `names` becomes the next one."""
    if isinstance(node, ast.BinOp | ast.UnaryOp) and type(node.op) in SWAPPED:
        changed = copy.deepcopy(node)
        changed.op = SWAPPED[type(node.op)]()
        yield f"{ast.unparse(node)} becomes {ast.unparse(changed)}", changed
        if isinstance(node, ast.BinOp):
            yield f"{ast.unparse(node)} becomes {ast.unparse(node.left)}", node.left
            yield f"{ast.unparse(node)} becomes {ast.unparse(node.right)}", node.right
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
        for operator in (SWAPPED[type(node.ops[0])](), ast.Lt()):
            changed = copy.deepcopy(node)
            changed.ops = [operator]
            yield f"{ast.unparse(node)} becomes {ast.unparse(changed)}", changed
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        yield f"{node.value} becomes {node.value + 1}", ast.Constant(node.value + 1)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in RENAMED:
            changed = copy.deepcopy(node)
            changed.func.attr = RENAMED[node.func.attr]
            yield f"{ast.unparse(node)} becomes {ast.unparse(changed)}", changed
        if not isinstance(node.func.value, ast.Name) or node.func.value.id not in ("torch", "math"):
            yield f"{ast.unparse(node)} becomes {ast.unparse(node.func.value)}", node.func.value
        for keyword in node.keywords:
            changed = copy.deepcopy(node)
            changed.keywords = [k for k in changed.keywords if k.arg != keyword.arg]
            yield f"{ast.unparse(node)} loses {keyword.arg}", changed
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield f"{ast.unparse(node)} is dropped", ast.Pass()
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and len(names) > 1 and node.id in names:
        other = names[(names.index(node.id) + 1) % len(names)]
        yield f"{node.id} becomes {other}", ast.Name(other, ast.Load())


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Where a node hangs: its parent, the field, and its index if the field is a list."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                yield parent, field, None
            elif isinstance(value, list):
                yield from ((parent, field, i) for i, child in enumerate(value) if isinstance(child, ast.AST))


def _spoilt(source: str) -> Iterator[tuple[str, str]]:
    """An answer with one thing changed, as (what was changed, source)."""
    tree = ast.parse(source)
    nodes = [*ast.walk(tree)]
    names = [n.arg for n in nodes if isinstance(n, ast.arg)]
    names += [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    names = list(dict.fromkeys(names))
    for number, (parent, field, index) in enumerate(_places(tree)):
        child = getattr(parent, field)
        for name, other in _variants(child if index is None else child[index], names):
            changed = copy.deepcopy(tree)
            parent_there, *_ = [*_places(changed)][number]
            if index is None:
                setattr(parent_there, field, other)
            else:
                getattr(parent_there, field)[index] = other
            where = f" of {ast.unparse(parent)}" if isinstance(parent, ast.Attribute) else ""
            yield f"{name}{where}", ast.unparse(ast.fix_missing_locations(changed))


def solutions() -> Iterator[tuple[str, str, str, str]]:
    """(exercise, imports of its notebook, our answer, the cell that checks it)."""
    build = _build()
    for path in sorted(FOLDER.glob("*.ipynb")):
        code = [
            cell.source for cell in build.solution(nbformat.read(path, as_version=4)).cells if cell.cell_type == "code"
        ]
        trees = [ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)) for source in code]
        imports = "\n".join(
            ast.unparse(node) for tree in trees for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
        )
        for answer, check in zip(code, code[1:], strict=False):
            if found := build.CHECK.search(check):
                yield found["name"], imports, answer, check


def faults() -> list[Fault]:
    """Every fault of every solution, those that do no harm among them."""
    return [
        Fault(check, f"{name} in {check}", f"{imports}\n{source}\n{cell}")
        for check, imports, answer, cell in solutions()
        for name, source in _spoilt(answer)
    ]


def is_seen(fault: Fault) -> bool:
    """Whether the check refuses the answer, or Python already does."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the verdict
            exec(fault.source, {})
    except Exception:  # an AssertionError of the check, or whatever the spoilt answer raises
        return True
    return False
