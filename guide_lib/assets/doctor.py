"""A look at this machine: python -m guide_lib doctor."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from guide_lib.assets.official import OFFICIAL, converted_path
from guide_lib.assets.registry import ASSETS, cache_dir, is_cached
from guide_lib.runtime import device_memory, devices_present, keep_freed_memory, pick_device, trouble_with

PACKAGES = ("torch", "torchvision", "facenet-pytorch", "lpips", "numpy", "Pillow", "ipywidgets", "safetensors")


def diagnose() -> Iterator[str]:
    """One line for each thing a run depends on."""
    yield f"Python {platform.python_version()} on {platform.platform(terse=True)}, {os.cpu_count()} cores"
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is missing: run `make demo` once, or pip install -e .[all]"
    yield from devices()
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


def devices() -> Iterator[str]:
    """A line for each GPU: what it is, and whether it works; where there is none, why PyTorch sees none."""
    for kind in ("cuda", "mps") if sys.platform == "darwin" or "mps" in devices_present() else ("cuda",):
        if kind not in devices_present():
            yield f"{kind}: none ({trouble_with(torch.device(kind))})"
            continue
        for index in range(torch.cuda.device_count() if kind == "cuda" else 1):
            device = torch.device(kind, index)
            trouble = trouble_with(device)
            yield f"{device}: {card(device)}: {'does not work: ' + trouble if trouble else 'works'}"


def card(device: torch.device) -> str:
    """Name, capability, memory and driver of a GPU."""
    memory = f"{device_memory(device) / 1e9:.0f} GB"
    if device.type == "mps":
        return f"Apple's GPU, {memory}"
    name, (major, minor) = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    return f"{name}, capability {major}.{minor}, {memory}, driver {driver()}"


def driver() -> str:
    """The version of NVIDIA's driver, as its own tool says it."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        lines = []
    return lines[0].strip() if lines else "unknown"
