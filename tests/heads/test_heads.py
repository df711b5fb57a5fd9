"""The renderer of heads against explicit loops, and what must hold of its people and pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from guide_lib.generators.cameras import intrinsics, look_at, pixel_rays
from guide_lib.heads import NAMED, NUMBERS, Light, describe, photograph, photographs
from guide_lib.heads.pack import load_pack
from guide_lib.heads.person import SHAPES
from guide_lib.heads.raster import cover, look_up
from guide_lib.heads.render import BACKGROUND, project
from guide_lib.heads.scene import build
from guide_lib.heads.shade import Lamp
from guide_lib.heads.shape import mesh, normals, side_names

PEOPLE = np.random.default_rng(11).standard_normal((400, NUMBERS))
SIDE = look_at(yaw=25, pitch=-10)


@pytest.fixture(scope="module")
def bald():
    """Somebody without hair, whose outermost surface is the mesh."""
    return replace(describe(PEOPLE[0]), hair="bald")


# --- people ---


def test_sixty_four_numbers_are_a_person_and_only_their_direction_counts():
    assert NUMBERS == 64
    once, twice = describe(PEOPLE[0]), describe(3 * PEOPLE[0])
    for name, value in vars(once).items():
        assert (
            getattr(twice, name) == pytest.approx(value)
            if not isinstance(value, str)
            else getattr(twice, name) == value
        )


def test_people_lie_within_their_ranges_and_every_choice_is_made():
    people = [describe(z) for z in PEOPLE]
    assert all(abs(p.ancestry.sum() - 1) < 1e-9 and (p.ancestry >= 0).all() for p in people)
    for low, high, name in ((0, 1, "gender"), (0, 0.9, "age"), (-0.9, 0.9, "weight"), (0, 5, "iris"), (0, 1, "beard")):
        values = np.array([getattr(p, name) for p in people])
        assert low <= values.min() < values.max() <= high, name
    assert {p.hair for p in people} >= {"short01", "short02", "short04", "long01", "ponytail01", "buzz"}
    assert {p.brow for p in people} == {"eyebrow001", "eyebrow004", "eyebrow009", "eyebrow012"}
    assert np.abs(np.stack([p.shape for p in people])).max() <= 1


def test_attributes_are_known_directions():
    for name, index in NAMED.items():
        low, high = (describe(PEOPLE[1] + amount * np.eye(NUMBERS)[index]) for amount in (-2, 2))
        assert getattr(low, name) < getattr(high, name)


def test_the_pack_has_every_target_and_skin_under_neutral_names():
    pack = load_pack()
    names = {name for plus, minus, _ in SHAPES for target in (plus, minus) for name in side_names(target)}
    assert names <= set(pack.targets)
    assert not any(
        word in name for name in (*pack.targets, *pack.textures) for word in ("african", "asian", "caucasian")
    )


# --- drawing, against loops ---


def test_triangles_cover_the_pixels_whose_centres_they_hold():
    rng = torch.Generator().manual_seed(1)
    points = torch.cat([12 * torch.rand(30, 2, generator=rng) - 2, 1 + torch.rand(30, 1, generator=rng)], dim=1)
    faces, size = torch.arange(30).view(10, 3), 8
    found = cover(points, faces, size, one_sided=False)
    seen = {(t, p): (s, d) for t, p, s, d in zip(*(x.tolist() for x in vars(found).values()), strict=True)}
    expected = 0
    for t, corners in enumerate(points.double()):
        if t >= 10:
            break
        corners = points[faces[t]].double()
        system = torch.cat([corners[:, :2].T, torch.ones(1, 3, dtype=torch.float64)])
        for pixel in range(size * size):
            centre = torch.tensor([pixel % size + 0.5, pixel // size + 0.5, 1.0], dtype=torch.float64)
            flat = torch.linalg.solve(system, centre)
            if (flat >= 0).all():
                expected += 1
                depth = 1 / (flat / corners[:, 2]).sum()
                shares, at = seen[t, pixel]
                assert at == pytest.approx(depth.item(), rel=1e-4)
                assert shares == pytest.approx((flat / corners[:, 2] * depth).tolist(), abs=1e-3)
    assert expected == len(seen) > 50


def test_one_sided_triangles_turn_their_back():
    corner = torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 4.0, 1.0]])
    faces = torch.tensor([[0, 1, 2]])
    counts = [len(cover(corner, f, 4, one_sided=True).pixel) for f in (faces, faces.flip(1))]
    assert sorted(counts) == [0, 10]


def test_textures_are_looked_up_between_texels_v_upward():
    texture = torch.arange(12.0).view(3, 4, 1)
    at = torch.tensor([[0.125, 5 / 6], [0.25, 5 / 6], [0.125, 0.5]])  # a texel, between two, the one below the first
    assert look_up(texture, at)[:, 0].tolist() == pytest.approx([0.0, 0.5, 4.0], abs=1e-5)


def test_normals_of_a_head_point_outward(bald):
    vertices, _, _ = mesh(load_pack(), bald)
    body = load_pack().skin.faces.unique()
    outward = normals(vertices, load_pack().skin.faces)[body]
    crown = vertices[body][:, 1].argmax()
    assert outward[crown, 1] > 0.9
    assert torch.allclose(outward.norm(dim=1), torch.ones(len(body)), atol=1e-4)


def test_depth_is_where_a_ray_meets_the_skin(bald):
    """Every triangle is asked, by Möller and Trumbore's test."""
    photo, size = photograph(bald, SIDE, size=24, samples=1), 24
    origins, directions = pixel_rays(SIDE[None], intrinsics(18.837)[None], size)
    skin = build(load_pack(), bald)[0]
    a, b, c = (skin.vertices[skin.surface.faces[:, k]].double() for k in range(3))
    checked = 0
    for pixel in photo.depth.flatten().nonzero()[:, 0].tolist()[::7]:
        start, way = origins[0, pixel].double(), directions[0, pixel].double()
        across = torch.linalg.cross(way.expand_as(a), c - a)
        scale = 1 / ((b - a) * across).sum(1)
        second = scale * ((start - a) * across).sum(1)
        other = torch.linalg.cross(start - a, b - a)
        third = scale * (other @ way)
        t = scale * ((c - a) * other).sum(1)
        hit = (second >= 0) & (third >= 0) & (second + third <= 1) & (t > 0)
        nearest = t[hit].min().item()
        if abs(nearest - photo.depth.flatten()[pixel].item()) < 1e-4:
            checked += 1
        else:  # something lies in front of the skin: an eye, a lash, the shirt
            assert photo.depth.flatten()[pixel] < nearest
    assert checked >= 25


