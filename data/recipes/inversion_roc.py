"""Does inversion keep the person? Writes results/inversion_roc.json, on real faces.

    python data/recipes/inversion_roc.py                 # 3 pictures of each of 40 people, about ten minutes
    python data/recipes/inversion_roc.py --pictures 10 --steps 0      # all 400, the encoder alone

The ORL faces (grey, 92 x 112 px) are enlarged and aligned as FFHQ is; those in which no face is found are left out
and counted. The judge compares photos with reconstructions: of the same photo ("own"), of another photo of the same
person ("same"), of other people ("different"). Same against different makes a ROC, whose area is 0.5 for a coin and 1
for a perfect separation; the ceiling is what photos alone reach.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from guide_lib.assets import fetch
from guide_lib.errors import GuideError
from guide_lib.experiment import load_networks, run_folder
from guide_lib.inversion import InversionSettings, load_encoder
from guide_lib.inversion.methods import Method, invert_by
from guide_lib.metrics import render
from guide_lib.perception import Embedder, align
from guide_lib.perception.photos import enlarged
from guide_lib.runtime import keep_freed_memory, pick_device

SIZE, BATCH = 256, 8
POINTS = 50  # of each curve that are written


def aligned_faces(images: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """images: uint8 [people, K, 112, 92] -> the aligned ones [N, 3, 256, 256] in [-1, 1], and whose they are [N]."""
    photos, people = [], []
    for person, pictures in enumerate(tqdm(images, desc="aligning", dynamic_ncols=True)):
        for picture in pictures:
            try:
                photos.append(align(enlarged(picture), SIZE))
            except GuideError:  # no face found, or two
                continue
            people.append(person)
    return torch.cat(photos), np.array(people)


def who(judge: Embedder, images: Tensor) -> Tensor:
    """The judge's embeddings [N, E], on the CPU."""
    return torch.cat([judge.embed_faces(few)[0].cpu() for few in images.split(BATCH)])


def roc(same: np.ndarray, different: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """False and true accept rates at every threshold, from none to all accepted, and the area under the curve."""
    thresholds = np.unique(np.concatenate([same, different]))[::-1]
    rates = [1 - np.searchsorted(np.sort(x), thresholds) / len(x) for x in (different, same)]
    false, true = (np.concatenate([[0.0], rate]) for rate in rates)
    return false, true, float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))


def compare(photos: Tensor, pictures: Tensor, people: np.ndarray) -> dict[str, object]:
    """Embeddings of photos and of their reconstructions, both [N, E], row by row -> mean cosines and the ROC."""
    cosines = (photos @ pictures.T).double().numpy()
    own, person = np.eye(len(people), dtype=bool), people[:, None] == people[None]
    same, different = cosines[person & ~own], cosines[~person]
    false, true, area = roc(same, different)
    kept = np.unique(np.linspace(0, len(false) - 1, POINTS).round().astype(int))
    means = {"own": cosines[own].mean(), "same": same.mean(), "different": different.mean()}
    return {
        "auc": area,
        "true_accepts_at_1_percent": float(np.max(true[false <= 0.01])),
        "mean_cosine": {name: float(value) for name, value in means.items()},
        "pairs": {"same": len(same), "different": len(different)},
        "curve": {"false_accepts": false[kept].round(5).tolist(), "true_accepts": true[kept].round(5).tolist()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--pictures", type=int, default=3, help="of each person, of 10")
    parser.add_argument("--steps", type=int, default=20, help="of W+ after the encoder; 0: the encoder alone")
    parser.add_argument("--work", type=Path, default=Path("runs/inversion-roc"), help="where the codes are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "results")
    parser.add_argument("--device", default=None)
    args = parser.parse_args()
    keep_freed_memory()
    device = pick_device(args.device)
    networks, encoder = load_networks(resolution=SIZE, device=device), load_encoder(device)
    images = load_file(fetch("orl-faces"))["images"][: args.people, : args.pictures].numpy()
    photos, people = aligned_faces(images)
    seen = who(networks.judge, photos)
    method = Method(True, InversionSettings(steps_w=0, steps_w_plus=args.steps))
    with run_folder(args.work) as folder:
        stages = invert_by(method, networks, photos, folder, encoder)
    result = {
        "pictures": int(np.prod(images.shape[:2])),
        "aligned": len(photos),
        "people": len(set(people)),
        "steps_of_w_plus": args.steps,
        "photos": compare(seen, seen, people),
    }
    for name, stage in stages.items():
        result[name] = compare(seen, who(networks.judge, render(networks.generator, stage.ws)), people)
    args.out.mkdir(exist_ok=True)
    (args.out / "inversion_roc.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name in ("photos", *stages):
        print(f"{name:18} AUC {result[name]['auc']:.3f}  mean cosines {result[name]['mean_cosine']}")


if __name__ == "__main__":
    main()
