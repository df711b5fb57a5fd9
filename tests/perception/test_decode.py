"""Pixels as a viewer shows them, whatever else a file holds."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from guide_lib.errors import GuideError
from guide_lib.perception.photos import load_photo

XYZ_D50 = np.array([0.9642, 1.0, 0.8249])
# Chromaticities of red, green, blue and white, and the exponent of the tone curve.
SPACES = {
    "Display P3": ([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)], (0.3127, 0.3290), 2.2),
    "Adobe RGB": ([(0.640, 0.330), (0.210, 0.710), (0.150, 0.060)], (0.3127, 0.3290), 2.19921875),
    "ProPhoto": ([(0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)], (0.3457, 0.3585), 1.8),
}
SRGB = ([(0.640, 0.330), (0.300, 0.600), (0.150, 0.060)], (0.3127, 0.3290))


@pytest.fixture
def colours() -> Image.Image:
    """64 x 64 px, an own colour for each of 16 x 16 fields of 4 px; from dull to vivid."""
    fields = np.random.default_rng(3).integers(20, 236, (16, 16, 3), dtype=np.uint8)
    fields[:8] = (fields[:8].astype(int) + 3 * 128) // 4
    return Image.fromarray(fields).resize((64, 64), Image.Resampling.NEAREST)


def read(path: Path) -> np.ndarray:
    return np.asarray(load_photo(path)).astype(int)


def off(path: Path, expected: Image.Image) -> float:
    """How far, in levels of 255 on average, what is read differs from what is meant."""
    return np.abs(read(path) - np.asarray(expected).astype(int)).mean()


# --- what is not pixels


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(picture: Image.Image, path: Path, addition: bytes) -> Path:
    """The picture as a PNG with something after its header."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    content = buffer.getvalue()
    path.write_bytes(content[:33] + addition + content[33:])
    return path


NOISE = np.random.default_rng(0).bytes(3 << 20)
ODD = {
    "an eXIf that cannot be read": chunk(b"eXIf", b"MM\x00*\x00\x00\x00\x08\xff\xff" + b"\xff" * 40),
    "an eXIf that is no TIFF": chunk(b"eXIf", b"hello"),
    "2 MB of text, packed": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * (2 << 20))),
    "2 MB of text": chunk(b"tEXt", b"Comment\0" + b"a" * (2 << 20)),
    "2 MB of unicode": chunk(b"iTXt", b"XML\0\1\0\0\0" + zlib.compress(b"a" * (2 << 20))),
    "a text that cannot be unpacked": chunk(b"zTXt", b"Comment\0\0not zlib"),
    "a wrong checksum of a text": chunk(b"tEXt", b"Comment\0hello")[:-4] + b"\0\0\0\0",
    "a profile of 3 MB": chunk(b"iCCP", b"big\0\0" + zlib.compress(NOISE)),
    "a profile that cannot be unpacked": chunk(b"iCCP", b"broken\0\0not zlib"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_pixels_does_not_decide(odd: str, colours: Image.Image, tmp_path: Path) -> None:
    """Before, an eXIf that is no TIFF, a wrong checksum and more than 1 MB of packed text or profile were "not a
    picture that can be read"."""
    assert off(with_chunk(colours, tmp_path / "odd.png", ODD[odd]), colours) == 0


@pytest.mark.parametrize("exif", [b"hello", b"MM\x00*\x00\x00\x00\x08\xff\xff" + b"\xff" * 40], ids=["text", "cut"])
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_unreadable_exif_does_not_decide_in_other_files(suffix, exif, colours: Image.Image, tmp_path: Path) -> None:
    plain, odd = tmp_path / f"plain.{suffix}", tmp_path / f"odd.{suffix}"
    colours.save(plain)
    colours.save(odd, exif=b"Exif\0\0" + exif)
    assert np.array_equal(read(odd), read(plain))


def test_a_large_png_is_still_turned_as_its_tag_says(colours: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    addition = ODD["2 MB of text, packed"] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    path = with_chunk(colours.transpose(Image.Transpose.ROTATE_90), tmp_path / "turned.png", addition)
    assert off(path, colours) == 0


def test_missing_pixels_still_do(colours: Image.Image, tmp_path: Path) -> None:
    path = with_chunk(colours.resize((300, 300)), tmp_path / "cut.png", ODD["2 MB of text"])
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(GuideError, match="is not a picture that can be read"):
        load_photo(path)


# --- colours


def primaries(corners: list[tuple[float, float]], white: tuple[float, float]) -> np.ndarray:
    """Linear RGB to XYZ under white [3, 3]."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in [*corners, white]]).T
    return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])


def to_d50(matrix: np.ndarray) -> np.ndarray:
    """Adapted to the white of profiles, D50 (Bradford)."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    cones = (bradford @ XYZ_D50) / (bradford @ matrix.sum(1))
    return np.linalg.inv(bradford) @ np.diag(cones) @ bradford @ matrix


def number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def profile(tags: dict[bytes, bytes], space: bytes) -> bytes:
    """A monitor's profile, version 2."""
    tags |= {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78), b"cprt": b"text\0\0\0\0CC0\0"}
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + b"".join(map(number, XYZ_D50))
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(
        ">I4sI4s4s4s12s4s", at + len(body), b"\0\0\0\0", 0x02100000, b"mntr", space, b"XYZ ", bytes(12), b"acsp"
    )
    head += bytes(28) + b"".join(map(number, XYZ_D50))
    return head + bytes(128 - len(head)) + table + body


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(name: str) -> bytes:
    corners, white, gamma = SPACES[name]
    columns = to_d50(primaries(corners, white)).T
    xyz = {
        c: b"XYZ \0\0\0\0" + b"".join(map(number, column))
        for c, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
    }
    return profile(xyz | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(gamma)), b"RGB ")


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def as_shown(picture: Image.Image, name: str) -> np.ndarray:
    """What sRGB numbers show the same colours, computed by hand."""
    corners, white, gamma = SPACES[name]
    linear = (np.asarray(picture) / 255) ** (round(gamma * 256) / 256)
    return encode_srgb(linear @ (np.linalg.inv(to_d50(primaries(*SRGB))) @ to_d50(primaries(corners, white))).T)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("name", SPACES)
