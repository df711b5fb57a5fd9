"""What several commands take: the networks, a photo, the precision; and how a number or a path is read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guide_lib.files import typed_path

if TYPE_CHECKING:
    from guide_lib.session import Session

HOW = (
    "the way from photo to latent: optimise (in W, then in W+), encoder (one pass), refine (encoder, then W+), "
    "pivotal (in W, then tune the generator)"
)


def network_options(sub: argparse.ArgumentParser, out: str) -> None:
    """Which generator, how large, on what device, and where results go."""
    text = "a name, a file that `convert` wrote, or the student.safetensors of a run"
    sub.add_argument("--generator", type=named_or_typed, default="mobilestylegan-ffhq", help=text)
    text = "pixels: 128, 256, 512 or 1024 (default 256; EG3D: 512; heads-eg3d: 128)"
    sub.add_argument("--resolution", type=int, help=text)
    sub.add_argument("--device", help="cuda, mps or cpu (default: the best one present)")
    sub.add_argument("--out", type=typed_path, default=Path(out), help=f"folder for the results (default {out})")


def photo_options(sub: argparse.ArgumentParser) -> None:
    """Which face of a photo, and whether it is cut already."""
    sub.add_argument("--face", type=number(0), help="which face of the photo, counted from 0 at the left")
    sub.add_argument("--aligned", action="store_true", help="pictures are cut already, as the generator needs them")


def precision_option(sub: argparse.ArgumentParser) -> None:
    """In which numbers pictures are computed while something is trained."""
    text = "mixed computes pictures in bfloat16 (default where the device is faster so; preset paper: single)"
    sub.add_argument("--precision", choices=("single", "mixed"), help=text)


def worker_options(sub: argparse.ArgumentParser) -> None:
    """Who makes the rows, and which part of them."""
    who = sub.add_mutually_exclusive_group()
    who.add_argument("--workers", type=number(1), help="make so many rows at once, in processes of this machine")
    who.add_argument("--scheduler", help="address or file of a Dask scheduler whose workers make the rows")
    text = "of job arrays: I of N runs; the same command without it puts their rows together"
    sub.add_argument("--shard", type=part, metavar="I/N", help=text)


def part(text: str) -> tuple[int, int]:
    """Read "2/8", the second of eight parts."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"a part like 2/8, from 1/8 to 8/8, not '{text}'")
    return int(number), int(count)


def opened(args: argparse.Namespace, folder: Path | None = None, **options: Any) -> Session:
    """The session with the networks that the command line names."""
    from guide_lib.session import Session

    return Session.open(args.generator, args.resolution, args.device, folder, **options)


def given(args: argparse.Namespace, *names: str) -> dict[str, object]:
    """The options that were given on the command line; the others keep their preset."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def precision(args: argparse.Namespace) -> dict[str, bool]:
    """The precision that was asked for; else it is the preset's."""
    return {"mixed_precision": args.precision == "mixed"} if args.precision else {}


def number(least: int, most: int = 2**32 - 1) -> Callable[[str], int]:
    """What reads a whole number from `least` to `most` from the command line."""

    def read(text: str) -> int:
        if not text.strip().lstrip("-").isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"a whole number from {least} to {most}, not '{text}'")
        return int(text)

    return read


def named_or_typed(text: str) -> str:
    """The name of a generator, or its file."""
    return str(typed_path(text))
