"""One face, aligned."""

import numpy as np
import pytest
import torch
from PIL import Image

from guide_lib.errors import GuideError
from guide_lib.generators import FFHQ
from guide_lib.generators.load import load_generator
from guide_lib.perception import faces
from guide_lib.perception.detection import Face, detect_faces, find_landmarks
from guide_lib.perception.faces import align


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
    landmarks, found = find_landmarks(images)
    assert found.all()
    maps = np.stack([FFHQ.matrix(points, 256) for points in landmarks])
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


# --- which face


def row_of(*widths: float) -> list[Face]:
    """Faces of these widths, from left to right."""
    five = np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 60.0], [43.0, 70.0], [57.0, 70.0]])
    return [Face((100.0 * i, 0, 100 * i + w, w), five + [100 * i, 0], 1.0, w) for i, w in enumerate(widths)]


@pytest.mark.parametrize(
    ("widths", "face", "outcome"),
    [
        ((80,), None, 0),
        ((31, 80), None, 1),  # before: "2 faces found in me.jpg; choose one with --face 0 ..."
        ((31, 80, 22), None, 1),  # before: "3 faces found"
        ((31, 80), 0, "The face in me.jpg is only 31 px wide; use a photo in which it is at least 40 px."),
        ((31, 80), 2, "There is no face 2 in me.jpg, which shows 2; use --face 0 (leftmost) to --face 1."),
        ((31, 80, 90), None, "3 faces found in me.jpg; choose one with --face 0 (leftmost) to --face 2."),
        ((31, 80, 90), 1, 1),
        ((31, 22), None, "The face in me.jpg is only 31 px wide; use a photo in which it is at least 40 px."),
        (
            (),
            None,
            "No face found in me.jpg; turn it upright, or use a sharp, well-lit one of a face seen from the front.",
        ),
    ],
)
def test_a_bystander_too_small_to_be_chosen_is_no_second_person(widths, face, outcome, monkeypatch) -> None:
    photo, row = Image.new("RGB", (400, 100)), row_of(*widths)
    photo.info["name"] = "me.jpg"
    monkeypatch.setattr(faces, "detect_faces", lambda photo: row)
    monkeypatch.setattr(faces, "cut_out", lambda photo, landmarks, *_: landmarks)
    if isinstance(outcome, int):
        assert align(photo, face=face) is row[outcome].landmarks
    else:
        with pytest.raises(GuideError) as caught:
            align(photo, face=face)
        assert str(caught.value) == outcome


def test_a_bystander_is_found_and_not_taken(portrait: Image.Image) -> None:
    """A photo of 900 px in which somebody passes by far behind, 31 px wide."""
    photo = Image.new("RGB", (900, 600), "grey")
    photo.paste(portrait, (20, 40))
    photo.paste(portrait.resize((184, 184), Image.Resampling.LANCZOS), (660, 300))
    assert sorted(face.width > 40 for face in detect_faces(photo)) == [False, True]
    assert torch.equal(align(photo, 64), align(photo, 64, face=0))
