"""The tri-plane generator against reference values, its renderer against explicit loops and closed forms."""

import copy
import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from project import GOLDEN
from safetensors.torch import load_file
from tiny import TinyEmbedder, TinyPerceptual

from guide_lib.generators import View, cameras, eg3d, volume
from guide_lib.generators.eg3d import EG3D, EG3DConfig, look_up
from guide_lib.generators.volume import Jitter, Sampling
from guide_lib.runtime import mixed_precision
from guide_lib.targets import ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn

REFERENCE = json.loads((GOLDEN / "eg3d-tiny64.json").read_text())
# cloned: tensors that a file leaves at odd addresses are computed with other rounding
IO = {name: tensor.clone() for name, tensor in load_file(GOLDEN / "eg3d-tiny64-io.safetensors").items()}
TINY64 = EG3DConfig(
    z_dim=64,
    w_dim=64,
    plane_size=64,
    plane_channels=16,
    channel_base=2048,
    channel_max=64,
    render_size=16,
    enlarge_from=16,
    enlarge_widths=(32, 16),
    sampling=Sampling(coarse=12, fine=12, rays_at_once=100),
)
POSES, INTRINSICS = IO["in.c_render"][:, :16].view(-1, 4, 4), IO["in.c_render"][:, 16:].view(-1, 3, 3)
JITTERS = {
    "mid": None,
    "seeded": Jitter(IO["render_seeded.u_coarse"][..., 0], IO["render_seeded.u_fine"].view(2, 256, 12)),
}


@cache
def tiny64() -> EG3D:
    generator = EG3D(TINY64)
    generator.load_state_dict(load_file(GOLDEN / "eg3d-tiny64-state.safetensors"), strict=True)
    return generator.requires_grad_(False).eval()


def off(found: torch.Tensor, name: str) -> float:
    """The largest difference to a reference tensor, relative to that tensor's largest entry."""
    expected = IO[name]
    assert found.shape == expected.shape, name
    return ((found - expected).abs().max() / expected.abs().max()).item()


# --- reference values ---


def test_mapping_equals_the_reference():
    mapping = tiny64().backbone.mapping
    w = mapping(IO["in.z"], IO["in.c_cond"])
    assert off(mapping.rows(w, 10), "mapping.ws") <= 1e-4
    assert off(mapping.rows(w, 10, 0.7), "mapping.ws_psi0.7") <= 1e-4
    assert off(mapping.rows(w, 10, 0.7, cutoff=8), "mapping.ws_psi0.7_cut8") <= 1e-4
    assert off(tiny64().mapping(IO["in.z"], 0.7), "mapping.ws_psi0.7") <= 1e-4  # conditioned on the frontal camera


def test_the_camera_conditions_the_mapping_as_far_as_its_scale():
    blind = EG3D(replace(TINY64, camera_scale=0.0))
    blind.load_state_dict(tiny64().state_dict())
    blind.requires_grad_(False)
    z, side = IO["in.z"], View(yaw=40)
    assert not torch.equal(tiny64().mapping(z, view=side), tiny64().mapping(z))
    assert torch.equal(blind.mapping(z, view=side), blind.mapping(z))
    assert torch.equal(blind.mapping(z)[:, 0], blind.backbone.mapping(z, torch.zeros(2, 25)))


def test_tri_planes_equal_the_reference():
    assert off(tiny64().planes(IO["mapping.ws"]), "planes.const") <= 1e-4


