"""A person's mesh, and where it stands in the world: eyes a little above the origin, the face toward +z."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from guide_lib.heads.pack import SIDES, Pack
from guide_lib.heads.person import SHAPES, Person

SCALE = 0.222  # world units a decimetre, for a head of the usual size
UNDER_THE_EYES, BEHIND_THE_EYES = 0.05, 0.95  # where the origin is, dm
RESTING_SMILE = 0.1  # without it the mesh looks grim
MOVES = (
    *("mouthSmile", "cheekSquint", "eyeSquint", "eyeBlink"),
    *("browInnerUp", "browDown", "mouthFrown", "mouthPucker"),
)


def side_names(target: str) -> list[str]:
    """The targets that a name with a gap stands for, one for each side; one without a gap stands for itself.

    >>> side_names("ears/{}-ear-scale-incr")
    ['ears/l-ear-scale-incr', 'ears/r-ear-scale-incr']
    """
    return [target.format(side) for side in "lr"] if "{}" in target else [target]


def macro_weights(person: Person) -> dict[str, float]:
    """How much of each target of ancestry, gender, age and weight is in a person, by the target's name."""
    genders = {"female": 1 - person.gender, "male": person.gender}
    ages, found = {"young": 1 - person.age, "old": person.age}, {}
    for gender, of_gender in genders.items():
        for age, of_age in ages.items():
            for ancestry, share in zip("abc", person.ancestry, strict=True):
                found[f"macro/{ancestry}-{gender}-{age}"] = share * of_gender * of_age
            extreme = "maxweight" if person.weight > 0 else "minweight"
            found[f"macro/universal-{gender}-{age}-averagemuscle-{extreme}"] = of_gender * of_age * abs(person.weight)
    return found


def shape_weights(person: Person) -> dict[str, float]:
    """How much of each of `SHAPES` is in a person, by the target's name."""
    found = {}
    for value, (plus, minus, _) in zip(person.shape, SHAPES, strict=True):
        found |= dict.fromkeys(side_names(plus if value > 0 else minus), abs(float(value)))
    return found


def expression_weights(person: Person) -> dict[str, float]:
    """How much of each of `MOVES` is in a person's face."""
    smile = person.smile
    return {
        "mouthSmile": smile + RESTING_SMILE,
        "cheekSquint": 0.5 * smile,
        "eyeSquint": 0.15 * smile,
        "eyeBlink": person.lid,
        "browInnerUp": max(person.brows, 0.0),
        "browDown": max(-person.brows, 0.0),
    }


def moved(pack: Pack, vertices: Tensor, weights: dict[str, float]) -> Tensor:
    """Vertices [V, 3] with targets added, each at its weight."""
    return vertices + sum(weight * pack.targets[name] for name, weight in weights.items() if weight)


def mesh(pack: Pack, person: Person) -> tuple[Tensor, Tensor, float]:
    """Vertices [V, 3] in dm, the point of the mesh's frame that is the world's origin [3], and world units a dm.

    Size and place are those of the face at rest, so that an expression moves nothing else.
    """
    still = moved(pack, pack.base, macro_weights(person) | shape_weights(person))
    (left, right, mouth), (left0, right0, mouth0) = pack.landmarks(still), pack.landmarks(pack.usual)
    eyes, eyes0 = (left + right) / 2, (left0 + right0) / 2
    wide = (left - right).norm() / (left0 - right0).norm()
    high = (eyes - mouth).norm() / (eyes0 - mouth0).norm()
    origin = torch.stack([torch.tensor(0.0), eyes[1] - UNDER_THE_EYES, eyes[2] - BEHIND_THE_EYES])
    face = {
        f"expr/{move}{side}": weight
        for move, weight in expression_weights(person).items()
        for side in SIDES
        if f"expr/{move}{side}" in pack.targets
    }
    return moved(pack, still, face), origin, SCALE / (0.5 * wide + 0.5 * high).item()


def normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [V, 3], each the mean over the triangles [F, 3] around a vertex, weighted by area.

    >>> square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    >>> normals(square, torch.tensor([[0, 1, 2], [0, 2, 3]]))[0]
    tensor([0., 0., 1.])
    """
    a, b, c = vertices[faces].unbind(1)
    across = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices).index_add_(0, faces.T.flatten(), across.repeat(3, 1))
    return F.normalize(total, dim=1)
