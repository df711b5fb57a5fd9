"""How far one generator's pictures, as a whole, are from another's: FID and KID on Inception features.

>>> features = lambda images: torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)   # Inception's place
>>> before, after = generated_features(generator, 64, features), generated_features(student, 64, features)
>>> f"FID {frechet_distance(before, after):.1f}, KID {kernel_distance(before, after):.1f}"
'FID 2.6, KID 0.6'

FID (Heusel et al. 2017, arXiv 1706.08500) compares two normal distributions, KID (Binkowski et al. 2018,
arXiv 1801.01401) all moments up to the third, without bias in the number of pictures. Pictures are never kept: a
feature is 2048 numbers, 5,000 of them 41 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image, ImageOps
from scipy import linalg
from torch import Tensor

from guide_lib.checkpoint import load_tensors, save_tensors
from guide_lib.errors import GuideError
from guide_lib.generators import Generator
from guide_lib.perception.albums import name_in, pictures_in, tell_skipped
from guide_lib.perception.crops import from_pil
from guide_lib.perception.photos import load_photo
from guide_lib.runtime import step_rng

SEED = 0  # of FID_pre in the paper
BATCH = 8  # pictures drawn at a time
SAVED_EVERY = 256  # features between two writes: what a killed run loses at most
Extractor = Callable[[Tensor], Tensor]  # pictures [N, 3, S, S] in [-1, 1] -> features [N, D]


def generated_features(
    generator: Generator, count: int, extractor: Extractor, cache: Path | None = None, seed: int = SEED
) -> Tensor:
    """Features [count, D] of pictures from z ~ N(0, I), each under its own camera (frontal for a flat generator).

    The k-th picture depends on `seed` and k alone, so two generators give pairs of the same z and camera, and more
    pictures extend fewer. `cache`: what is found there is not computed again; the caller chooses one path for each
    generator and seed.

    >>> few, more = (generated_features(generator, count, lambda images: images.mean((2, 3))) for count in (2, 4))
    >>> list(more.shape), torch.allclose(more[:2], few)
    ([4, 3], True)
    """
    return _collect(lambda start: _draw(generator, count, seed, start), count, extractor, cache)


def photo_features(folder: Path, extractor: Extractor, size: int, cache: Path | None = None) -> Tensor:
    """Features [N, D] of every picture in a folder and below it, cut to a square and brought to size px: the real side
    of FID. Other files are left out, and standard error says how many and why.

    Raises:
        GuideError: there is no such folder, or it holds fewer than two pictures that can be read.

    >>> for name, grey in (("a.png", 0), ("b.png", 255)):
    ...     Image.new("RGB", (120, 80), (grey, grey, grey)).save(tmp_path / name)
    >>> photo_features(tmp_path, lambda images: images.mean((2, 3)), size=16)
    tensor([[-1., -1., -1.],
            [ 1.,  1.,  1.]])
    """
    paths, skipped = pictures_in(folder)

    def batches(start: int) -> Iterator[Tensor]:
        for i in range(start, len(paths), BATCH):
            yield torch.stack([_square(path, size) for path in paths[i : i + BATCH]])

    features = _collect(batches, len(paths), extractor, cache) if paths else torch.empty(0, 1)
    read = ~features.isnan().any(1)
    damaged = [path for path, whole in zip(paths, read.tolist(), strict=True) if not whole]
    tell_skipped(skipped | {name_in(path, folder): _damage(path) for path in damaged}, folder)
    if (count := int(read.sum())) < 2:
        raise GuideError(f"{folder} holds {count} pictures; a distribution needs at least two.")
    return features[read]


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """FID: |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^1/2) of features [N, D] and [M, D].

    The trace of the root is the sum of the singular values of S_a^1/2 S_b^1/2, and with fewer pictures than dimensions
    that of a smaller matrix; both are exact, and neither meets the complex roots of an almost singular product.

    Raises:
        GuideError: one side has fewer than two features.

    >>> a = torch.randn(100, 3, generator=rng)
    >>> frechet_distance(a, a + torch.tensor([2.0, 0.0, 0.0]))               # only the mean moved: 2^2
    4.000
    """
    _check_counts(a, b)
    a, b = a.double(), b.double()
    centred_a, centred_b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b))
    factor_a, factor_b = (_factor(x) for x in (centred_a, centred_b))
    root = torch.from_numpy(linalg.svdvals((factor_a @ factor_b.T).numpy())).sum()
    spread = centred_a.square().sum() + centred_b.square().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + spread - 2 * root).item()


def kernel_distance(a: Tensor, b: Tensor, subset: int = 1000, subsets: int = 100, seed: int = SEED) -> float:
    """KID: the unbiased squared MMD under the kernel (x.y / D + 1)^3, mean over random subsets (Binkowski et al.).

    With no more than `subset` features on both sides it is computed once, on all. May be negative, being unbiased.

    Raises:
        GuideError: one side has fewer than two features.

    >>> a = torch.tensor([[0.0], [1.0]])
    >>> kernel_distance(a, a), kernel_distance(a, a + 1)                     # 1 + 1 - 2 * 11 / 4; 1 + 27 - 2 * 37 / 4
    (-3.5, 9.5)
    """
    _check_counts(a, b)
    a, b = a.double(), b.double()
    if max(len(a), len(b)) <= subset:
        return _squared_mmd(a, b)
    rng = torch.Generator().manual_seed(seed)
    size = min(subset, len(a), len(b))
    draws = ((torch.randperm(len(x), generator=rng)[:size] for x in (a, b)) for _ in range(subsets))
    return sum(_squared_mmd(a[i], b[j]) for i, j in draws) / subsets


def _squared_mmd(a: Tensor, b: Tensor) -> float:
    """Lemma 6 of Gretton et al. 2012: the diagonals, each feature with itself, are left out."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    within = sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (kernel(a, a), kernel(b, b)))
    return (within - 2 * kernel(a, b).mean()).item()