@pytest.mark.parametrize("mode", JITTERS)
def test_rendering_equals_the_reference(mode):
    features, depth = tiny64().render(IO["planes.const"], POSES, INTRINSICS, JITTERS[mode])
    found = {
        "features": features.flatten(2).mT,
        "image_raw": features[:, :3],
        "image_depth": depth,
        "image": tiny64().superresolution(features, IO["mapping.ws"]),
    }
    errors = {name: off(tensor, f"render_{mode}.{name}") for name, tensor in found.items()}
    print({name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) <= 1e-4


@pytest.mark.parametrize("mode", JITTERS)
def test_sample_depths_equal_the_reference(mode):
    jitter = JITTERS[mode] or Jitter.middle(TINY64.sampling)
    depths = volume.stratified_depths(TINY64.sampling, jitter.coarse.expand(2, 256, -1))
    assert off(depths[..., None], f"render_{mode}.depths_coarse") <= 1e-6
    origins, directions = cameras.pixel_rays(POSES, INTRINSICS, 16)
    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
    density, _ = tiny64().decoder(look_up(IO["planes.const"], points.flatten(1, 2)))
    fine = volume.importance_depths(depths, volume.march(depths, density.view(depths.shape)), jitter.fine)
    assert off(fine[..., None], f"render_{mode}.depths_fine") <= 1e-4


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_equal_the_reference(layout):
    student = tiny64().student().to(memory_format=layout)
    ws = IO["mapping.ws"].clone().requires_grad_()
    features, depth = student.render(student.planes(ws), POSES, INTRINSICS)
    image = student.superresolution(features, ws)
    weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(9))
    loss = (image * weights).mean() + 0.1 * features[:, :3].square().mean() + 0.1 * depth.mean()
    loss.backward()
    assert off(loss.detach().view(1), "grad_mid.loss") <= 1e-4
    assert off(ws.grad, "grad_mid.ws") <= 1e-3
    norms = {name: p.grad.norm().item() for name, p in student.trainable_parameters().items()}
    assert norms == pytest.approx(REFERENCE["grad_param_norms"], rel=1e-3)
    assert all(p.grad is None for p in student.decoder.parameters())


def test_full_size_names_and_shapes_equal_the_checkpoint():
    with torch.device("meta"):
        generator = EG3D()
    parameters = dict(generator.named_parameters())
    found = {
        name: list(tensor.shape) if name in parameters else {"buffer": list(tensor.shape)}
        for name, tensor in generator.state_dict().items()
    }
    assert found == json.loads((GOLDEN / "eg3d-ffhq512-keys.json").read_text())
    assert sum(p.numel() for p in generator.trainable_parameters().values()) == 28_207_533
    assert generator.rows == 14 and generator.resolution == 512


# --- cameras ---


@pytest.mark.parametrize("h", ["-0.26", "0.0", "0.2"])
@pytest.mark.parametrize("v", ["-0.2", "0.0"])
@pytest.mark.parametrize("pivot", ["0_0_0", "0_0_0.2"])
def test_look_at_equals_the_reference(h, v, pivot):
    """The reference counts the pitch by v, phi = arccos(1 - 2 v / pi) from the top; we count degrees upward."""
    golden = load_file(GOLDEN / "stylegan2-ops.safetensors")
    above = 90 - math.degrees(math.acos(1 - 2 * (math.pi / 2 + float(v)) / math.pi))
    pose = cameras.look_at(math.degrees(float(h)), above, 2.7, tuple(map(float, pivot.split("_"))))
    torch.testing.assert_close(pose[None], golden[f"LookAt/{h}/{v}/{pivot}"], atol=1e-6, rtol=0)
    torch.testing.assert_close(cameras.intrinsics(18.837), golden["FOV_to_intrinsics18.837"], atol=1e-5, rtol=0)


@given(st.floats(-60, 60), st.floats(-40, 40), st.integers(0, 24))
def test_a_ray_projects_back_to_its_pixel(yaw, pitch, pixel):
    pose, k = cameras.look_at(yaw, pitch, 2.7, (0, 0, 0.2)), cameras.intrinsics(18.837)
    origins, directions = cameras.pixel_rays(pose[None], k[None], 5)
    in_camera = torch.linalg.inv(pose) @ torch.cat([origins + 3 * directions, torch.ones(1, 25, 1)], -1)[0, pixel]
    u, v, depth = k @ in_camera[:3]
    column, row = pixel % 5, pixel // 5
    assert (u / depth).item() == pytest.approx((column + 0.5) / 5, abs=1e-4)
    assert (v / depth).item() == pytest.approx((row + 0.5) / 5, abs=1e-4)
    assert depth > 0 and directions.norm(dim=-1).sub(1).abs().max() < 1e-5


def test_positive_yaw_goes_to_plus_x_and_positive_pitch_up():
    assert cameras.look_at(20, 0)[0, 3] > 0.5 and cameras.look_at(0, 20)[1, 3] > 0.5


# --- volume rendering ---


