"""Photos as people have them: every kind of file, and one clear sentence for each that cannot be used."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, features

from guide_lib.assets import shipped
from guide_lib.errors import GuideError
from guide_lib.generators import EG3D_FFHQ
from guide_lib.perception.faces import align
from guide_lib.perception.photos import load_face, load_photo

# --- pictures of every kind


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_tag_says(orientation: int, portrait: Image.Image, tmp_path: Path) -> None:
    """The camera stores turned and mirrored pixels; the tag's eight values name the eight ways."""
    flip = Image.Transpose
    stored_as = {
        1: None,
        2: flip.FLIP_LEFT_RIGHT,
        3: flip.ROTATE_180,
        4: flip.FLIP_TOP_BOTTOM,
        5: flip.TRANSPOSE,
        6: flip.ROTATE_90,
        7: flip.TRANSVERSE,
        8: flip.ROTATE_270,
    }
    how, exif = stored_as[orientation], Image.Exif()
    exif[0x0112] = orientation
    upright = portrait.crop((100, 0, 350, 300))
    (upright if how is None else upright.transpose(how)).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.array(load_photo(tmp_path / "turned.png")), np.array(upright))


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "tif"])
def test_transparency_becomes_white(suffix: str, tmp_path: Path) -> None:
    clear = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    ImageDraw.Draw(clear).rectangle((0, 0, 39, 79), fill=(0, 0, 255, 255))
    path = tmp_path / f"clear.{suffix}"
    clear.save(path, **({"lossless": True} if suffix == "webp" else {}))
    photo = load_photo(path)
    assert photo.mode == "RGB"
    assert photo.getpixel((10, 10)) == (0, 0, 255) and photo.getpixel((60, 10)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "I;16", "I", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str, portrait: Image.Image, tmp_path: Path) -> None:
    if mode.startswith("I"):
        levels = np.array(portrait.convert("L")).astype(np.uint16 if mode == "I;16" else np.int32) * 257
        stored = Image.fromarray(levels)
        assert stored.mode == mode
    else:
        stored = portrait.convert(mode)
    path = tmp_path / {"CMYK": "photo.jpg", "YCbCr": "photo.jpg", "I": "photo.tif"}.get(mode, "photo.png")
    stored.save(path)
    photo = load_photo(path)
    assert photo.mode == "RGB" and photo.size == portrait.size
    # From afar, since mode 1 scatters black and white dots.
    seen, meant = (np.array(p.convert("L").reduce(16)).astype(float) for p in (photo, portrait))
    assert np.abs(seen - meant).mean() < 5


def test_of_an_animation_the_first_picture_counts(portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "wink.gif", save_all=True, append_images=[Image.new("RGB", portrait.size)] * 2)
    photo = load_photo(tmp_path / "wink.gif")
    assert np.abs(np.array(photo).astype(float) - np.array(portrait)).mean() < 10
    assert align(photo, 64).shape == (1, 3, 64, 64)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read_where_pillow_can(portrait: Image.Image, tmp_path: Path) -> None:
    """Before: "not a picture that can be read"."""
    portrait.save(tmp_path / "me.avif", quality=90)
    assert np.abs(np.array(load_photo(tmp_path / "me.avif")).astype(float) - np.array(portrait)).mean() < 3


