"""Erase people, and take them back: `guide unlearn | forget-list | undo`."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

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
from guide_lib.errors import GuideError
from guide_lib.files import typed_path

if TYPE_CHECKING:
    from guide_lib.generators import Generator
    from guide_lib.session import Session
    from guide_lib.unlearning import UnlearningSettings

INVERSIONS = ("optimise", "refine", "encoder")
FIBRE = "closed form: erase pictures of the person, too, that nobody has; others change a little more"
QUICKEST = " (default: refine where an encoder ships, else optimise)"


def unlearn(args: argparse.Namespace) -> None:
    """Unlearn one face end to end and write a folder with the picture, the numbers and the weights."""
    from guide_lib.experiment import portrait, run_folder
    from guide_lib.generators.heads_eg3d import NAME, PERSON
    from guide_lib.perception.photos import load_face

    settings = _settings(args)
    if args.generator == NAME and not args.photo and args.person is None:
        args.person = PERSON
    photos = None if args.person is not None else args.photo or [portrait()]
    if args.method == "guide" and photos and len(photos) > 1:
        raise GuideError("GUIDE learns from one picture; name one --photo, or choose --method closed-form or both.")
    if args.method == "guide" and args.fibre:
        raise GuideError("--fibre is for the closed form; leave it out, or choose --method closed-form or both.")
    if args.face is not None and photos and len(photos) > 1:
        raise GuideError("--face chooses in one photo, not in several; cut the others first.")
    how = {"face": args.face, "aligned": args.aligned}
    for photo in photos or ():
        load_face(photo, **how)  # before the networks, which take longer: it may be the wrong one
    with run_folder(args.out) as folder:
        named = {key: getattr(args, key) for key in ("embedder", "judge", "quirks")}
        session = opened(args, folder, compiled=args.compile, **named)
        inversion = args.inversion or quickest(session.generator)
        person = session.choose(photo=photos, seed=args.person, inversion=inversion, **how)
        if cosines := person.facts.get("inversion"):
            print("inversion, judge cosine to the photo: " + ", ".join(f"{k} {v:.2f}" for k, v in cosines.items()))
        if args.method == "guide":
            session.target(args.target or "ufo")
        else:
            _erase_at_once(session, args.target, args.fibre)
        report = session.run(settings) if settings else session.report
    print(f"erased person: identity cosine {report.id:.2f} (1 = the same person, 0 = a stranger)")
    print(f"{report.others} other people: {report.retention:.2f} on average, lowest {report.retention_min:.2f}")
    print(f"look at {args.out / 'before_after.png'}")


def quickest(generator: Generator) -> str:
    """The inversion that takes the least time for a likeness: there is one encoder, that of MobileStyleGAN."""
    from guide_lib.generators.mobile import MobileStyleGAN

    return "refine" if isinstance(generator, MobileStyleGAN) else "optimise"


def _settings(args: argparse.Namespace) -> UnlearningSettings | None:
    """How GUIDE trains: the preset with what was given instead; None if nothing is trained."""
    from guide_lib.runtime import pick_device
    from guide_lib.unlearning import UnlearningSettings

    device = pick_device(args.device)
    if args.method == "closed-form":
        return None
    presets = {
        "finish": partial(UnlearningSettings.finish, device),
        "styles": partial(UnlearningSettings.styles, device),
        "fast": partial(UnlearningSettings.fast, device),
        "paper": UnlearningSettings.paper,
    }
    chosen = given(args, "steps", "learning_rate", "seed") | precision(args)
    return presets[args.preset or ("finish" if args.method == "both" else "styles")](**chosen)


def _erase_at_once(session: Session, target: str | None, fibre: bool) -> None:
    """In closed form; the folder is complete then, with a picture of its own beside that of a training to come."""
    session.target(target)
    _ = session.fibre_metric if fibre else session.lists[-1].metric  # got ready here, once for everybody
    started = time.perf_counter()
    session.erase_at_once(fibre=fibre)
    seconds = time.perf_counter() - started
    session.save()
    shutil.copyfile(session.folder / "before_after.png", session.folder / "at_once.png")
    print(f"closed form: erased in {seconds:.2f} s, identity cosine {session.report.id:.2f}, others "
          f"{session.report.retention:.2f}; look at {session.folder / 'at_once.png'}")  # fmt: skip


def unlearn_options(sub: argparse.ArgumentParser) -> None:
    """What `unlearn` takes."""
    who = sub.add_mutually_exclusive_group()
    text = "the person to erase (default: the bundled portrait; of heads-eg3d: somebody whom it draws); again for each "
    who.add_argument("--photo", type=typed_path, action="append", help=text + "other photo of the same person")
    who.add_argument("--person", type=number(0), metavar="SEED", help="erase the person that this seed draws instead")
    photo_options(sub)
    text = "closed form (milliseconds), the training of the paper, or the one and a short training from there (default)"
    sub.add_argument("--method", choices=("closed-form", "guide", "both"), default="both", help=text)
    sub.add_argument("--fibre", action="store_true", help=FIBRE)
    text = "who is drawn instead (default: ufo with --method guide, else midway, or natural for --person)"
    sub.add_argument("--target", choices=("ufo", "natural", "midway", "average"), help=text)
    sub.add_argument("--inversion", choices=INVERSIONS, help=HOW + QUICKEST)
    text = "of the training (default: finish after the closed form, styles without)"
    sub.add_argument("--preset", choices=("finish", "styles", "fast", "paper"), help=text)
    sub.add_argument("--steps", type=number(1), help="instead of the preset's")
    sub.add_argument("--learning-rate", type=float, help="instead of the preset's")
    sub.add_argument("--seed", type=number(0), help="seed of the random draws of the run (default 0)")
    sub.add_argument("--quirks", action="store_true", help="EG3D: with the accidents of the authors' script")
    sub.add_argument("--compile", action="store_true", help="translate the generator by torch.compile first (CUDA)")
    sub.add_argument("--embedder", choices=("sface", "arcface"), default="sface", help="the recogniser in the loss")
    sub.add_argument("--judge", choices=("dlib", "facenet"), default="dlib", help="the recogniser that measures")
    precision_option(sub)
    network_options(sub, "runs/demo")


def forget_list(args: argparse.Namespace) -> None:
    """Erase everybody in a folder at once: each photo in it is a person, each folder in it one of several photos."""
    from guide_lib.experiment import run_folder
    from guide_lib.perception.albums import check_pictures
    from guide_lib.session.photographed import photographed_people

    check_pictures(args.folder)
    with run_folder(args.out) as folder:
        session = opened(args, folder)
        inversion = args.inversion or quickest(session.generator)
        for person in photographed_people(session.networks, args.folder, folder, inversion=inversion):
            session.take(person)
            session.erase_at_once(fibre=args.fibre)
            print(f"erased {person.name}", file=sys.stderr)
        session.save()
        found, picture = session.people()
        picture.save(folder / "people.png")
    for name, cosine in found.items():
        print(f"{name:24} identity cosine {cosine:.2f}")
    print(_summary(session, args.out))


def forget_list_options(sub: argparse.ArgumentParser) -> None:
    """What `forget-list` takes."""
    sub.add_argument("folder", type=typed_path, help="with the photos of everybody who is to be forgotten")
    sub.add_argument("--inversion", choices=INVERSIONS, help=HOW + QUICKEST)
    sub.add_argument("--fibre", action="store_true", help=FIBRE)
    network_options(sub, "runs/forgotten")


def undo(args: argparse.Namespace) -> None:
    """Take somebody back whom `forget-list` or `unlearn --method closed-form` has erased, whoever came later."""
    from guide_lib.experiment import run_folder
    from guide_lib.session import Session

    if not args.out.is_dir():
        raise GuideError(f"There is no folder at {args.out}; name that of the run with --out.")
    with run_folder(args.out):
        session = Session.load(args.out, args.device)
        session.undo(args.name)
        session.save()
    print(_summary(session, args.out))


def undo_options(sub: argparse.ArgumentParser) -> None:
    """What `undo` takes."""
    sub.add_argument("name", help="the name of the photo or folder, without its ending; a seed")
    sub.add_argument("--device", help="cuda, mps or cpu (default: the best one present)")
    text = "the run's folder (default runs/forgotten)"
    sub.add_argument("--out", type=typed_path, default=Path("runs/forgotten"), help=text)


def _summary(session: Session, out: Path) -> str:
    """Who is forgotten, how the others are, and where the student is."""
    report, names = session.report, ", ".join(session.lists[-1]) or "nobody"
    return (
        f"forgotten: {names}\n{report.others} other people: {report.retention:.2f} on average, lowest "
        f"{report.retention_min:.2f}\nthe generator: {out / 'student.safetensors'}"
    )