def test_march_equals_a_loop(rng):
    depths = torch.rand(2, 3, 9, generator=rng).cumsum(-1)
    density = 6 * torch.randn(2, 3, 9, generator=rng)
    weights = volume.march(depths, density)
    for n in range(2):
        for r in range(3):
            through = 1.0
            for i in range(8):
                mean = (density[n, r, i] + density[n, r, i + 1]).item() / 2
                alpha = 1 - math.exp(-math.log1p(math.exp(mean - 1)) * (depths[n, r, i + 1] - depths[n, r, i]).item())
                assert weights[n, r, i].item() == pytest.approx(alpha * through, abs=1e-5)
                through *= 1 - alpha + 1e-10


def test_importance_depths_invert_the_distribution(rng):
    """By numpy's interpolation of the cumulative sum."""
    depths = torch.rand(2, 3, 9, generator=rng).cumsum(-1)
    weights = torch.rand(2, 3, 8, generator=rng).pow(6)
    u = torch.rand(2, 3, 40, generator=rng)
    u[..., 0], u[..., 1] = 0, 1
    found = volume.importance_depths(depths, weights, u)
    for n in range(2):
        for r in range(3):
            w = weights[n, r].double().numpy()
            widened = [max(w[max(i - 1, 0) : i + 1]) for i in range(9 - 1)] + [w[-1]]
            smooth = np.array([(widened[i] + widened[i + 1]) / 2 for i in range(8)])[1:-1] + 0.01 + 1e-5
            cdf = np.concatenate([[0], np.cumsum(smooth / smooth.sum())])
            middles = ((depths[n, r, 1:] + depths[n, r, :-1]) / 2).double().numpy()[:7]
            expected = np.interp(u[n, r].double().numpy(), cdf, middles)
            np.testing.assert_allclose(found[n, r].numpy(), expected, atol=1e-4)


def uniform_field(density: float, colour: float):
    """The same matter everywhere."""

    def field(points):
        return torch.full(points.shape[:2], density), torch.full((len(points), 2, points.shape[1]), colour)

    return field


def parallel_rays(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, count, 3), torch.tensor([0.0, 0.0, 1.0]).expand(1, count, 3)


def test_uniform_matter_has_a_closed_form():
    """Sum of weights = 1 - exp(-density * length), whatever the samples, which reach from near to far here."""
    sampling = Sampling(near=1.0, far=2.0, coarse=5, fine=7)
    jitter = Jitter(torch.zeros(1, 1, 5), torch.rand(1, 6, 7))
    colours, depth = volume.render(uniform_field(0.4, 0.75), *parallel_rays(), sampling, jitter)
    mass = 1 - math.exp(-math.log1p(math.exp(0.4 - 1)))
    torch.testing.assert_close(colours, torch.full((1, 2, 6), 2 * 0.75 * mass - 1))
    assert ((depth > 1) & (depth < 1.5)).all()


def test_empty_rays_get_the_farthest_depth():
    sampling = Sampling(near=1.0, far=2.0, coarse=5, fine=7)
    colours, depth = volume.render(uniform_field(-200.0, 0.75), *parallel_rays(), sampling)
    assert torch.equal(colours, torch.full((1, 2, 6), -1.0))
    torch.testing.assert_close(depth, torch.full((1, 6), 2 + 0.25 / 2))


def test_a_thin_wall_is_found():
    """Opaque matter behind z = 1.6: depth and colour of every ray are the wall's."""

    def wall(points):
        z = points[..., 2]
        return 4000 * (z - 1.6), torch.stack([(z > 1.65).float(), torch.ones_like(z)], dim=1)

    colours, depth = volume.render(wall, *parallel_rays(), Sampling(near=1, far=2, coarse=48, fine=48))
    assert (depth - 1.6).abs().max() < 1 / 47  # one step of the coarse samples
    assert (colours[:, 0] < -0.9).all() and (colours[:, 1] > 0.95).all()


def test_samples_are_not_kept_for_the_way_back():
    """What autograd keeps of a rendering is the planes and the rays, not their many samples."""
    generator, planes, kept = tiny64(), IO["planes.const"][:1].clone().requires_grad_(), []
    rays = [part[:1] for part in cameras.pixel_rays(POSES, INTRINSICS, 16)]
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t)
    with hooks:
        colours, _ = volume.render(lambda x: generator.decoder(look_up(planes, x)), *rays, TINY64.sampling)
    assert sum(kept) < 0.1 * 256 * 24 * 16, "256 rays, 24 samples, 16 features"
    colours.square().sum().backward()
    assert planes.grad.abs().max() > 0


