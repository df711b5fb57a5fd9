"""Fit linear readings of apparent sex and age in W: writes mobilestylegan-ffhq-attributes.safetensors and results/.

    python data/recipes/attributes.py                    # seconds; --sheet FOLDER draws the faces that were labelled

256 faces (truncation 0.8, seed 61,000) were looked at once, and LABELS says what they look like to one viewer: a first
impression of a picture of nobody, good for "a child must not replace a grown man" and for nothing else. Each label is
regressed on w; a reading is scaled to standard deviations over the generator's samples. How well readings tell faces
apart that took no part in their fit, in eight folds, is the evidence.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from guide_lib.figures.plots import image_grid
from guide_lib.generators import Generator, load_generator
from guide_lib.generators.directions import ATTRIBUTES_FILE, ridge
from guide_lib.metrics import render

SEED, TRUNCATION, FOLDS = 61_000, 0.8, 8
SAMPLES, SAMPLE_SEED = 4096, 61_001  # for the scale
# Row by row of the sheet: woman f, man m, older F, M; girl g, boy b, small child c; x: cannot say.
LABELS = (
    "mMffMxfmMfffffbm gxgmfmcffmMfMxxg mMffMffmffmFmfgm fmfffbfmfffffmFm MfxgffxMfmfmfFfm mmFfmMffMfmffmff "
    "FfmfcffFxmmgMbfx mffmgffMgxmffbFF xMffgffxmmmfbFfm MfffmmfcfmgmgfMm xbfMfffgmffFgfff fbfffbxffMFmbfmf "
    "ffmfffgfffMxfffm fbffcmffmmffmmfm xffmfmxmfxmmmfMm xMfmxmffxbffFcff"
).replace(" ", "")
MALE, FEMALE, CHILD, OLD = "mMb", "fFg", "bgc", "MF"


def labels() -> dict[str, Tensor]:
    """Attribute -> [256]: 1 and -1 for apparent sex, 0 where the viewer could not say; 1 and 0 for child and old."""
    sex = torch.tensor([(label in MALE) - (label in FEMALE) for label in LABELS]).double()
    child, old = (torch.tensor([label in those for label in LABELS]).double() for those in (CHILD, OLD))
    return {"sex": sex, "child": child, "old": old}


def told_apart(scores: Tensor, label: Tensor) -> float:
    """Area under the ROC curve: how often a face with the attribute has a higher score than one without."""
    return (scores[label > 0][:, None] > scores[label <= 0][None]).double().mean().item()


def left_out(w: Tensor, label: Tensor) -> Tensor:
    """The reading of every face by a fit to the other folds, [N]."""
    scores, fold = torch.empty(len(w), dtype=torch.double), torch.arange(len(w)) % FOLDS
    for k in range(FOLDS):
        train = fold != k
        gradient = ridge(w[train], label[train, None]).gradient
        scores[~train] = ((w[~train] - w[train].mean(0)).double() @ gradient)[:, 0]
    return scores


def fit(generator: Generator, w: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Readings name -> [512], one unit a standard deviation, and how well each tells left-out faces apart."""
    samples = generator.sample(SAMPLES, torch.Generator().manual_seed(SAMPLE_SEED))[:, 0].double()
    readings, areas = {}, {}
    for name, label in labels().items():
        said = label != 0 if name == "sex" else torch.ones_like(label, dtype=torch.bool)
        gradient = ridge(w[said], label[said, None]).gradient[:, 0]
        readings[name] = (gradient / (samples @ gradient).std()).float().contiguous()
        areas[name] = told_apart(left_out(w[said], label[said]), label[said])
    return readings, areas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheet", type=Path, help="draw the faces into this folder, 128 a picture, and stop")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1], help="the data folder")
    args = parser.parse_args()
    generator = load_generator(resolution=128)
    ws = generator.sample(len(LABELS), torch.Generator().manual_seed(SEED), TRUNCATION)
    if args.sheet:
        args.sheet.mkdir(parents=True, exist_ok=True)
        for k, half in enumerate(render(generator, ws).split(128)):
            image_grid([list(row) for row in half.split(16)], tile=88).save(args.sheet / f"{k}.png")
        return
    readings, areas = fit(generator, ws[:, 0])
    report = {"faces": len(ws), "seed": SEED, "truncation": TRUNCATION, "folds": FOLDS, "told_apart": areas}
    save_file(readings, args.out / ATTRIBUTES_FILE, {"evidence": json.dumps(report)})
    (args.out / "results" / "attributes.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
