"""Methods side by side, attacks, and a page of what came out: `guide compare | evaluate | attack | report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from guide_lib.commands.options import (
    given,
    network_options,
    number,
    opened,
    precision,
    precision_option,
    worker_options,
)
from guide_lib.errors import GuideError
from guide_lib.files import typed_path


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


def compare_options(sub: argparse.ArgumentParser) -> None:
    """What `compare` takes."""
    sub.add_argument("--people", type=number(1), default=8)
    sub.add_argument("--steps", type=number(1), help="instead of the preset's")
    precision_option(sub)
    network_options(sub, "runs/compare")


def evaluate(args: argparse.Namespace) -> None:
    """Measure what was forgotten, what else changed and who can bring it back; one line a person and method."""
    from functools import partial

    from guide_lib.evaluation import chosen_methods, evaluate_people, open_bench, shard_folder, summarise, table_of
    from guide_lib.experiment import run_folder
    from guide_lib.perception import check_pictures
    from guide_lib.runtime import pick_device
    from guide_lib.unlearning import UnlearningSettings
    from guide_lib.workers import crew_of

    methods = chosen_methods([name.strip() for name in args.methods.split(",")])
    if args.real and not args.pairs:
        raise GuideError("--real compares with generated pictures; say how many with --pairs.")
    if args.pairs == 1:
        raise GuideError("FID and KID compare distributions; name at least two --pairs, or none.")
    for path in filter(None, (args.photos, args.real)):
        check_pictures(path)
    settings = UnlearningSettings.fast(pick_device(args.device), **given(args, "steps", "seed"), **precision(args))
    asked = {name: getattr(args, name) for name in ("generator", "resolution", "device", "pairs", "real", "attacks")}
    with run_folder(shard_folder(args.out, args.shard) if args.shard else args.out) as folder:
        ready = partial(open_bench, folder.absolute(), **asked)
        bench = ready()
        with crew_of(ready, args.workers, args.scheduler) as crew:
            networks, measures = bench.session.networks, bench.measures
            rows = evaluate_people(
                networks, args.scenario, methods, settings, folder, args.people, measures, args.photos, crew, args.shard
            )
    print(table_of(summarise(rows)))


def evaluate_options(sub: argparse.ArgumentParser) -> None:
    """What `evaluate` takes."""
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
    worker_options(sub)
    network_options(sub, "runs/evaluate")


def attack(args: argparse.Namespace) -> None:
    """Try to bring the person back whom `unlearn` has erased; attack-NAME.json in the folder of that run has it all."""
    from guide_lib.experiment import run_folder
    from guide_lib.files import file_stem, write_json
    from guide_lib.session import Session
    from guide_lib.session.attacking import ATTACKS, facts_of

    if args.name not in ATTACKS:
        raise GuideError(f"There is no attack '{args.name}'; choose one of: {', '.join(ATTACKS)}.")
    if not args.out.is_dir():
        raise GuideError(f"There is no folder at {args.out}; name that of the run with --out.")
    with run_folder(args.out) as folder:
        found = Session.load(folder, args.device).attack(args.name, **given(args, "attacker"))
        facts = facts_of(found)
        write_json(folder / f"attack-{file_stem(args.name)}.json", {"attack": args.name, "found": facts})
    for line in facts:
        print(", ".join(f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}"
                        for key, value in line.items() if not isinstance(value, list | dict)))  # fmt: skip


def attack_options(sub: argparse.ArgumentParser) -> None:
    """What `attack` takes."""
    sub.add_argument(
        "name", help="search, 'search beside', 'half photo', mixing, 'relearn beside' ...; another lists all"
    )
    sub.add_argument(
        "--attacker", help="of a search: own, independent, encoder, reflected, likely or half (default own)"
    )
    sub.add_argument("--device", help="cuda, mps or cpu (default: the best one present)")
    text = "the run's folder (default runs/demo)"
    sub.add_argument("--out", type=typed_path, default=Path("runs/demo"), help=text)


def report(args: argparse.Namespace) -> None:
    """Write one HTML page with the pictures, tables and curves of a folder that another command made."""
    from guide_lib.evaluation import write_report

    print(f"wrote {write_report(args.folder)}")


def report_options(sub: argparse.ArgumentParser) -> None:
    """What `report` takes."""
    sub.add_argument("folder", type=typed_path, help="the folder of a run, for example runs/evaluate")