@pytest.mark.parametrize("mode", JITTERS)
def test_the_size_of_a_pass_bounds_memory_and_changes_nothing(mode):
    generator, planes = tiny64(), IO["planes.const"][:1]
    seen = []

    def counting(points):
        seen.append(points.shape[1])
        return generator.decoder(look_up(planes, points))

    rays = [part[:1] for part in cameras.pixel_rays(POSES, INTRINSICS, 16)]
    jitter = JITTERS[mode] and Jitter(*(part[:1] for part in (JITTERS[mode].coarse, JITTERS[mode].fine)))
    results = {}
    for size in (7, 256):
        seen.clear()
        sampling = replace(TINY64.sampling, rays_at_once=size)
        results[size] = volume.render(counting, *rays, sampling, jitter)
        assert max(seen) == size * 12
    for few, all_ in zip(results[7], results[256], strict=True):
        torch.testing.assert_close(few, all_, atol=1e-5, rtol=1e-5)


# --- tri-planes ---


@pytest.mark.parametrize("axis_slip", [True, False])
def test_look_up_equals_explicit_bilinear_interpolation(axis_slip, rng):
    planes, size, box = torch.randn(1, 6, 5, 5, generator=rng), 5, 1.6
    points = 1.8 * torch.rand(1, 60, 3, generator=rng) - 0.9  # some lie outside the box
    found = look_up(planes, points, box, axis_slip)

    def texel(plane, row, column):
        inside = 0 <= row < size and 0 <= column < size
        return plane[:, row, column] if inside else torch.zeros(2)

    for m, (x, y, z) in enumerate(points[0].tolist()):
        total = torch.zeros(2)
        for k, (a, b) in enumerate([(x, y), (x, z), (z, x) if axis_slip else (z, y)]):
            across, down = (((value * 2 / box + 1) * size - 1) / 2 for value in (a, b))
            for row in (math.floor(down), math.floor(down) + 1):
                for column in (math.floor(across), math.floor(across) + 1):
                    weight = (1 - abs(down - row)) * (1 - abs(across - column))
                    total += weight * texel(planes[0, 2 * k : 2 * k + 2], row, column)
        torch.testing.assert_close(found[0, :, m], total / 3, atol=1e-5, rtol=1e-4)


# --- the interface ---


def test_one_pass_gives_picture_and_planes_and_batches_do_not_mix():
    generator, view = tiny64(), View(yaw=10, pitch=5, jitter=3)
    both = generator.synthesis(IO["mapping.ws"], view)
    torch.testing.assert_close(both.features, IO["planes.const"], atol=1e-4, rtol=1e-4)
    alone = generator.synthesis(IO["mapping.ws"][1:], view)
    torch.testing.assert_close(both[1:].image, alone.image, atol=1e-4, rtol=1e-4)
    assert both.image.shape == (2, 3, 64, 64)


def test_a_view_decides_camera_and_jitter():
    """Yaw and pitch of the reference's second camera, which looks at the origin, draw the reference's picture."""
    generator = EG3D(replace(TINY64, pivot=(0.0, 0.0, 0.0)))
    generator.load_state_dict(tiny64().state_dict())
    generator.requires_grad_(False)
    x, y, z = POSES[1, :3, 3].tolist()
    view, ws = View(math.degrees(math.atan2(x, z)), math.degrees(math.asin(y / 2.7))), IO["mapping.ws"][1:]
    middle = generator.synthesis(ws, view).image
    expected = IO["render_mid.image"][1:]
    assert (middle - expected).abs().max() <= 1e-4 * expected.abs().max()
    one, same, other = (generator.synthesis(ws, replace(view, jitter=seed)).image for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other) and not torch.equal(one, middle)


def test_views_are_guides_cameras(rng):
    views = tiny64().sample_views(400, rng)
    yaws = np.array([view.yaw for view in views])
    assert yaws.min() < -14 and yaws.max() > 14 and abs(yaws).max() <= 15 and abs(yaws.mean()) < 1.5
    assert {round(view.pitch, 2) for view in views} == {7.31}
    assert len({view.jitter for view in views}) == 400


