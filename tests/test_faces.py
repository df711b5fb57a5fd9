"""Photos, detection and the geometry of alignment."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from skimage import transform

from guide_lib.assets import shipped
from guide_lib.errors import GuideError
from guide_lib.generators.load import load_generator
from guide_lib.perception import faces
from guide_lib.perception.faces import align, detect_faces, ffhq_matrix, fixed_crop, load_photo

# Mean of MTCNN's points on 96 generated (so FFHQ-aligned) faces, in pixels of 1024.
FFHQ_POINTS = np.array([[385.5, 480.9], [642.1, 480.4], [512.7, 633.4], [392.3, 747.9], [632.0, 748.0]])


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return load_photo(shipped("portrait.png"))


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


def test_fixed_crop_takes_one_matrix_per_picture(portrait: Image.Image) -> None:
    images = torch.rand(2, 3, 40, 40)
    both = np.stack([matrix(0.1, 0.6, 1, 2)[:2], matrix(-0.4, 0.6, 9, -3)[:2]])
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


def test_faces_come_left_to_right(portrait: Image.Image) -> None:
    pair = two_people(portrait)
    left, right = detect_faces(pair)
    assert left.box[0] < 200 < right.box[0]
    assert left.landmarks[0, 0] < left.landmarks[1, 0]  # the first eye is the left one in the picture
    first, second = align(pair, 64, face=0), align(pair, 64, face=1)
    assert (first - second.flip(-1)).abs().mean() < 0.1  # the second is the first in a mirror
    assert (first - second).abs().mean() > 0.2


def two_people(portrait: Image.Image) -> Image.Image:
    pair = Image.new("RGB", (500, 300), "grey")
    pair.paste(portrait.crop((100, 0, 350, 300)), (0, 0))
    pair.paste(portrait.crop((100, 0, 350, 300)).transpose(Image.Transpose.FLIP_LEFT_RIGHT), (250, 0))
    return pair


# --- photos


def test_a_photo_is_turned_as_its_exif_tag_says(portrait: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    portrait.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "side.png", exif=exif)
    assert np.array_equal(np.array(load_photo(tmp_path / "side.png")), np.array(portrait))


def test_transparency_becomes_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    ImageDraw.Draw(clear).rectangle((0, 0, 39, 79), fill=(0, 0, 255, 255))
    clear.save(tmp_path / "clear.png")
    photo = load_photo(tmp_path / "clear.png")
    assert photo.mode == "RGB"
    assert photo.getpixel((10, 10)) == (0, 0, 255) and photo.getpixel((60, 10)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "I;16"])
def test_every_mode_becomes_rgb(mode: str, portrait: Image.Image, tmp_path: Path) -> None:
    if mode == "I;16":
        stored = Image.fromarray(np.array(portrait.convert("L")).astype(np.uint16) * 257)
    else:
        stored = portrait.convert(mode)
    path = tmp_path / ("photo.tif" if mode == "CMYK" else "photo.png")
    stored.save(path)
    photo = load_photo(path)
    assert photo.mode == "RGB" and photo.size == portrait.size
    assert 60 < np.array(photo).mean() < 160


def test_a_huge_photo_is_shrunk(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 600), "grey").save(tmp_path / "wide.png")
    assert load_photo(tmp_path / "wide.png").size == (2048, 410)


# --- one clear sentence for each thing that can be wrong


def refused(path: Path) -> str:
    with pytest.raises(GuideError) as caught:
        load_photo(path)
    return check_sentence(str(caught.value))


def check_sentence(message: str) -> str:
    assert message[0].isupper() or message.startswith(("/", "2"))
    assert message.endswith(".") and "\n" not in message and message.count(". ") == 0
    return message


def test_a_missing_photo(tmp_path: Path) -> None:
    assert "There is no photo at" in refused(tmp_path / "nobody.jpg")
    assert "There is no photo at" in refused(tmp_path)


def test_a_text_file_named_jpg(tmp_path: Path) -> None:
    (tmp_path / "me.jpg").write_text("hello")
    assert "me.jpg is not a picture that can be read" in refused(tmp_path / "me.jpg")


def test_a_photo_cut_short(portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "me.jpg")
    (tmp_path / "me.jpg").write_bytes((tmp_path / "me.jpg").read_bytes()[:4000])
    assert "is not a picture that can be read" in refused(tmp_path / "me.jpg")


def test_a_tiny_photo(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "tiny.png")
    assert "has only 20 x 20 pixels; use a photo of at least 64 x 64" in refused(tmp_path / "tiny.png")


def test_a_photo_without_a_face(tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "wall.png")
    with pytest.raises(GuideError, match="No face found in wall.png; use ") as caught:
        align(load_photo(tmp_path / "wall.png"))
    check_sentence(str(caught.value))


def test_several_faces_and_a_wrong_choice(portrait: Image.Image, tmp_path: Path) -> None:
    two_people(portrait).save(tmp_path / "pair.png")
    pair = load_photo(tmp_path / "pair.png")
    with pytest.raises(GuideError) as caught:
        align(pair)
    expected = "2 faces found in pair.png; choose one with --face 0 (leftmost) to --face 1."
    assert check_sentence(str(caught.value)) == expected
    for wrong in (2, -1):
        with pytest.raises(GuideError, match=f"There is no face {wrong} in pair.png, which shows 2; use"):
            align(pair, face=wrong)


def test_a_face_too_small(portrait: Image.Image) -> None:
    small = portrait.resize((180, 180), Image.Resampling.LANCZOS)
    with pytest.raises(GuideError, match=r"only 3\d px wide; use a photo in which it is at least 40 px"):
        align(small)