def test_a_huge_photo_keeps_its_size_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, it was shrunk to 2048 x 410, and the face in it with it."""
    Image.new("RGB", (3000, 600), "grey").save(tmp_path / "wide.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)  # Pillow warns above this and refuses above twice it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_photo(tmp_path / "wide.png").size == (3000, 600)


def test_a_face_on_its_side_is_aligned_from_a_file(portrait: Image.Image, tmp_path: Path) -> None:
    """EXIF, alpha and size together: the aligned face is the one of the plain photo."""
    exif = Image.Exif()
    exif[0x0112] = 6
    rich = portrait.resize((1024, 1024), Image.Resampling.LANCZOS).convert("RGBA").transpose(Image.Transpose.ROTATE_90)
    rich.save(tmp_path / "rich.png", exif=exif)
    assert (align(load_photo(tmp_path / "rich.png"), 128) - align(portrait, 128)).abs().mean() < 0.04


# --- one clear sentence for each thing that can be wrong: ways to make a bad photo in a folder


def missing(folder: Path) -> Path:
    return folder / "nobody.jpg"


def a_folder(folder: Path) -> Path:
    (folder / "photos.jpg").mkdir()
    return folder / "photos.jpg"


def a_pipe(folder: Path) -> Path:
    """Nobody writes into it: whoever opens it waits for ever."""
    os.mkfifo(folder / "me.jpg")
    return folder / "me.jpg"


def text_named_jpg(folder: Path) -> Path:
    return written(folder / "me.jpg", b"hello")


def drawing_in_svg(folder: Path) -> Path:
    return written(folder / "me.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>')


def heic(folder: Path) -> Path:
    return written(folder / "me.heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200))


def empty(folder: Path) -> Path:
    return written(folder / "me.png", b"")


def truncated(suffix: str) -> Callable[[Path], Path]:
    def cut_short(folder: Path) -> Path:
        whole = folder / f"me.{suffix}"
        Image.open(shipped("portrait.png")).convert("RGB").save(whole)
        return written(whole, whole.read_bytes()[:4000])

    return cut_short


def stamp(folder: Path) -> Path:
    return saved(Image.new("RGB", (20, 20)), folder / "me.png")


def bomb(folder: Path) -> Path:
    return saved(Image.new("1", (20_000, 10_000)), folder / "me.png")


def forbidden(folder: Path) -> Path:
    path = saved(Image.new("RGB", (200, 200)), folder / "me.png")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file, whatever its permissions")
    return path


def wall(folder: Path) -> Path:
    return saved(Image.new("RGB", (200, 200), "grey"), folder / "me.png")


def ribbon(folder: Path) -> Path:
    return saved(Image.new("RGB", (6000, 70), "grey"), folder / "me.png")


def test_a_photo_that_the_system_keeps_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `forbidden`, also for those who may read everything."""

    def closed(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = saved(Image.new("RGB", (200, 200)), tmp_path / "me.png")
    monkeypatch.setattr(type(path), "open", closed)
    with pytest.raises(GuideError, match="You may not read .*me.png; change its permissions."):
        load_photo(path)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def saved(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


UNREADABLE = "is not a picture that can be read; save it as JPEG or PNG."


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (missing, "There is no photo at"),
        (a_folder, "photos.jpg is a folder; name one of the photos in it."),
        (a_pipe, "me.jpg is no file but a pipe or a device; save the picture in a file."),
        (text_named_jpg, f"me.jpg {UNREADABLE}"),
        (drawing_in_svg, f"me.svg {UNREADABLE}"),
        (heic, f"me.heic {UNREADABLE}"),
        (empty, f"me.png {UNREADABLE}"),
        *((truncated(suffix), f"me.{suffix} {UNREADABLE}") for suffix in ("jpg", "png", "webp", "tif", "bmp")),
        (stamp, "me.png has only 20 x 20 pixels; use a photo of at least 64 x 64."),
        (bomb, "me.png is too large a picture; shrink it below 100 megapixels first."),
        (forbidden, "You may not read"),
        (wall, "No face found in me.png; turn it upright, or use a sharp, well-lit one of a face seen from the front."),
        (
            ribbon,
            "No face found in me.png; turn it upright, or use a sharp, well-lit one of a face seen from the front.",
        ),
    ],
)
def test_a_bad_photo_ends_in_one_sentence(make: Callable[[Path], Path], sentence: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(GuideError) as caught:
        align(load_photo(path))
    assert sentence in check_sentence(caught.value)


def test_a_photo_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for users who may read everything: the system's refusal is played."""
    path = saved(Image.new("RGB", (200, 200)), tmp_path / "me.png")

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(GuideError) as caught:
        load_photo(path)
    assert check_sentence(caught.value) == f"You may not read {path}; change its permissions."


def test_several_faces_and_a_wrong_choice(pair: Image.Image, tmp_path: Path) -> None:
    photo = load_photo(saved(pair, tmp_path / "pair.png"))
    with pytest.raises(GuideError) as caught:
        align(photo)
    expected = "2 faces found in pair.png; choose one with --face 0 (leftmost) to --face 1."
    assert check_sentence(caught.value) == expected
    for wrong in (2, -1):
        with pytest.raises(GuideError, match=f"There is no face {wrong} in pair.png, which shows 2; use") as caught:
            align(photo, face=wrong)
        check_sentence(caught.value)


def test_a_face_too_small(portrait: Image.Image) -> None:
    small = portrait.resize((180, 180), Image.Resampling.LANCZOS)
    with pytest.raises(GuideError, match=r"only 3\d px wide; use a photo in which it is at least 40 px") as caught:
        align(small)
    check_sentence(caught.value)


def check_sentence(error: GuideError) -> str:
    message = str(error)
    assert message[0].isupper() or message.startswith(("/", "2"))
    assert message.endswith(".") and "\n" not in message and message.count(". ") == 0
    return message


# --- pictures that are aligned already


def test_an_aligned_picture_is_only_brought_to_size(portrait: Image.Image, tmp_path: Path) -> None:
    path = saved(portrait, tmp_path / "aligned.png")
    asked = load_face(path, size=512, aligned=True)
    assert torch.equal(asked, torch.from_numpy(np.array(portrait)).permute(2, 0, 1)[None].float() / 127.5 - 1)
    assert load_face(path, size=128, aligned=True).shape == (1, 3, 128, 128)
    assert torch.equal(load_face(path, 64), align(portrait, 64))
    assert torch.equal(load_face(path, 64, alignment=EG3D_FFHQ), align(portrait, 64, alignment=EG3D_FFHQ))
    oblong = saved(portrait.crop((0, 0, 300, 200)), tmp_path / "oblong.png")
    with pytest.raises(GuideError, match="has 300 x 200 pixels, but an aligned picture is square") as caught:
        load_face(oblong, aligned=True)
    check_sentence(caught.value)
