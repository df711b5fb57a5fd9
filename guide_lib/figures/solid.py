"""Heads as things in space: a mesh with colours, a depth picture, and a film of the camera going around.

>>> frames = [to_pil(generator.picture(w_u, view)) for view in around(count=3)]
>>> film_bytes(frames)[8:12]                               # WebP: browsers play it in place
b'WEBP'

A radiance field has no surface. Where a hundredth of its box halves the light there is matter, and a mesh is drawn
around it (marching cubes: Lorensen and Cline 1987), as far as cameras look: what lies beyond was never taught.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from guide_lib.errors import GuideError
from guide_lib.figures.plots import to_pil
from guide_lib.files import written_whole
from guide_lib.generators.base import View
from guide_lib.generators.cameras import intrinsics, look_at
from guide_lib.generators.eg3d import EG3D, look_up
from guide_lib.heads.raster import FAR, cover, nearest
from guide_lib.heads.render import project
from guide_lib.heads.shape import normals

HALVED = 0.01  # of the box
POINTS = 1 << 17  # of the field that are asked at a time: bounds the memory
MET = 0.2  # the share of a ray's light that should come from matter
LIGHT = (-0.4, 0.5, 0.8)  # where clay is lit from, in the camera's frame: left, above, in front


@dataclass(frozen=True)
class Mesh:
    """Coloured triangles. vertices: [V, 3], scene units. faces: [F, 3], counter-clockwise as seen from outside.

    colours: [V, 3], RGB in 0 to 255.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray

    def save(self, path: Path) -> None:
        """Write a PLY or GLB file, by the ending of the name: for Blender, MeshLab and most viewers, or for a page.

        Raises:
            GuideError: trimesh is not installed, or the name ends otherwise.
        """
        try:
            from trimesh import Trimesh
            from trimesh.visual.color import srgb_to_linear
        except ImportError as error:
            raise GuideError("Meshes are written by trimesh; install it with pip install trimesh.") from error
        kind, colours = path.suffix[1:].lower(), self.colours
        if kind not in ("ply", "glb"):
            raise GuideError(f"A mesh is written as .ply or .glb, not as {path.name}; choose such a name.")
        if kind == "glb":  # whose colours are amounts of light
            colours = np.rint(255 * srgb_to_linear(colours)).astype(np.uint8)
        mesh = Trimesh(self.vertices, self.faces, vertex_colors=colours, process=False)
        with written_whole(path) as partial:
            partial.write_bytes(mesh.export(file_type=kind))

    def clay(self, view: View | None = None, side: int = 192) -> Image.Image:
        """A picture of the shape alone, of one grey, lit from the left; side: in pixels."""
        view, vertices, faces = view or View(), torch.from_numpy(self.vertices), torch.from_numpy(self.faces).long()
        pose = look_at(view.yaw, view.pitch)
        found = cover(project(vertices, pose, side), faces, side, one_sided=True)
        depth = nearest(torch.full((side * side,), FAR), found)
        first = found[found.depth <= depth[found.pixel]]
        facing = F.normalize(first.at(normals(vertices, faces), faces), dim=1)
        left, up, toward = LIGHT
        light = F.normalize(pose[:3, :3] @ torch.tensor([left, -up, -toward]), dim=0)  # x right, y down, z away
        page = torch.ones(side * side)
        page[first.pixel] = 1.7 * (facing @ light).clamp(min=0) - 0.9
        return to_pil(page.view(1, side, side).expand(3, -1, -1))


