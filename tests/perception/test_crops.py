"""Squares out of pictures: constant maps, and five points in photos of any size."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage import transform

from guide_lib.generators.alignment import FFHQ
from guide_lib.perception import crops
from guide_lib.perception.crops import cut_out, fixed_crop, rescale_input

FACE = np.array([[376.0, 470], [633, 469], [503, 622], [383, 736], [622, 737]])  # FFHQ's square is about 1000 px wide


def matrix(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    """A similarity as [3,3]; angle in radians."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1]])


# --- constant maps


@pytest.mark.parametrize("shrink", [0.4, 1.0])
def test_fixed_crop_equals_scikit_image(shrink: float, portrait: Image.Image) -> None:
    """Enlarging or keeping the size: plain bilinear sampling, so an independent warp must agree."""
    pixels = np.array(portrait.crop((150, 30, 300, 180))) / 127.5 - 1
    forward = matrix(0.2, 1 / shrink, -40, -30)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    ours = fixed_crop(image, forward[:2], 96)[0].permute(1, 2, 0).numpy()
    inverse = transform.AffineTransform(np.linalg.inv(forward))
    expected = transform.warp(pixels, inverse, output_shape=(96, 96), order=1, mode="edge")
    assert np.abs(ours - expected).max() < 1e-3


def test_fixed_crop_shrinks_without_aliasing() -> None:
    """A checkerboard of single pixels is grey from afar; bilinear sampling alone would pick single fields."""
    board = ((torch.arange(256)[:, None] + torch.arange(256)[None]) % 2 * 2.0 - 1).expand(1, 3, -1, -1)
    third = fixed_crop(board, np.array([[1 / 3.5, 0, 0], [0, 1 / 3.5, 0]]), 64)
    assert third.abs().max() < 0.3
    assert third.mean().abs() < 0.02


@pytest.mark.parametrize("scale", [0.6, 0.3])
def test_fixed_crop_takes_one_matrix_per_picture(scale: float) -> None:
    """Whatever the other shrinks by: a picture that is cut out with others must come out as it does alone."""
    images = torch.rand(2, 3, 40, 40)
    both = np.stack([matrix(0.1, 0.6, 1, 2)[:2], matrix(-0.4, scale, 9, -3)[:2]])
    apart = torch.cat([fixed_crop(images[i : i + 1], both[i], 24) for i in range(2)])
    assert torch.allclose(fixed_crop(images, both, 24), apart, atol=1e-5)


@pytest.mark.parametrize("size", [128, 256, 1024])
def test_rescaled_matrix_shows_the_same_crop(size: int, portrait: Image.Image) -> None:
    full = torch.from_numpy(np.array(portrait)).permute(2, 0, 1)[None].float() / 127.5 - 1
    resized = F.interpolate(full, size=size, mode="bilinear", antialias=True, align_corners=False)
    crop = matrix(0.05, 0.2, -8, 3)[:2]
    other = fixed_crop(resized, rescale_input(crop, 512, size), 64)
    assert (other - fixed_crop(full, crop, 64)).abs().mean() < 0.035


# --- photos


@pytest.mark.parametrize("angle", [0.0, 0.5, 3.1])
@pytest.mark.parametrize(
    ("scale", "at"), [(0.3, (1500, 900)), (1.7, (700, 300)), (0.5, (-150, 40)), (0.6, (2300, 1100))]
)
def test_the_part_of_a_large_photo_shows_what_the_whole_does(scale, at, angle, monkeypatch) -> None:
    """Anywhere, over every edge, smaller and larger than the picture, turned: the same to a level on average."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 50, 3), dtype=np.uint8))
    photo = coarse.resize((2500, 1500), Image.Resampling.BICUBIC)
    five = (FACE - FACE.mean(0)) @ matrix(angle, scale, 0, 0)[:2, :2].T + FACE.mean(0) * scale + at
    parted = cut_out(photo, five, 128)
    monkeypatch.setattr(crops, "WHOLE", 5000)
    difference = (parted - cut_out(photo, five, 128)).abs()
    assert difference.mean() < 1 / 127.5 and difference.max() < 0.1


def test_the_part_is_no_larger_than_the_crop_needs(monkeypatch) -> None:
    """A crop of a photo of 100 megapixels warps less than three times its own side."""
    sizes = []
    monkeypatch.setattr(crops, "fixed_crop", lambda images, *_, **__: sizes.append(images.shape[2:]))
    photo = Image.new("RGB", (11_000, 9_000))
    for scale in (0.3, 1, 6):
        cut_out(photo, FACE * scale, 512)
        side = np.ptp(FFHQ.square(FACE * scale), axis=0).max()
        assert max(sizes[-1]) <= min(side + 6, 3 * 512)