def test_colours_are_those_that_the_profile_means(name: str, suffix: str, colours: Image.Image, tmp_path: Path) -> None:
    """Before, the numbers were taken for sRGB's: off by 7, 7 and 24 levels on average."""
    path, options = tmp_path / f"wide.{suffix}", {"lossless": True} if suffix == "webp" else {}
    colours.save(path, icc_profile=rgb_profile(name), **options)
    expected = as_shown(colours, name)
    assert np.abs(read(path) - expected).mean() < 0.7 and np.abs(read(path) - expected).max() < 6
    assert np.abs(np.asarray(colours) - expected).mean() > 4


def test_a_profile_of_more_than_a_megabyte_counts(colours: Image.Image, tmp_path: Path) -> None:
    """Padded with noise, since a profile is as long as it says."""
    long = rgb_profile("Adobe RGB") + NOISE[: 2 << 20]
    long = struct.pack(">I", len(long)) + long[4:]
    path = with_chunk(colours, tmp_path / "long.png", chunk(b"iCCP", b"long\0\0" + zlib.compress(long)))
    assert np.abs(read(path) - as_shown(colours, "Adobe RGB")).mean() < 0.7


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_profiles_with_transparency_and_palettes(mode: str, colours: Image.Image, tmp_path: Path) -> None:
    stored = colours.convert("L").convert(mode) if mode == "LA" else colours.convert(mode)
    stored.save(tmp_path / "wide.png", icc_profile=rgb_profile("Display P3"))
    assert np.abs(read(tmp_path / "wide.png") - as_shown(stored.convert("RGB"), "Display P3")).mean() < 1


def test_greys_under_their_own_curve(colours: Image.Image, tmp_path: Path) -> None:
    grey = colours.convert("L")
    grey.save(tmp_path / "grey.png", icc_profile=profile({b"kTRC": curve(1.0)}, b"GRAY"))
    expected = encode_srgb(np.asarray(grey)[..., None] / 255 * np.ones(3))
    assert np.abs(read(tmp_path / "grey.png") - expected).max() <= 2


@pytest.mark.parametrize("kind", ["sRGB", "grey for colours", "broken", "Lab"])
def test_numbers_stay_where_a_profile_has_nothing_to_say(kind: str, colours: Image.Image, tmp_path: Path) -> None:
    icc = {
        "sRGB": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "grey for colours": profile({b"kTRC": curve(1.0)}, b"GRAY"),
        "broken": rgb_profile("Adobe RGB")[:200],
        "Lab": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    }[kind]
    colours.save(tmp_path / "same.png", icc_profile=icc)
    assert off(tmp_path / "same.png", colours) == 0


