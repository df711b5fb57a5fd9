"""The widgets in JupyterLab, in a headless Chromium: every slider moves by keyboard, picture and sentence follow.

Skipped where Chromium or Playwright is missing. GUIDE_SCREENSHOTS=folder keeps a picture of every view.
"""

import hashlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from PIL import Image
from project import ROOT
from test_widgets import loss_mixer, many_forgotten, people_grid, scrubber, threshold_slider, tile

from guide_lib import widgets

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TESTS = ROOT / "tests"
HANDLE = ".noUi-handle, .ui-slider-handle"  # of a slider in ipywidgets 8 (noUiSlider) and 7 (jQuery UI)
PRESSES = 20  # of a key on the real generator's slider, to see how long a picture takes


def coloured(*values: object, **named: object) -> Image.Image:
    """A plain tile whose colour depends on everything that is asked for."""
    return tile(tuple(hashlib.sha256(repr((values, named)).encode()).digest()[:3]))


REACH = {"yaw": 20.0, "smile": 2.0}
VIEWS = {
    "LatentExplorer": lambda: widgets.LatentExplorer(coloured),
    "LatentWalk": lambda: widgets.LatentWalk(coloured),
    "EditExplorer": lambda: widgets.EditExplorer(coloured, REACH),
    "LatentEditor": lambda: widgets.LatentEditor(coloured, REACH, rows=4),
    "LatentMixer": lambda: widgets.LatentMixer(coloured, rows=6),
    "TargetSlider": lambda: widgets.TargetSlider(coloured, person=20.0),
    "BeforeAfter": lambda: widgets.BeforeAfter(tile((255, 0, 0)), tile((0, 0, 255))),
    "ThresholdSlider": threshold_slider,
    "LossMixer": loss_mixer,
    "InversionScrubber": scrubber,
    "PeopleGrid": people_grid,
    "ManyForgotten": many_forgotten,
}
NAMES = list(VIEWS)


def browser_views() -> list[widgets.View]:
    """Every view that has sliders, drawn from plain tiles."""
    return [make() for make in VIEWS.values()]


def real_view() -> widgets.View:
    """The generator itself at 128 px."""
    from guide_lib.experiment import sample_person
    from guide_lib.generators import load_generator

    generator = load_generator("mobilestylegan-ffhq", 128)

    def draw(seed: int, truncation: float) -> torch.Tensor:
        return generator.synthesis(sample_person(generator, seed, truncation)).image[0]

    return widgets.LatentExplorer(draw)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,  # seconds from key to picture are counted
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="Playwright is not installed"),
]


def notebook() -> nbformat.NotebookNode:
    """One cell for each view, drawn from plain tiles: no network is needed."""
    folders = [str(TESTS / "widgets"), str(TESTS), str(ROOT)]
    first = f"import sys\nsys.path[:0] = {folders}\nfrom test_browser import browser_views, real_view"
    cells = [f"{first}\nviews = browser_views()", *(f"views[{i}]" for i in range(len(NAMES))), "real_view()"]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab in an empty folder that holds the notebook."""
    folder = tmp_path_factory.mktemp("lab")
    nbformat.write(notebook(), folder / "views.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--ServerApp.token=", "--ServerApp.password=", f"--port={port}"]
    options += ["--ip=127.0.0.1", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True"]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / "config")}
    log = (folder / "log").open("w")
    command = [sys.executable, "-m", "jupyter", "lab", *options]
    server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield wait_for(f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(20)


def wait_for(address: str) -> str:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api", timeout=2).close()
            return address
        except OSError:
            time.sleep(0.5)
    raise AssertionError("JupyterLab did not start within a minute")


@pytest.fixture(scope="module")
def page(address: str):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1600})
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(f"{address}/lab/tree/views.ipynb?reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=120_000)
        page.wait_for_function("window.jupyterapp?.commands.hasCommand('notebook:run-all-cells')")
        page.wait_for_timeout(3000)  # the kernel picks up the notebook
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function(
            f"document.querySelectorAll('.jp-OutputArea .widget-image').length == {len(NAMES) + 1}", timeout=90_000
        )
        yield page
        browser.close()


def view_of(page, index: int):
    cell = page.locator(".jp-CodeCell").nth(index + 1)
    cell.scroll_into_view_if_needed()
    return cell


def at_its_end(handle) -> bool:
    """Whether a slider stands at its maximum; jQuery UI shows its place, but does not say its value."""
    value = handle.get_attribute("aria-valuenow")
    if value is None:
        return "left: 100%" in handle.get_attribute("style")
    return value == handle.get_attribute("aria-valuemax")


def press(page, cell, handle) -> float:
    """Move a slider by one step with the keyboard; seconds until another picture and another sentence are there."""
    status, image = cell.locator("[role=status]"), cell.locator(".widget-image")
    before = status.inner_text(), image.get_attribute("src")
    last = at_its_end(handle)
    handle.focus()
    started = time.perf_counter()
    handle.press("ArrowLeft" if last else "ArrowRight")
    while time.perf_counter() - started < 20:
        now = status.inner_text(), image.get_attribute("src")
        if now[0] != before[0] and now[1] != before[1]:
            return time.perf_counter() - started
        page.wait_for_timeout(10)
    raise AssertionError(f"20 s after the key: {before[0]!r} -> {now[0]!r}, picture changed: {now[1] != before[1]}")


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_every_slider_moves_by_keyboard(page, index: int) -> None:
    cell = view_of(page, index)
    handles = cell.locator(HANDLE).all()
    assert handles
    for handle in handles:
        press(page, cell, handle)
    box = cell.locator(".widget-image").bounding_box()
    assert 256 <= box["width"] <= 700, "neither a stamp nor blown up to the width of the page"
    if folder := os.environ.get("GUIDE_SCREENSHOTS"):
        cell.screenshot(path=Path(folder) / f"{index:02d}-{NAMES[index]}.png")


def test_the_real_generator_answers_in_time(page) -> None:
    """On two quiet cores 95 of 100 pictures take at most a second; a busy machine gets five."""
    cell = view_of(page, len(NAMES))
    spent = sorted(press(page, cell, cell.locator(HANDLE).first) for _ in range(PRESSES))
    print(f"from key to picture: median {spent[PRESSES // 2]:.2f} s, p95 {spent[int(0.95 * PRESSES) - 1]:.2f} s")
    if folder := os.environ.get("GUIDE_SCREENSHOTS"):
        cell.screenshot(path=Path(folder) / "real.png")
    assert spent[PRESSES // 2] < 5


def test_the_browser_reported_no_error(page) -> None:
    assert page.errors == []
