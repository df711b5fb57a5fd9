"""Detection and the geometry of alignment."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import transform

from guide_lib.generators.load import load_generator
from guide_lib.perception import faces
from guide_lib.perception.faces import align, detect_faces, ffhq_matrix, ffhq_square, fixed_crop

# Mean of MTCNN's points on 96 generated (so FFHQ-aligned) faces, in pixels of 1024.
FFHQ_POINTS = np.array([[385.5, 480.9], [642.1, 480.4], [512.7, 633.4], [392.3, 747.9], [632.0, 748.0]])


def matrix(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    """A similarity as [3,3]; angle in radians."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1]])


similarities = st.builds(matrix, st.floats(-3, 3), st.floats(0.3, 3), st.floats(-200, 200), st.floats(-200, 200))


# --- geometry


@given(similarities, st.integers(0, 1000))
def test_similarity_transform_equals_scikit_image(truth: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(scale=50, size=(5, 2))
    target = source @ truth[:2, :2].T + truth[:2, 2] + rng.normal(scale=2, size=(5, 2))
    expected = transform.SimilarityTransform.from_estimate(source, target).params[:2]
    # scikit-image minimises over the same family, so both must reach the same residual and the same map.
    assert np.allclose(faces.similarity_transform(source, target), expected, atol=1e-6)


@given(similarities)
def test_alignment_follows_the_face(moved: np.ndarray) -> None:
    """Turning, scaling and shifting a photo changes nothing in the aligned picture."""
    points = FFHQ_POINTS @ moved[:2, :2].T + moved[:2, 2]
    assert np.allclose(ffhq_matrix(points, 512) @ moved, ffhq_matrix(FFHQ_POINTS, 512), atol=1e-6)


def test_ffhq_points_are_left_where_they_are() -> None:
    assert np.allclose(ffhq_matrix(FFHQ_POINTS, 1024), np.eye(3)[:2], atol=[0.03, 0.03, 15])


@given(similarities)
def test_the_square_is_what_the_matrix_cuts_out(moved: np.ndarray) -> None:
    """In any picture its corners go to the corners of the aligned one, half a pixel outside the outermost centres."""
    points = FFHQ_POINTS @ moved[:2, :2].T + moved[:2, 2]
    alignment = ffhq_matrix(points, 256)
    aligned = ffhq_square(points) @ alignment[:, :2].T + alignment[:, 2]
    assert np.allclose(aligned, [[-0.5, -0.5], [255.5, -0.5], [255.5, 255.5], [-0.5, 255.5]], atol=1e-6)


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
    other = fixed_crop(resized, faces.rescale_input(crop, 512, size), 64)
    assert (other - fixed_crop(full, crop, 64)).abs().mean() < 0.035


# --- alignment of pictures


def test_a_moved_photo_gives_the_same_picture(portrait: Image.Image) -> None:
    moved = portrait.rotate(-17, Image.Resampling.BICUBIC, expand=True, fillcolor="grey")
    moved = moved.resize((round(moved.width * 1.4), round(moved.height * 1.4)), Image.Resampling.LANCZOS)
    before, after = align(portrait, 128), align(moved, 128)
    middle = (..., slice(24, 112), slice(24, 104))
    assert (before[middle] - after[middle]).abs().mean() < 0.06
    assert (before[middle] - before.flip(-1)[middle]).abs().mean() > 0.18  # what "different" looks like


def test_generated_faces_are_already_aligned(rng: torch.Generator) -> None:
    """The generator makes FFHQ-aligned pictures, so aligning them again must do next to nothing."""
    generator = load_generator(resolution=256)
    with torch.no_grad():
        images = generator.synthesis(generator.sample(8, rng, truncation=0.7)).image
    landmarks, found = faces.find_landmarks(images)
    assert found.all()
    maps = np.stack([ffhq_matrix(points, 256) for points in landmarks])
    scale = np.hypot(maps[:, 0, 0], maps[:, 1, 0])
    angle = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    centre = maps @ np.array([127.5, 127.5, 1]) - 127.5
    assert abs(np.median(scale) - 1) < 0.03 and np.abs(scale - 1).max() < 0.15
    assert abs(np.median(angle)) < 1 and np.abs(angle).max() < 5
    assert np.abs(np.median(centre, axis=0)).max() < 2 and np.abs(centre).max() < 8  # px of 256


def test_the_face_may_touch_the_edge(portrait: Image.Image) -> None:
    """What is missing is mirrored, not black."""
    cut = portrait.crop((170, 40, 290, 200))
    picture = align(cut, 256)
    assert picture.shape == (1, 3, 256, 256)
    assert (picture < -0.99).all(dim=1).float().mean() < 0.05
    assert picture.min() >= -1 and picture.max() <= 1


def test_faces_come_left_to_right(pair: Image.Image) -> None:
    left, right = detect_faces(pair)
    assert left.box[0] < 200 < right.box[0]
    assert left.landmarks[0, 0] < left.landmarks[1, 0]  # the first eye is the left one in the picture
    first, second = align(pair, 64, face=0), align(pair, 64, face=1)
    assert (first - second.flip(-1)).abs().mean() < 0.1  # the second is the first in a mirror
    assert (first - second).abs().mean() > 0.2


def test_a_larger_neighbour_does_not_take_the_place_of_the_face(portrait: Image.Image, monkeypatch) -> None:
    """MTCNN, asked again inside of the square of one face, may answer with whoever leans into it."""
    (face,) = detect_faces(portrait)
    rough = faces.ffhq_matrix(face.landmarks, faces.REFINE_SIZE)
    for shift, stays in ((0.2, False), (1.5, True)):
        moved = face.landmarks + shift * (face.landmarks[1] - face.landmarks[0])
        answer = moved @ rough[:, :2].T + rough[:, 2]
        monkeypatch.setattr(faces, "find_landmarks", lambda _, a=answer: (a[None], np.array([True])))
        refined = faces.refine_landmarks(portrait, face.landmarks)
        assert np.allclose(refined, face.landmarks if stays else moved, atol=1e-6)


@pytest.mark.parametrize("size", [(10, 10), (2048, 30), (30, 2048)])
def test_a_strip_too_thin_for_a_face_shows_none(size: tuple[int, int]) -> None:
    assert detect_faces(Image.new("RGB", size)) == []
