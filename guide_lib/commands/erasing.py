"""Erase a person: `guide unlearn`."""

from __future__ import annotations

import argparse
from functools import partial

from guide_lib.commands.options import (
    HOW,
    given,
    network_options,
    number,
    opened,
    photo_options,
    precision,
    precision_option,
)
from guide_lib.files import typed_path


def unlearn(args: argparse.Namespace) -> None:
    """Unlearn one face end to end and write a folder with the picture, the numbers and the weights."""
    from guide_lib.experiment import portrait, run_folder
    from guide_lib.perception.photos import load_face
    from guide_lib.runtime import pick_device
    from guide_lib.unlearning import UnlearningSettings

    device = pick_device(args.device)
    chosen = given(args, "steps", "learning_rate", "seed") | precision(args)
    presets = {
        "styles": partial(UnlearningSettings.styles, device),
        "fast": partial(UnlearningSettings.fast, device),
        "paper": UnlearningSettings.paper,
    }
    settings = presets[args.preset](**chosen)
    photo = None if args.person is not None else args.photo or portrait()
    how = {"face": args.face, "aligned": args.aligned}
    _ = photo and load_face(photo, **how)  # before the networks, which take longer: it may be the wrong one
    with run_folder(args.out) as folder:
        named = {key: getattr(args, key) for key in ("embedder", "judge", "quirks")}
        session = opened(args, folder, compiled=args.compile, **named)
        person = session.choose(photo=photo, seed=args.person, inversion=args.inversion, **how)
        if cosines := person.facts.get("inversion"):
            print("inversion, judge cosine to the photo: " + ", ".join(f"{k} {v:.2f}" for k, v in cosines.items()))
        report = session.run(settings)
    print(f"erased person: identity cosine {report.id:.2f} (1 = the same person, 0 = a stranger)")
    print(f"{report.others} other people: {report.retention:.2f} on average, lowest {report.retention_min:.2f}")
    print(f"look at {args.out / 'before_after.png'}")


def unlearn_options(sub: argparse.ArgumentParser) -> None:
    """What `unlearn` takes."""
    who = sub.add_mutually_exclusive_group()
    who.add_argument("--photo", type=typed_path, help="the person to erase (default: the bundled portrait)")
    who.add_argument("--person", type=number(0), metavar="SEED", help="erase the person that this seed draws instead")
    photo_options(sub)
    sub.add_argument("--inversion", choices=("optimise", "refine", "encoder"), default="optimise", help=HOW)
    sub.add_argument("--preset", choices=("styles", "fast", "paper"), default="styles")
    sub.add_argument("--steps", type=number(1), help="instead of the preset's")
    sub.add_argument("--learning-rate", type=float, help="instead of the preset's")
    sub.add_argument("--seed", type=number(0), help="seed of the random draws of the run (default 0)")
    sub.add_argument("--quirks", action="store_true", help="EG3D: with the accidents of the authors' script")
    sub.add_argument("--compile", action="store_true", help="translate the generator by torch.compile first (CUDA)")
    sub.add_argument("--embedder", choices=("sface", "arcface"), default="sface", help="the recogniser in the loss")
    sub.add_argument("--judge", choices=("dlib", "facenet"), default="dlib", help="the recogniser that measures")
    precision_option(sub)
    network_options(sub, "runs/demo")
