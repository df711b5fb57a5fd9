"""The paper's row on EG3D-FFHQ: ID, ID_others, FID_pre and dFID_real of one identity, and whether they are in range.

    python benchmarks/paper_row.py photo.jpg --others photos/same-person --real photos/ffhq

Needs, converted once by `python -m guide_lib convert`: ffhqrebalanced512-128.pkl, encoder_FFHQ.pt, model_ir_se50.pth
and 20180402-114759-vggface2.pt; and a folder of real FFHQ pictures. The ranges are the authors' figures and those of
their successors, for one identity and one seed, widened for another judge (FaceNet instead of CurricularFace).
Everything that takes long is kept in --out, so a killed run goes on. Exit status: 0 in range, 1 outside, 2 a refusal.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.experiment import Networks, bar, load_networks, run_folder
from guide_lib.files import write_json
from guide_lib.generators import Generator, as_released
from guide_lib.inversion.goae import load_goae
from guide_lib.metrics import identity_similarity, render
from guide_lib.metrics.distribution import Extractor, frechet_distance, generated_features, photo_features
from guide_lib.perception import align, load_inception, load_person, load_photo, pictures_in
from guide_lib.runtime import keep_freed_memory, pick_device
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn

RANGES = {"ID": (-0.10, 0.12), "ID_others": (0.15, 0.36), "FID_pre": (6.0, 9.0), "dFID_real": (2.3, 4.4)}
PUBLISHED = {"ID": "0.02", "ID_others": "0.23 to 0.28", "FID_pre": "7.5", "dFID_real": "3.3"}
PICTURES = 5000


def identity(networks: Networks, student: Generator, ws: Tensor) -> float:
    """Mean over latents ws [N, rows, w_dim] and GUIDE's 11 views of the judge's cosine, before against after."""
    cosines = []
    for view in networks.generator.judging_views():
        before, after = (render(network, ws, view) for network in (networks.generator, student))
        cosines.append(identity_similarity(networks.judge, before, after)[0])
    return torch.cat(cosines).mean().item()


def distances(
    networks: Networks, student: Generator, real: Tensor, inception: Extractor, folder: Path, count: int
) -> dict[str, float]:
    """FID_pre and dFID_real over `count` pairs of pictures."""
    before, after = (
        generated_features(network, count, inception, folder / f"{name}.safetensors")
        for name, network in (("before", networks.generator), ("after", student))
    )
    gained = frechet_distance(real, after) - frechet_distance(real, before)
    return {"FID_pre": frechet_distance(before, after), "dFID_real": gained}


def paper_row(
    networks: Networks,
    w_u: Tensor,
    w_others: Tensor,
    real: Tensor,
    inception: Extractor,
    folder: Path,
    settings: UnlearningSettings,
    count: int = PICTURES,
) -> dict[str, float]:
    """Unlearn w_u [1, rows, w_dim] and measure: w_others are other pictures of the person, `real` [N, D] features."""
    steps = unlearn(
        networks.generator,
        w_u,
        ufo_target(w_u, networks.generator.w_avg),
        settings,
        perceptual=networks.perceptual,
        embedder=networks.embedder,
        checkpoint=folder / "checkpoint.safetensors",
    )
    *_, last = bar(steps, settings.steps, "unlearning")
    student = last.student
    row = {"ID": identity(networks, student, w_u), "ID_others": identity(networks, student, w_others)}
    return row | distances(networks, student, real, inception, folder, count)


def table(row: dict[str, float]) -> str:
    """The row beside the published one, in Markdown."""
    lines = ["| metric | here | published | range | |", "|---|---|---|---|---|"]
    for name, value in row.items():
        low, high = RANGES[name]
        verdict = "in range" if in_range(name, value) else "OUTSIDE"
        lines.append(f"| {name} | {value:.3f} | {PUBLISHED[name]} | {low:g} to {high:g} | {verdict} |")
    return "\n".join(lines)


def in_range(name: str, value: float) -> bool:
    low, high = RANGES[name]
    return low <= value <= high


def digest(folder: Path) -> str:
    """Which pictures a folder holds, by names and sizes."""
    files = [(str(path.relative_to(folder)), path.stat().st_size) for path in pictures_in(folder).paths]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16]


def measure(args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Load what the options name, and measure."""
    device = pick_device(args.device)
    networks = load_networks("eg3d-ffhq-512", device=device, embedder="arcface", judge="facenet")
    if args.quirks:
        networks = replace(networks, generator=as_released(networks.generator))
    generator, encoder, inception = networks.generator, load_goae(device), load_inception(device)
    photo, others = align(load_photo(args.photo)), load_person(args.others).photos
    w_u, w_others = (encoder.latents(photos.to(device), generator.w_avg) for photos in (photo, others))
    real = photo_features(args.real, inception, generator.resolution, folder / f"real-{digest(args.real)}.safetensors")
    if len(real) < PICTURES:
        raise GuideError(f"{args.real} holds {len(real)} pictures; the paper's row takes {PICTURES}.")
    settings = UnlearningSettings.paper(seed=args.seed)
    return paper_row(networks, w_u, w_others, real[:PICTURES], inception, folder, settings)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path, help="the person to erase")
    parser.add_argument("--others", type=Path, required=True, help="a folder of other pictures of the same person")
    parser.add_argument("--real", type=Path, required=True, help="a folder of 5,000 FFHQ pictures, 512 px")
    parser.add_argument("--quirks", action="store_true", help="with the accidents of the authors' script")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best one present)")
    parser.add_argument("--out", type=Path, default=Path("runs/paper_row"))
    args = parser.parse_args(argv)
    keep_freed_memory()
    try:
        with run_folder(args.out) as folder:
            row = measure(args, folder)
            write_json(folder / "paper_row.json", row)
    except GuideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(row))
    return 0 if all(in_range(name, value) for name, value in row.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
