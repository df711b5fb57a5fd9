"""The site that `make site` builds of what is stored: whole, linked, readable, in a browser."""

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from project import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("myst_nb") is None, reason="the extra [site] is not installed"),
]


def recipe_of_the_site():
    spec = importlib.util.spec_from_file_location("site_build", ROOT / "website" / "build.py")
    module = sys.modules["site_build"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    assert recipe_of_the_site().build(out) == 0  # a warning of Sphinx, as of a link that leads nowhere, is a failure
    return out


class Page(HTMLParser):
    """Where a page leads, and what can be led to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.places, self.nameless = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found[key] for key in ("href", "src") if found.get(key)]
        self.places.add(found.get("id"))
        if tag == "img" and not found.get("alt"):
            self.nameless.append(found)


def test_every_notebook_has_a_page_with_its_pictures_and_a_card(site):
    index = (site / "index.html").read_text("utf-8")
    for name in NOTEBOOKS:
        text = (site / "notebooks" / f"{name}.html").read_text("utf-8")
        assert f'href="notebooks/{name}.html"' in index and f"notebooks/{name}.ipynb" in index
        assert "<img" in text and "BEGIN SOLUTION" not in text and "widget-view" not in text
        assert len(Page(text).links) > 10


def test_links_lead_somewhere_and_pictures_have_a_text(site):
    files = [path for path in site.rglob("*.html") if "_static" not in path.parts]  # where the theme has templates
    pages = {path: Page(path.read_text("utf-8")) for path in files}
    assert len(pages) > len(NOTEBOOKS) + 8
    for path, page in pages.items():
        assert not page.nameless, path
        for link in page.links:
            target, place = urldefrag(link)
            if re.match(r"[a-z]+:|//", link) or link == "#":
                continue
            there = (path.parent / unquote(target.split("?")[0])).resolve() if target else path
            assert there.exists(), (path.name, link)
            if place and there.suffix == ".html":
                assert unquote(place) in pages[there].places, (path.name, link)


def test_student_copies_have_no_answers(site):
    copies = {path.name: path for path in (site / "_downloads").rglob("*.ipynb")}
    assert copies.keys() == {f"{name}.ipynb" for name in NOTEBOOKS}
    for path in copies.values():
        cells = nbformat.read(path, as_version=4).cells
        assert not any(cell.get("outputs") or "BEGIN SOLUTION" in cell.source for cell in cells)
    assert any("NotImplementedError" in path.read_text("utf-8") for path in copies.values())


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of the folder, as a page from the disk may not fetch what it searches in."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_finds_words_and_axe_finds_nothing_serious(site, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    play = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with served(site) as address, play.sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1000}, color_scheme=scheme)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name in ("index", "notebooks/04_find_the_target", "notebooks/11_forget_without_training", "docs/results"):
            page.goto(f"{address}/{name}.html")
            page.wait_for_function(f"document.documentElement.dataset.theme == '{scheme}'")
            found = axe.Axe().run(page).response["violations"]
            assert [(x["id"], x["nodes"][0]["html"]) for x in found if x["impact"] in ("serious", "critical")] == []
        page.goto(f"{address}/search.html?q=adjacency")
        page.wait_for_selector("#search-results li a")
        assert not errors
        browser.close()
