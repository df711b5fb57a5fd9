"""From a photo to its latents: `guide invert`."""

from __future__ import annotations

import argparse
import sys

from guide_lib.commands.options import HOW, network_options, number, opened, photo_options
from guide_lib.files import typed_path


def invert(args: argparse.Namespace) -> None:
    """Find the latents of a photo, or of a folder of photos of one person; write latents, picture and numbers."""
    from guide_lib.experiment import run_folder
    from guide_lib.generators.alignment import FFHQ
    from guide_lib.inversion.methods import with_steps
    from guide_lib.inversion.report import invert_person
    from guide_lib.perception.albums import photos_of

    how = {"face": args.face, "aligned": args.aligned}
    person = photos_of(args.photo, **how)
    for reason in person.skipped.values():
        print(f"skipped: {reason}", file=sys.stderr)
    with run_folder(args.out) as folder:
        method = args.method if args.steps is None else with_steps(args.method, args.steps)
        networks = opened(args).networks
        if networks.generator.alignment is not FFHQ:
            person = photos_of(args.photo, alignment=networks.generator.alignment, **how)
        summary = invert_person(method, networks, person.names, person.photos, folder, {"skipped": person.skipped})
    for stage, values in summary.items():
        print(f"{stage:7}  judge cosine {values['judge']:.2f}, LPIPS {values['lpips']:.2f}, {values['seconds']:.0f} s")
    print(f"look at {args.out / 'inversion.png'}")


def invert_options(sub: argparse.ArgumentParser) -> None:
    """What `invert` takes."""
    sub.add_argument("photo", type=typed_path, metavar="PHOTO_OR_FOLDER")
    sub.add_argument("--method", choices=("optimise", "refine", "encoder", "pivotal"), default="optimise", help=HOW)
    sub.add_argument("--steps", type=number(0), help="in W+, instead of the method's")
    photo_options(sub)
    network_options(sub, "runs/inversion")
