"""Take from a pack of CC0 heads what this package uses: writes data/heads-cc0.safetensors.

    python data/recipes/heads_pack.py mh_heads_cc0.npz

The pack holds MakeHuman's CC0 mesh, targets, hair, brows, lashes, irises and skins, quantised, its pictures as WebP;
data/heads-cc0.NOTICE.md says where each comes from. Left out are styles of hair with a fringe over one eye, targets
that nobody sees at 128 px, and copies of what one of a kind is enough of.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from guide_lib.heads.person import BROWS, HAIR_STYLES, IRISES, SHAPES
from guide_lib.heads.shape import MOVES, side_names

TO = Path(__file__).resolve().parents[1] / "heads-cc0.safetensors"
FITTED = {"eye_low": "eye_low", "eye_high": "eye_high", "lash": "lash_eyelashes01"}
PARTS = {"anchors": "ref", "weights": "w", "offsets": "off", "rulers": "s", "faces": "f", "uv_faces": "ft", "uv": "uv"}
# The mesh's names for three ancestries, and ours.
ANCESTRIES = {"african": "a", "asian": "b", "caucasian": "c"}


def renamed(name: str) -> str:
    """A target or a skin under the neutral name of its ancestry."""
    for theirs, ours in ANCESTRIES.items():
        name = name.replace(f"/{theirs}-", f"/{ours}-").replace(f"_{theirs}_", f"_{ours}_")
    return name


def wanted(name: str) -> bool:
    """Whether a target is among those that move a person."""
    if name.startswith("macro/"):
        return name.endswith(("-young", "-old", "weight"))
    shapes = {shape for plus, minus, _ in SHAPES for target in (plus, minus) for shape in side_names(target)}
    return name in shapes or any(name in {f"expr/{move}{s}" for s in ("", "Left", "Right")} for move in MOVES)


def targets(pack: np.lib.npyio.NpzFile) -> tuple[list[str], dict[str, np.ndarray]]:
    """Names, and the tensors that hold all moves one after the other."""
    names, ends, vertices, moves = [], [0], [], []
    for name, start, end in zip(pack["t_names"], pack["t_ptr"][:-1], pack["t_ptr"][1:], strict=True):
        if wanted(str(name)):
            names.append(renamed(str(name)))
            vertices.append(pack["t_idx"][start:end])
            moves.append(pack["t_val"][start:end])
            ends.append(ends[-1] + end - start)
    parts = {"ends": np.array(ends), "vertices": np.concatenate(vertices), "moves": np.concatenate(moves)}
    return names, {f"targets/{name}": part for name, part in parts.items()}


def smaller(picture: np.ndarray, side: int) -> np.ndarray:
    """A WebP picture [bytes] with sides of at most `side` px."""
    image = Image.open(io.BytesIO(picture.tobytes()))
    if max(image.size) <= side:
        return picture
    buffer = io.BytesIO()
    image.resize((side, side), Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=90, alpha_quality=95, method=6)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--out", type=Path, default=TO)
    args = parser.parse_args(argv)
    with np.load(args.pack) as pack:
        names, stored = targets(pack)
        stored |= {"base": pack["base"], "shirt": pack["shirt_f"].astype(np.int16), "occlusion": pack["ao"]}
        body = {"faces": "body_f", "uv_faces": "body_ft", "uv": "body_uv"}
        stored |= {
            f"skin/{part}": pack[key].astype(np.uint16 if part == "uv" else np.int16) for part, key in body.items()
        }
        hair = [style for style in HAIR_STYLES if f"hair_{style}.ref" in pack]
        fitted = FITTED | {style: f"hair_{style}" for style in hair} | {brow: f"brow_{brow}" for brow in BROWS}
        for name, theirs in fitted.items():
            stored |= {f"{name}/{part}": pack[f"{theirs}.{key}"] for part, key in PARTS.items()}
            if f"img_{theirs}" in pack:
                stored[f"image/{name}"] = pack[f"img_{theirs}"]
        stored |= {f"image/{iris}": pack[f"img_eye_{iris}"] for iris in IRISES}
        skins = [key for key in pack.files if key.startswith("img_skin")]
        stored |= {f"image/{renamed(key[4:])}": pack[key] for key in skins}
    save_file(stored, args.out, metadata={"targets": json.dumps(names)})
    print(f"{args.out}: {args.out.stat().st_size} bytes, {len(names)} targets")


if __name__ == "__main__":
    main()
