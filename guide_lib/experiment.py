"""What every run stands on: the networks, the people in it, and a folder that it holds and writes its losses to.

>>> person = Person("7", sample_person(networks.generator, seed=7))       # of `load_networks(resolution=256)`, for real
>>> with run_folder(tmp_path / "demo") as folder:                           # held: another run is told to go elsewhere
...     folder.is_dir(), list(person.w_u.shape)
(True, [1, 3, 6])
"""

from __future__ import annotations

import csv
import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from guide_lib.assets import shipped
from guide_lib.errors import GuideError
from guide_lib.figures.plots import LossPoint
from guide_lib.generators import Generator, load_generator
from guide_lib.metrics.thresholds import acceptance_of
from guide_lib.perception.identity import Embedder, load_embedder, load_judge
from guide_lib.perception.perceptual import LPIPS, load_lpips
from guide_lib.runtime import ran_out_of_memory
from guide_lib.unlearning import Step

OTHERS_SEED = 20_240  # the other people are the same in every run, and nobody's training sample
_FIELDS = ("step", "local", "adjacency", "global", "total")  # of losses.csv
T = TypeVar("T")


@dataclass(frozen=True)
class Networks:
    """Everything pretrained that a run needs.

    generator: G_s. perceptual: LPIPS. embedder: the recogniser in the loss. judge: another one, only in the metrics.
    """

    generator: Generator
    perceptual: LPIPS
    embedder: Embedder
    judge: Embedder

    @property
    def acceptance(self) -> float:
        """The cosine from which on the judge takes two of the generator's faces for one person."""
        return acceptance_of(self.generator.faces)


@dataclass(frozen=True)
class Person:
    """Who is to be forgotten.

    name: what results are filed under. w_u: [1, rows, w_dim]. photo: [1, 3, S, S] in [-1, 1], or None if the person was
    only ever a latent. others: [N, rows, w_dim], inversions of other photos of the person, or None. facts: what else
    is known, for the results.
    """

    name: str
    w_u: Tensor
    photo: Tensor | None = None
    others: Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def load_networks(
    name: str = "mobilestylegan-ffhq",
    resolution: int | None = None,
    device: str | torch.device | None = None,
    embedder: str = "sface",
    judge: str = "dlib",
) -> Networks:
    """Fetch (once) and load the generator, LPIPS, the loss's embedder, the judge.

    Which LPIPS, and on what faces the judge is centred, the generator says: VGG-16's is for the paper's EG3D, AlexNet's
    for all others, because it is quicker.
    """
    generator = load_generator(name, resolution, device)
    return Networks(
        generator,
        load_lpips(generator.perceptual, device),
        load_embedder(embedder, device),
        load_judge(judge, device, faces=generator.faces),
    )


def other_people(generator: Generator, count: int = 32) -> Tensor:
    """Latents of `count` people that no run trains on: even ones at truncation 1, odd ones at 0.7.

    >>> ws = other_people(generator, count=4)
    >>> list(ws.shape), torch.equal(ws, other_people(generator, count=4))
    ([4, 3, 6], True)
    """
    rng = torch.Generator().manual_seed(OTHERS_SEED)
    ws = generator.sample(count, rng)
    typical = torch.lerp(generator.w_avg.expand_as(ws), ws, 0.7)
    odd = torch.arange(count, device=ws.device) % 2 == 1
    return torch.where(odd[:, None, None], typical, ws)


def sample_person(generator: Generator, seed: int, truncation: float = 1.0) -> Tensor:
    """The person that `seed` draws, w_u [1, rows, w_dim]: the paper's Random scenario.

    >>> whole, half = sample_person(generator, seed=7), sample_person(generator, seed=7, truncation=0.5)
    >>> torch.allclose(half - generator.w_avg, 0.5 * (whole - generator.w_avg), atol=1e-6)
    True
    """
    return generator.sample(1, torch.Generator().manual_seed(seed), truncation)


def portrait() -> Path:
    """The bundled public-domain portrait (NASA)."""
    return shipped("portrait.png")


@contextmanager
def run_folder(path: Path) -> Iterator[Path]:
    """Make the folder of a run and hold it, so that two runs cannot write into each other.

    A run that ends before it has written anything, for example for a wrong input, leaves no folder behind.

    Raises:
        GuideError: it cannot be written, another run holds it, or the run inside ran out of memory.
    """
    try:
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        with FileLock(path / ".lock", timeout=0):
            try:
                yield path
            finally:
                _remove_empty(made)
    except Timeout:
        raise GuideError(f"Another run is writing to {path}; choose another folder with --out.") from None
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise GuideError("The device ran out of memory; use a smaller --resolution or --device cpu.") from None
    except OSError as error:
        raise GuideError(f"Cannot write to {path} ({error.strerror}); choose another folder with --out.") from error


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, as long as there is nothing in them but a lock."""
    with suppress(OSError):
        for folder in folders:
            if [path.name for path in folder.iterdir()] == [".lock"]:
                (folder / ".lock").unlink()
            folder.rmdir()


def bar(steps: Iterable[T], total: int, title: str, unit: str = "step") -> Iterator[T]:
    """A progress bar on standard error around an iterator of steps; none in a worker, whose lines would be mixed up."""
    worker = multiprocessing.parent_process() is not None
    return iter(tqdm(steps, total=total, desc=title, unit=unit, dynamic_ncols=True, disable=worker))


def recorded(steps: Iterable[Step], path: Path) -> Iterator[Step]:
    """Pass the steps of a run on and write their losses into a CSV file, one line a step; a resumed run appends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = iter(steps)
    first = next(steps)  # before the file is touched: it may be another run's, which this step refuses to continue
    rows = _kept_rows(path, first.index)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _FIELDS)
        writer.writeheader()
        writer.writerows(rows)
        for step in chain([first], steps):
            writer.writerow({"step": step.index} | step.losses)
            file.flush()
            yield step


def history(path: Path) -> list[LossPoint]:
    """Every step that `recorded` has written, those before an interruption, too."""
    found = []
    for row in _kept_rows(path, sys.maxsize):
        with suppress(ValueError):
            found.append(LossPoint(int(row["step"]), {term: float(row[term]) for term in _FIELDS[1:]}))
    return found


def _kept_rows(path: Path, until: int) -> list[dict[str, str]]:
    """The lines of the steps before `until`; a damaged line is left out, the file being for people to look at."""
    if not path.exists():
        return []
    lines = [line.split(",") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    whole = [dict(zip(_FIELDS, line, strict=True)) for line in lines if len(line) == len(_FIELDS)]
    return [row for row in whole if row["step"].isdecimal() and len(row["step"]) < 10 and 0 < int(row["step"]) < until]
