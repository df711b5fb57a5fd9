"""The CC0 mesh, its targets, hair and paints, as they ship (see `data/heads-cc0.NOTICE.md`).

Lengths are decimetres in the mesh's own frame: x to the head's left, y up, z toward the viewer.
"""

from __future__ import annotations

import functools
import io
import json
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from guide_lib.assets import shipped

FILE = "heads-cc0.safetensors"
# How lengths and shares are stored: as whole numbers of these.
UNIT = {"base": 1 / 2000, "uv": 1 / 60000, "weights": 1 / 4096, "offsets": 1e-4, "targets": 1e-3, "occlusion": 1 / 255}
SIDES = ("", "Left", "Right")


@dataclass(frozen=True)
class Surface:
    """Triangles with a place in a texture. faces, uv_faces: [F, 3] indices. uv: [U, 2] in [0, 1]."""

    faces: Tensor
    uv: Tensor
    uv_faces: Tensor


@dataclass(frozen=True)
class Fitted(Surface):
    """A surface that follows the mesh: hair, a brow, lashes, eyes.

    Vertex i lies at the weighted mean of three of the mesh's, plus an offset that grows with the head.
    anchors: [P, 3] indices; weights: [P, 3]; offsets: [P, 3] dm; rulers: [3, 3], for each axis two vertices of the mesh
    and their usual distance in dm.
    """

    anchors: Tensor
    weights: Tensor
    offsets: Tensor
    rulers: Tensor

    def fit(self, vertices: Tensor) -> Tensor:
        """The vertices [P, 3] on a mesh [V, 3]."""
        scale = torch.ones(3)
        for axis, (a, b, usual) in enumerate(self.rulers.tolist()):
            if usual > 0:
                scale[axis] = abs(vertices[int(a), axis] - vertices[int(b), axis]) / usual
        return (vertices[self.anchors] * self.weights[..., None]).sum(1) + self.offsets * scale


@dataclass(frozen=True, eq=False)  # known by being itself, so that what is computed of it can be kept
class Pack:
    """Everything heads are made of.

    base: [V, 3]. targets: name -> [V, 3], what is added at full strength. skin: the mesh's triangles. shirt: [G, 3],
    those of them that are dressed. fitted: name -> surface. textures: name -> [H, W, 3 or 4], sRGB and opacity in
    [0, 1]. occlusion: [V], how much of the sky a vertex sees, 0 to 1.
    """

    base: Tensor
    targets: dict[str, Tensor]
    skin: Surface
    shirt: Tensor
    fitted: dict[str, Fitted]
    textures: dict[str, Tensor]
    occlusion: Tensor

    @functools.cached_property
    def usual(self) -> Tensor:
        """The mesh of the six young ancestries' mean, [V, 3]; what is painted is painted on this one."""
        young = [t for name, t in self.targets.items() if name.startswith("macro/") and name.endswith("-young")]
        return self.base + torch.stack(young).mean(0)

    @functools.cached_property
    def mouth_shares(self) -> Tensor:
        """How much of the mouth's middle each vertex is, [V, 1], sum 1: as far as it moves when lips are pursed."""
        moved = self.targets["expr/mouthPucker"].norm(dim=1, keepdim=True)
        return moved / moved.sum()

    def landmarks(self, vertices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The middles of the left eye, the right eye and the mouth of a mesh [V, 3], [3] each."""
        eyes = self.fitted["eye_low"].fit(vertices)
        left, right = eyes[eyes[:, 0] > 0].mean(0), eyes[eyes[:, 0] < 0].mean(0)
        return left, right, (vertices * self.mouth_shares).sum(0)


@functools.lru_cache(maxsize=1)
def load_pack() -> Pack:
    """The shipped pack, read once.

    >>> pack = load_pack()
    >>> list(pack.base.shape), len(pack.targets), sorted(pack.fitted)[:2]
    ([6256, 3], 122, ['afro01', 'eye_high'])
    """
    with safe_open(shipped(FILE), "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        names = json.loads(file.metadata()["targets"])
    return Pack(
        base=stored["base"] * UNIT["base"],
        targets=_targets(names, stored, len(stored["base"])),
        skin=_surface(stored, "skin"),
        shirt=stored["shirt"].long(),
        fitted={name[:-8]: _fitted(stored, name[:-8]) for name in stored if name.endswith("/anchors")},
        textures={name[6:]: _picture(data) for name, data in stored.items() if name.startswith("image/")},
        occlusion=stored["occlusion"] * UNIT["occlusion"],
    )


def _targets(names: list[str], stored: dict[str, Tensor], vertices: int) -> dict[str, Tensor]:
    found = {}
    for name, start, end in zip(names, stored["targets/ends"][:-1], stored["targets/ends"][1:], strict=True):
        found[name] = torch.zeros(vertices, 3)
        found[name][stored["targets/vertices"][start:end].long()] = stored["targets/moves"][start:end] * UNIT["targets"]
    return found


def _surface(stored: dict[str, Tensor], name: str) -> Surface:
    return Surface(**_triangles(stored, name))


def _triangles(stored: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    faces, uv_faces = stored[f"{name}/faces"].long(), stored[f"{name}/uv_faces"].long()
    return {"faces": faces, "uv": stored[f"{name}/uv"].float() * UNIT["uv"], "uv_faces": uv_faces}


def _fitted(stored: dict[str, Tensor], name: str) -> Fitted:
    parts = {part: stored[f"{name}/{part}"] * UNIT[part] for part in ("weights", "offsets")}
    anchors, rulers = stored[f"{name}/anchors"].long(), stored[f"{name}/rulers"]
    return Fitted(**_triangles(stored, name), anchors=anchors, rulers=rulers, **parts)


def _picture(data: Tensor) -> Tensor:
    with Image.open(io.BytesIO(data.numpy().tobytes())) as image:
        return torch.from_numpy(np.array(image)) / 255
