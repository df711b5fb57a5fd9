"""Saved students: the weights that unlearning has changed, and which generator they belong to.

`load_generator("runs/demo/student.safetensors")` draws as the student drew, and can be unlearned again. The file holds
what can be trained and the style layers, and nothing else; the rest comes from the generator that is named in it. Of a
student of a student that is the first generator, for the last weights replace all earlier ones.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from guide_lib.checkpoint import load_tensors, save_tensors
from guide_lib.errors import GuideError
from guide_lib.files import plainly_named, shown
from guide_lib.generators.adapters import add_adapters
from guide_lib.generators.base import Generator
from guide_lib.generators.load import LOADERS, load_generator
from guide_lib.generators.mobile import BLOCKS_FOR, MobileStyleGAN

_NAME, _RESOLUTION, _REST = "student_of", "resolution", "rest"  # in the metadata of a student
_ADAPTER = re.compile(r"\.adapters\.(\d+)\.")
_PARTS = "synthesis_network.", "backbone.synthesis."  # what MobileStyleGAN trains; what the others do


class Origin(NamedTuple):
    """What a student was before. Older files lack all but the name, which stands in the metrics of their run.

    name: of the generator, or None. resolution: in pixels. rest: a digest of the tensors that the file does not hold.
    """

    name: str | None
    resolution: int | None = None
    rest: str | None = None


def save_student(path: Path, student: Generator, name: str | None = None) -> None:
    """Write what was, or may have been, changed. name: of the generator that it was, as `load_generator` takes it.

    Raises:
        GuideError: the file cannot be written.

    >>> save_student(tmp_path / "student.safetensors", student, "mobilestylegan-ffhq")
    >>> origin_of(tmp_path / "student.safetensors")[:2], is_student(tmp_path / "student.safetensors")
    (('mobilestylegan-ffhq', 16), True)
    """
    changed = changeable(student)
    facts = {_RESOLUTION: str(student.resolution), _REST: _rest_digest(student, changed)}
    if name is not None:
        facts[_NAME] = shown(_first(name))
    save_tensors(path, changed, facts)


def load_student(path: Path, resolution: int | None = None, device: str | torch.device | None = None) -> Generator:
    """The generator that was saved as a student, frozen and in evaluation mode, on `device` (the CPU by default).

    Raises:
        GuideError: the file is damaged; its generator is unknown, not to be had, or not the one it was; it draws at
            another `resolution` in pixels.
    """
    weights, origin = load_tensors(path)[0], origin_of(path)
    if None not in (resolution, origin.resolution) and resolution != origin.resolution:
        raise GuideError(f"{path} was made at {origin.resolution} px, not at {resolution}; leave the resolution out.")
    size, named = resolution or origin.resolution, origin.name or "any generator on this machine"
    found = [g for g in _candidates(path, origin.name, size, device) if _belongs(weights, g)]
    if not found:
        raise GuideError(f"The weights in {path} are not of {named}; name the student.safetensors of another run.")
    if len(sizes := sorted({generator.resolution for generator in found})) > 1:
        raise GuideError(f"{path} does not say its resolution; add --resolution {' or '.join(map(str, sizes))}.")
    right = [generator for generator in found if origin.rest in (None, _rest_digest(generator, weights))]
    if not right:
        raise GuideError(f"{path} was made from another file than {named} is now; put the earlier one back.")
    return dressed(right[0], weights)


def dressed(generator: Generator, weights: Mapping[str, Tensor]) -> Generator:
    """Put a student's weights into its generator, which is changed, or into an earlier student; adapters are added.

    Raises:
        GuideError: they are another generator's.

    >>> twin = dressed(generator, student.trainable_parameters())
    >>> torch.equal(twin.picture(w_u), student.picture(w_u))
    True
    """
    for _ in range(_adapters(weights) - _adapters(generator.trainable_parameters())):
        add_adapters(generator, torch.Generator())
    if not _fit(weights, generator):
        raise GuideError("These weights are not of a student of this generator; name the student.safetensors of a run.")
    with torch.no_grad():
        for name, tensor in changeable(generator).items():
            if name in weights:
                tensor.copy_(weights[name])
    return generator.requires_grad_(False).eval()


def changeable(generator: Generator) -> dict[str, Tensor]:
    """What erasing changes, by name: training the parameters that it may, an edit in closed form every style layer.

    >>> sorted(changeable(generator))
    ['backbone.bias', 'backbone.weight']
    """
    styles = {f"{layer}.{part}" for layer in generator.style_layers() for part in ("weight", "bias")}
    found = {name: tensor for name, tensor in generator.state_dict().items() if name in styles}
    return found | generator.trainable_parameters()


def is_student(path: Path) -> bool:
    """Whether a file is a saved student, also one from before they said so."""
    try:
        with plainly_named(path) as plain, safe_open(plain, "pt") as file:
            return _REST in (file.metadata() or {}) or all(name.startswith(_PARTS) for name in file.keys())  # noqa: SIM118
    except (OSError, SafetensorError):
        return False


def origin_of(path: Path) -> Origin:
    """What a student was: by the file itself, else by the metrics.json of its run.

    Raises:
        GuideError: the file is damaged.
    """
    run = _metrics(path.with_name("metrics.json"))
    facts = {_NAME: run.get("generator"), _RESOLUTION: run.get("resolution")} | load_tensors(path)[1]
    name, resolution = facts.get(_NAME), str(facts.get(_RESOLUTION))
    name = name if isinstance(name, str) else None
    return Origin(name, int(resolution) if resolution.isdecimal() else None, facts.get(_REST))


def _metrics(path: Path) -> Mapping[str, object]:
    """The numbers of a run; none if they cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _first(name: str) -> str:
    """The generator at the beginning of a row of students; a file by its whole path, wherever the next command runs."""
    if name in LOADERS:
        return name
    path = Path(name).absolute()
    return (origin_of(path).name or str(path)) if is_student(path) else str(path)