def _factor(centred: Tensor) -> Tensor:
    """A matrix F of at most D rows with F^T F = X^T X."""
    return centred if centred.shape[0] <= centred.shape[1] else torch.linalg.qr(centred, mode="r").R


def _check_counts(a: Tensor, b: Tensor) -> None:
    if min(len(a), len(b)) < 2:
        raise GuideError(f"A distribution needs at least two pictures on each side, not {len(a)} and {len(b)}.")


def _draw(generator: Generator, count: int, seed: int, start: int) -> Iterator[Tensor]:
    """Pictures [n, 3, S, S] from number `start` on; what shares a camera is drawn together."""
    for begin in range(start, count, BATCH):
        rngs = [step_rng(seed, k) for k in range(begin, min(begin + BATCH, count))]
        ws = torch.cat([generator.sample(1, rng) for rng in rngs])
        views = [generator.sample_views(1, rng)[0] for rng in rngs]
        yield generator.pictures(ws, views)


def _square(path: Path, size: int) -> Tensor:
    """The middle square of a photo, [3, size, size] in [-1, 1]; of a file that cannot be read a square of NaN."""
    try:
        photo = load_photo(path)
    except GuideError:
        return torch.full((3, size, size), torch.nan)
    return from_pil(ImageOps.fit(photo, (size, size), Image.Resampling.LANCZOS))[0]


def _damage(path: Path) -> str:
    """Why a photo cannot be read."""
    try:
        load_photo(path)
    except GuideError as error:
        return str(error)
    return f"{path} could not be read earlier."


@torch.no_grad()
def _collect(
    batches: Callable[[int], Iterator[Tensor]], count: int, extractor: Extractor, cache: Path | None
) -> Tensor:
    """The features of `batches(start)`, begun where the cache ends and written there as they come.

    A picture of NaN has features of NaN, whatever the extractor makes of it: so each keeps its place in the cache.
    """
    done = load_tensors(cache)[0]["features"] if cache is not None and cache.exists() else None
    parts = [] if done is None else [done]
    have = sum(map(len, parts))
    if have >= count:
        return done[:count]
    for images in batches(have):
        there = ~images.isnan().flatten(1).any(1, keepdim=True).cpu()
        parts.append(extractor(images.nan_to_num()).cpu().where(there, torch.nan))
        have += len(images)
        if cache is not None and (have // SAVED_EVERY > (have - len(images)) // SAVED_EVERY or have == count):
            parts = [torch.cat(parts)]
            save_tensors(cache, {"features": parts[0]})
    return torch.cat(parts)