@torch.no_grad()
def mesh_of(generator: EG3D, ws: Tensor, side: int = 128) -> Mesh:
    """The largest connected surface in the field of ws [1, rows, w_dim]; side: points of the grid along an edge.

    Raises:
        GuideError: scikit-image is not installed, or there is no matter in the field.
    """
    try:
        from skimage.measure import label, marching_cubes
    except ImportError as error:
        raise GuideError("Meshes are made by scikit-image; install it with pip install scikit-image.") from error
    config, planes = generator.config, generator.planes(ws)
    cube = min(config.box_warp, config.radius / intrinsics(config.field_of_view)[0, 0].item())  # what a camera sees
    edge = torch.linspace(-cube / 2, cube / 2, side)
    grid = torch.stack(torch.meshgrid(edge, edge, edge, indexing="ij"), dim=-1).view(-1, 3)
    strength = F.softplus(_field(generator, planes, grid)[:, 0] - 1).view(side, side, side).numpy()
    level = math.log(2) / (HALVED * config.box_warp)
    parts = label(strength > level)
    if not parts.any():
        raise GuideError("There is nothing solid in this field; choose a generator that was trained.")
    head = parts == 1 + np.bincount(parts.flat)[1:].argmax()
    # A surface needs an outside, and the rest of what is solid is none of the head.
    strength = np.pad(np.where(head | (parts == 0), strength, 0), 1)
    vertices, faces, _, _ = marching_cubes(strength, level, gradient_direction="ascent")
    places = (vertices - 1) / (side - 1) * cube - cube / 2
    colours = _field(generator, planes, torch.from_numpy(places).float())[:, 1:4].clamp(0, 1)
    return Mesh(places.astype(np.float32), faces.astype(np.int32), (255 * colours + 0.5).byte().numpy())


def _field(generator: EG3D, planes: Tensor, points: Tensor) -> Tensor:
    """Density, before its softplus, and colours at points [M, 3]: [M, 1 + C], on the CPU."""
    found = []
    for some in points.split(POINTS):
        looked_up = look_up(planes, some[None].to(planes), generator.config.box_warp, generator.config.axis_slip)
        density, colours = generator.decoder(looked_up)
        found.append(torch.cat([density, colours[0]]).T.cpu())
    return torch.cat(found)


@torch.no_grad()
def depth_picture(generator: EG3D, ws: Tensor, view: View | None = None) -> Image.Image:
    """How far away each ray of a view of ws [1, rows, w_dim] meets matter: what is near is bright, nothing is black."""
    features, depth = (part[0] for part in generator.render(generator.planes(ws), *generator.camera(view or View())))
    sampling = generator.config.sampling
    bright = 1 - 2 * (depth - sampling.near) / (sampling.far - sampling.near)
    met = features.amax(0) > 2 * MET - 1  # where a ray meets nothing, all features are -1, and its depth is chance
    return to_pil(torch.where(met, bright, -1.0).expand(3, -1, -1))


def around(yaw: float = 35.0, count: int = 24) -> list[View]:
    """Cameras that swing once from the left to the right and back, slowly where they turn; yaw: how far, degrees.

    >>> [round(view.yaw) for view in around(30, 4)]
    [0, 30, 0, -30]
    """
    return [View(yaw * math.sin(2 * math.pi * step / count)) for step in range(count)]


def film_bytes(frames: Sequence[Image.Image], seconds: float = 2.4) -> bytes:
    """Frames of one size as an animated WebP that starts again for ever; seconds: of one round."""
    file = io.BytesIO()
    each = round(1000 * seconds / len(frames))
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=each, loop=0, quality=80)
    return file.getvalue()


def mp4_bytes(frames: Sequence[Image.Image], seconds: float = 2.4) -> bytes:
    """The same once, as MP4 (H.264), for slides and players that know no WebP. Sides are even numbers of pixels.

    Raises:
        GuideError: PyAV is not installed, or a side is odd.
    """
    try:
        import av
    except ImportError as error:
        raise GuideError("MP4 is written by PyAV; install it with pip install av.") from error
    if any(side % 2 for side in frames[0].size):
        raise GuideError("MP4 takes frames with even sides, not {} x {}; resize them.".format(*frames[0].size))
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as film:
        stream = film.add_stream("h264", rate=Fraction(len(frames) / seconds).limit_denominator(1000))
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"  # what every player knows
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_image(frame)))
        film.mux(stream.encode())  # the frames that it still holds back
    return file.getvalue()


def film_html(frames: Sequence[Image.Image], alt: str, seconds: float = 2.4) -> str:
    """The film of `film_bytes` as an HTML image that needs no file, for pages and notebooks; alt: what it shows."""
    data = base64.b64encode(film_bytes(frames, seconds)).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/webp;base64,{data}">'
