"""Meshes, depth pictures and films of a field whose surface is known: a ball."""

import base64
import io
import sys

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from guide_lib.errors import GuideError
from guide_lib.figures import solid
from guide_lib.figures.solid import Mesh, around, depth_picture, film_bytes, film_html, mesh_of, mp4_bytes
from guide_lib.generators import View
from guide_lib.generators.eg3d import EG3D, EG3DConfig
from guide_lib.generators.volume import Sampling

RADIUS = 0.2


@pytest.fixture
def ball(monkeypatch):
    """A network whose field is a red ball of `RADIUS` around the origin, and a speck beside it."""
    config = EG3DConfig(
        z_dim=8, w_dim=8, plane_size=16, plane_channels=4, channel_max=8, render_size=24, enlarge_from=24,
        enlarge_widths=(4,), pivot=(0.0, 0.0, 0.0), sampling=Sampling(near=2.3, far=3.1, coarse=32, fine=32),
    )  # fmt: skip
    generator = EG3D.random(config, torch.Generator().manual_seed(0))

    def look_up(planes, points, *_):
        return points.mT

    class Field(torch.nn.Module):
        def forward(self, points):
            away = torch.minimum(points.norm(dim=1) - RADIUS, (points - 0.25).norm(dim=1) - 0.05)
            away = torch.minimum(away, 0.38 - points[:, 1])  # a ceiling that no camera sees
            colours = torch.zeros(len(points), 4, points.shape[2])
            colours[:, 0] = 1
            return -4000 * away + 70, colours  # ln 2 / 0.01 = 69 at the surface

    for module in (solid, sys.modules[EG3D.__module__]):
        monkeypatch.setattr(module, "look_up", look_up)
    generator.decoder = Field()
    return generator


def test_the_mesh_of_a_ball_is_a_ball_and_the_speck_is_left_out(ball):
    mesh = mesh_of(ball, ball.w_avg, side=48)
    away = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(away - RADIUS).max() < 0.01
    assert (mesh.colours == [255, 0, 0]).all()
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    volume = (np.cross(a, b) * c).sum() / 6  # positive only if the triangles look outward
    assert volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.05)


@pytest.mark.parametrize(("name", "shown"), [("one.ply", [188, 0, 255]), ("one.GLB", [128, 0, 255])])
def test_a_mesh_is_written_as_viewers_expect_it(tmp_path, name, shown):
    colours = np.tile(np.array([188, 0, 255], np.uint8), (3, 1))  # 188 of sRGB is half the light, of which GLB speaks
    Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32), colours).save(tmp_path / name)
    again = trimesh.load_mesh(tmp_path / name, process=False)
    assert again.vertices.tolist() == np.eye(3).tolist() and again.faces.tolist() == [[0, 1, 2]]
    assert again.visual.vertex_colors[:, :3].tolist() == [shown] * 3


def test_a_mesh_of_another_kind_is_refused_with_those_that_there_are(tmp_path):
    mesh = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8))
    with pytest.raises(GuideError, match=r"\.ply or \.glb, not as one\.stl"):
        mesh.save(tmp_path / "one.stl")
    assert not list(tmp_path.iterdir())


def test_without_trimesh_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    mesh = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8))
    with pytest.raises(GuideError, match="pip install trimesh"):
        mesh.save(tmp_path / "one.ply")


def test_clay_is_lit_from_the_left_above_and_white_around(ball):
    grey = np.asarray(mesh_of(ball, ball.w_avg, side=48).clay(side=64).convert("L")).astype(int)
    rows, columns = np.nonzero(grey < 250)
    assert abs(rows.mean() - 31.5) < 1 and abs(columns.mean() - 31.5) < 1
    assert (grey[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert np.ptp(columns) == pytest.approx(2 * RADIUS / 0.633 * 64, abs=4)  # what a picture shows at the origin
    assert grey[24, 24] > grey[40, 40] + 60  # pixels count downward
    aside = np.asarray(mesh_of(ball, ball.w_avg, side=48).clay(View(90), side=64).convert("L")).astype(int)
    assert np.abs(aside - grey).mean() < 6  # the light goes where the camera goes


def test_a_film_stands_in_a_page_by_itself():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    page = film_html(frames, 'A "turn"')
    assert page.startswith('<img alt="A &quot;turn&quot;" src="data:image/webp;base64,') and page.endswith('">')
    film = Image.open(io.BytesIO(base64.b64decode(page.split("base64,")[1][:-2])))
    assert film.n_frames == 2 and film.size == (8, 8)


def test_an_empty_field_has_no_mesh(ball):
    ball.decoder.forward = lambda points: (-100 + 0 * points[:, 0], points)
    with pytest.raises(GuideError, match="nothing solid"):
        mesh_of(ball, ball.w_avg, side=8)


def test_without_scikit_image_a_sentence_says_what_to_do(ball, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(GuideError, match="pip install scikit-image"):
        mesh_of(ball, ball.w_avg)


def test_the_nearest_point_of_a_ball_is_its_brightest(ball):
    grey = np.asarray(depth_picture(ball, ball.w_avg, View(yaw=10)))[..., 0].astype(int)
    middle = grey[7:17, 7:17]  # the ball alone
    assert grey[12, 12] == middle.max() and grey[12, 12] > grey[12, 5] > grey[12, 0] == 0  # nothing is black
    assert grey[12, 12] == pytest.approx(255 * (1 - (2.7 - RADIUS - 2.3) / 0.8), abs=4)


def test_a_film_keeps_every_frame_and_its_time():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue", "white")]
    with Image.open(io.BytesIO(film_bytes(frames, seconds=1.0))) as film:
        assert film.n_frames == 4 and film.info["loop"] == 0
        film.seek(1)
        film.load()
        assert film.info["duration"] == 250
    yaws = [view.yaw for view in around(20, 12)]
    assert max(yaws) == pytest.approx(20) and sum(yaws) == pytest.approx(0, abs=1e-9)


def test_an_mp4_shows_the_same_frames_for_as_long():
    av = pytest.importorskip("av")
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 220)]
    frames = [Image.new("RGB", (32, 16), colour) for colour in colours]
    with av.open(io.BytesIO(mp4_bytes(frames, seconds=1.5))) as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.duration == pytest.approx(1.5 * av.time_base, abs=1000)
        assert film.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert [picture.shape for picture in shown] == [(16, 32, 3)] * 4
    for picture, colour in zip(shown, colours, strict=True):
        assert np.abs(picture.astype(int) - colour).max() < 20
    with pytest.raises(GuideError, match="even sides, not 31 x 16"):
        mp4_bytes([Image.new("RGB", (31, 16))])


def test_without_pyav_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(GuideError, match="pip install av"):
        mp4_bytes([Image.new("RGB", (16, 16))])