def test_rays_are_exact_in_mixed_precision(monkeypatch):
    seen, real = [], eg3d.pixel_rays
    monkeypatch.setattr(eg3d, "pixel_rays", lambda *args: seen.append(real(*args)) or seen[-1])
    generator, view = tiny64(), View(yaw=10)
    with torch.no_grad():
        generator.picture(IO["mapping.ws"][:1], view)
        with mixed_precision(torch.device("cpu")):
            generator.picture(IO["mapping.ws"][:1], view)
    assert torch.equal(seen[0][1], seen[1][1]), "eight bits of a direction are a ray several pixels off"


def test_every_ray_has_its_own_jitter(rng):
    jitter = Jitter.draw(TINY64.sampling, 256, rng)
    for part in (jitter.coarse, jitter.fine):
        assert part.shape == (1, 256, 12) and len(part.unique()) > 3000 and part.min() >= 0 and part.max() < 1


def test_pictures_rendered_at_another_size_are_resized_before_super_resolution():
    generator = EG3D(replace(TINY64, render_size=24))
    generator.load_state_dict(tiny64().state_dict())
    ws = IO["mapping.ws"][:1]
    with torch.no_grad():
        features, _ = generator.render(generator.planes(ws), *generator.camera(View()))
        small = F.interpolate(features, (16, 16), mode="bilinear", antialias=True)
        assert features.shape[-1] == 24
        assert torch.equal(generator.synthesis(ws).image, tiny64().superresolution(small, ws))


def test_a_random_network_of_any_size_is_unlearned():
    """Two steps of the method: only the backbone's synthesis moves, and every number stays finite."""
    config = replace(TINY64, z_dim=6, w_dim=6, plane_size=8, plane_channels=4, channel_base=64, channel_max=8)
    config = replace(config, render_size=4, enlarge_from=4, sampling=Sampling(coarse=4, fine=4))
    teacher = EG3D.random(config, torch.Generator().manual_seed(1))
    z = torch.randn(4096, 6, generator=torch.Generator().manual_seed(2))
    assert (teacher.mapping(z).mean((0, 1)) - teacher.w_avg[0, 0]).abs().max() < 0.2
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    w_u = teacher.sample(1, torch.Generator().manual_seed(3))
    density, colours = teacher.decoder(look_up(teacher.planes(w_u), torch.rand(1, 500, 3) - 0.5))
    assert density.std() > 5 and (colours.std(-1) > 0.1).all(), "there is something to see"
    run = unlearn(
        teacher,
        w_u,
        ufo_target(w_u, teacher.w_avg),
        UnlearningSettings(steps=2),
        perceptual=TinyPerceptual(),
        embedder=TinyEmbedder(),
    )
    *_, last = run
    assert math.isfinite(last.losses["total"]) and last.losses["local"] > 0
    changed = {name for name, tensor in last.student.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(teacher.trainable_parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_compiled_generator_draws_and_learns_the_same():
    """Its students are compiled as well. The backend is the one that needs no compiler: it changes how, not what."""
    plain, compiled = tiny64(), copy.deepcopy(tiny64())
    compiled.compile(backend="aot_eager")
    ws, view = IO["mapping.ws"][:1], View(yaw=5.0)
    torch.testing.assert_close(compiled.picture(ws, view), plain.picture(ws, view), rtol=1e-4, atol=1e-5)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    students = plain.student(), compiled.student()
    for student in students:
        student.picture(ws, view).square().sum().backward()
    for p, q in zip(*(student.trainable_parameters().values() for student in students), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-3, atol=1e-3 * p.grad.abs().max().item() + 1e-12)
    translated = [part._compiled_call_impl is not None for part in students[1].drawing_parts()]
    assert translated == [True] * 3 and all(part._compiled_call_impl is None for part in plain.drawing_parts())


def test_each_block_of_the_super_resolution_doubles_the_side():
    for widths, side in (((8,), 32), ((8, 6), 64), ((8, 6, 4), 128)):
        generator = EG3D.random(replace(TINY64, enlarge_widths=widths), torch.Generator().manual_seed(0))
        picture = generator.picture(generator.sample(1, torch.Generator().manual_seed(1)))
        assert list(picture.shape[2:]) == [side, side] and generator.resolution == side
        assert len([name for name in generator.style_layers() if name.startswith("superresolution.")]) == 3 * len(
            widths
        )
