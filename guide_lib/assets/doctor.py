"""A look at this machine: python -m guide_lib doctor."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from guide_lib.assets.official import OFFICIAL, converted_path
from guide_lib.assets.registry import ASSETS, cache_dir, is_cached
from guide_lib.runtime import keep_freed_memory, pick_device

PACKAGES = ("torch", "torchvision", "facenet-pytorch", "lpips", "numpy", "Pillow", "ipywidgets", "safetensors")


def diagnose() -> Iterator[str]:
    """One line for each thing a run depends on."""
    yield f"Python {platform.python_version()} on {platform.platform(terse=True)}, {os.cpu_count()} cores"
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is missing: run `make demo` once, or pip install -e .[all]"
    yield f"device: {pick_device()}; torch uses {torch.get_num_threads()} threads"
    yield f"allocator: {'keeps freed memory (glibc)' if keep_freed_memory() else 'left alone (not glibc)'}"
    folder = cache_dir()
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    yield f"cache: {folder}, {shutil.disk_usage(existing).free / 1e9:.0f} GB free"
    for name in ASSETS:
        yield f"  {name}: {'there' if is_cached(name) else 'not fetched yet (python -m guide_lib assets fetch)'}"
    for name in OFFICIAL:
        there = os.path.isfile(converted_path(name))
        yield f"  {name}: {'there' if there else 'optional, downloaded by hand (python -m guide_lib assets)'}"