def test_both_renderers_put_a_point_on_the_same_pixel():
    points = 0.3 * torch.rand(50, 3, generator=torch.Generator().manual_seed(2)) - 0.15
    size = 64
    origins, directions = pixel_rays(SIDE[None], intrinsics(18.837)[None], size)
    for point, (x, y, depth) in zip(points, project(points, SIDE, size).tolist(), strict=True):
        pixel = int(y) * size + int(x)
        way = point - origins[0, pixel]
        aside = way - (way @ directions[0, pixel]) * directions[0, pixel]
        half_a_pixel = depth / (size * 4.263) * 0.75  # its diagonal
        assert aside.norm() <= half_a_pixel


# --- pictures ---


def test_a_place_has_one_colour_from_wherever_it_is_seen(bald):
    left, right = photographs(bald, torch.stack([look_at(-12, 0), look_at(12, 0)]), size=96)
    origins, directions = pixel_rays(look_at(-12, 0)[None], intrinsics(18.837)[None], 96)
    depth = left.depth.flatten()
    seen = depth.nonzero()[:, 0]
    points = origins[0, seen] + directions[0, seen] * depth[seen, None]
    there = project(points, look_at(12, 0), 96)
    column, row = there[:, 0].long().clamp(0, 95), there[:, 1].long().clamp(0, 95)
    visible = (right.depth[row, column] - (points - look_at(12, 0)[:3, 3]).norm(dim=1)).abs() < 0.004
    colours = left.image.flatten(1)[:, seen][:, visible], right.image[:, row, column][:, visible]
    assert visible.float().mean() > 0.5
    assert (colours[0] - colours[1]).abs().mean() < 0.04
    shuffled = colours[1][:, torch.randperm(int(visible.sum()), generator=torch.Generator().manual_seed(0))]
    assert (colours[0] - shuffled).abs().mean() > 0.12


def test_light_changes_colours_and_nothing_else(bald):
    usual, other = (photograph(bald, SIDE, 32, light) for light in (None, Light.draw(np.random.default_rng(3))))
    assert torch.equal(usual.alpha, other.alpha) and torch.equal(usual.depth, other.depth)
    assert (usual.image - other.image).abs().mean() > 0.01


def test_the_same_person_is_drawn_the_same_and_the_corner_is_background():
    once, again = (photograph(describe(PEOPLE[3]), look_at(0, 0), 32) for _ in range(2))
    assert torch.equal(once.image, again.image)
    assert ((once.image[:, 0, 0] + 1) / 2).tolist() == pytest.approx(BACKGROUND, abs=1e-5)
    assert once.alpha.min() == 0 and once.alpha.max() <= 1 + 1e-5 and (once.depth >= 0).all()


def test_a_smile_moves_the_mouth_and_not_the_crown(bald):
    still, smiling = (mesh(load_pack(), replace(bald, smile=amount)) for amount in (0.0, 0.8))
    moved = (still[0] - smiling[0]).norm(dim=1)
    mouth = still[0][load_pack().mouth_shares[:, 0].argmax()]
    near = (still[0] - mouth).norm(dim=1) < 0.6
    assert moved[near].max() > 0.03 and moved[still[0][:, 1] > mouth[1] + 1.6].max() < 1e-4
    assert torch.equal(still[1], smiling[1]) and still[2] == smiling[2]


def test_a_shape_number_moves_what_it_names(bald):
    wide, narrow = (mesh(load_pack(), replace(bald, shape=amount * np.eye(len(SHAPES))[0])) for amount in (0.8, -0.8))
    body = load_pack().skin.faces.unique()
    head = [m[0][body][m[0][body][:, 1] > m[1][1]] for m in (wide, narrow)]  # above the eyes
    assert head[0][:, 0].abs().max() > 1.1 * head[1][:, 0].abs().max()


def test_a_highlight_is_where_the_lamp_is_mirrored_to_a_viewer_in_front():
    place = torch.tensor([[0.5, 0.0, 0.0]])
    toward_viewer = torch.nn.functional.normalize(torch.tensor([[-0.5, 0.0, 2.7]]), dim=1)
    mirror = torch.nn.functional.normalize(toward_viewer + torch.tensor([[0.0, 0.0, 1.0]]), dim=1)
    lamp = Light(direction=(0.0, 0.0, 1.0))
    assert Lamp.on(lamp, place, mirror).mirrors.item() == pytest.approx(1, abs=1e-5)
    assert Lamp.on(lamp, place, toward_viewer).mirrors.item() < 0.999


def test_hair_covers_and_its_absence_uncovers(bald):
    without, long = (photograph(replace(bald, hair=hair), look_at(0, 0), 48) for hair in ("bald", "long01"))
    assert long.alpha.sum() > 1.1 * without.alpha.sum()