def test_inks_are_read_as_before(colours: Image.Image, tmp_path: Path) -> None:
    """CMYK goes by Pillow's plain formula, whatever its profile."""
    inks = colours.convert("CMYK")
    inks.save(tmp_path / "inks.tif", icc_profile=rgb_profile("Adobe RGB"))
    assert off(tmp_path / "inks.tif", inks.convert("RGB")) == 0


# --- greys of many levels


LEVELS = {
    "12 bits in 16": lambda x: np.round(x * 4095).astype(np.uint16),  # before: black, at most 15 of 255
    "10 bits in 16": lambda x: np.round(x * 1023).astype(np.uint16),  # before: black, at most 3
    "16 bits": lambda x: np.round(x * 65535).astype(np.uint16),
    "8 bits in 32": lambda x: np.round(x * 255).astype(np.int32),  # before: black
    "floating to 1": lambda x: x.astype(np.float32),  # before: black, at most 1
    "floating to 255": lambda x: (x * 255).astype(np.float32),
    "floating to 65535": lambda x: (x * 65535).astype(np.float32),  # before: nearly all white
}


@pytest.mark.parametrize("levels", LEVELS)
def test_greys_of_many_levels_are_seen(levels: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 80 * 80).reshape(80, 80)
    Image.fromarray(LEVELS[levels](ramp)).save(tmp_path / "grey.tif")
    assert np.abs(read(tmp_path / "grey.tif")[..., 0] - 255 * ramp).max() <= 1.01


def tiff(pixels: bytes, bits: int, photometric: int) -> bytes:
    """80 x 80 greys; photometric: 0 for white at 0, 1 for black."""
    entries = [(256, 80), (257, 80), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 80)]
    entries += [(279, len(pixels))]
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries
    )
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory + bytes(4)


@pytest.mark.parametrize("bits", [8, 16])
def test_greys_of_which_white_is_zero_are_no_negative(bits: int, tmp_path: Path) -> None:
    """Before, those of 16 bits were read as a negative."""
    ramp = np.linspace(0, 2**bits - 1, 80 * 80).round()
    pixels = (2**bits - 1 - ramp).astype(f"<u{bits // 8}").tobytes()
    (tmp_path / "fax.tif").write_bytes(tiff(pixels, bits, photometric=0))
    assert np.abs(read(tmp_path / "fax.tif")[..., 0].ravel() - ramp / (2**bits - 1) * 255).max() <= 1.01


def test_packed_twelve_bits_and_numbers_that_are_none(tmp_path: Path) -> None:
    """Three bytes hold two levels; NaN and infinity are black."""
    ramp = np.linspace(0, 4095, 80 * 80).round().astype(np.uint16)
    first, second = ramp[::2], ramp[1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
    (tmp_path / "packed.tif").write_bytes(tiff(packed, bits=12, photometric=1))
    assert np.abs(read(tmp_path / "packed.tif")[..., 0].ravel() - ramp / 4095 * 255).max() <= 1.01
    odd = np.full((80, 80), 0.5, np.float32)
    odd[0], odd[1] = np.nan, np.inf
    Image.fromarray(odd).save(tmp_path / "odd.tif")
    assert set(read(tmp_path / "odd.tif")[:2].ravel()) == {0} and set(read(tmp_path / "odd.tif")[2:].ravel()) == {128}


# --- JPEGs that end early


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_without_its_end_is_whole(lost: int, options: dict, portrait: Image.Image, tmp_path: Path) -> None:
    """Before: "not a picture that can be read". Every viewer shows it."""
    portrait.save(tmp_path / "whole.jpg", **options)
    (tmp_path / "short.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-lost])
    assert np.array_equal(read(tmp_path / "short.jpg"), read(tmp_path / "whole.jpg"))


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_jpeg_of_which_pixels_are_missing_is_refused(share, options, portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "cut.jpg", **options)
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: int(share * len(content))])
    with pytest.raises(GuideError, match="is not a picture that can be read"):
        load_photo(tmp_path / "cut.jpg")


def test_nothing_is_left_changed_in_pillow(colours: Image.Image, tmp_path: Path) -> None:
    before = (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    load_photo(with_chunk(colours, tmp_path / "odd.png", ODD["2 MB of text, packed"]))
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