def _candidates(
    path: Path, name: str | None, size: int | None, device: str | torch.device | None
) -> Iterator[Generator]:
    """The generator of that name, or all that are there; at every resolution if none is known."""
    for known in LOADERS if name is None else [_found(name, path)]:
        try:
            generator = load_generator(known, size, device)
        except GuideError:
            if name is not None:
                raise
            continue
        yield generator
        if size is None and isinstance(generator, MobileStyleGAN):
            yield from (generator.at(other) for other in BLOCKS_FOR if other != generator.resolution)


def _found(name: str, path: Path) -> str:
    """A generator's name, or its file: where it was, or beside the student."""
    places = [Path(name), path.parent / name, path.with_name(Path(name).name)]
    there = next((place for place in places if place.is_file() and not place.samefile(path)), None)
    if name not in LOADERS and there is None:
        raise GuideError(f"{path} was made from {name}, which is not there; put that file beside it.")
    return name if name in LOADERS else str(there)


def _belongs(weights: Mapping[str, Tensor], generator: Generator) -> bool:
    """Whether names and shapes are those of a student of the generator, adapters aside."""
    return _fit({name: tensor for name, tensor in weights.items() if not _ADAPTER.search(name)}, generator)


def _fit(weights: Mapping[str, Tensor], generator: Generator) -> bool:
    """Whether there is all that can be trained and nothing but what can change; older files lack the head's styles."""
    there, least = _shapes(weights).items(), _shapes(generator.trainable_parameters()).items()
    return least <= there <= _shapes(changeable(generator)).items()


def _adapters(names: Iterable[str]) -> int:
    """How many adapters follow one another behind each block."""
    return len({match[1] for name in names if (match := _ADAPTER.search(name))})


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _rest_digest(generator: Generator, changed: Collection[str]) -> str:
    """A digest of every tensor that is not among the changed ones."""
    digest = hashlib.sha256()
    for name, tensor in generator.state_dict().items():
        if name not in changed:
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
