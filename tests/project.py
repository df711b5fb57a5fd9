"""What tests need to know about the project's own files: what ships, its pages, and the recipes as modules."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
DATA, GOLDEN, RESULTS = ROOT / "data", ROOT / "tests" / "golden", ROOT / "data" / "results"


def ships(name: str) -> bool:
    """Whether the manifest lists the file; what is listed must be there, and `shipped` says so if it is not."""
    return name in json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))["files"]


def page(name: str) -> str:
    """The text of a file, named from the root of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def sentences(name: str) -> str:
    """A page on one line, so that a sentence is found wherever its lines break."""
    return " ".join(page(name).split())


def recipe(name: str) -> ModuleType:
    """data/recipes/<name>.py, imported but not run."""
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", DATA / "recipes" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module
