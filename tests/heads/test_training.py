"""The recipes that photograph people and train heads-eg3d, on two people and a few steps."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from project import DATA, recipe
from safetensors.torch import load_file

from guide_lib.generators import View
from guide_lib.generators.cameras import intrinsics, pixel_rays
from guide_lib.generators.volume import Sampling


@pytest.fixture(scope="module")
def photographed(tmp_path_factory):
    """The module and a folder of three people, two views each, without supersampling."""
    module, folder = recipe("heads_people"), tmp_path_factory.mktemp("people")
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "CHUNK", 3)
    module.chunk((folder, 0, 2, 1))
    yield module, folder
    patch.undo()


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(DATA / "recipes"))
    module = recipe("heads_eg3d")
    monkeypatch.setattr(module, "HELD_OUT", 1)
    monkeypatch.setattr(module, "NAMED", 200)
    monkeypatch.setattr(module, "READER_STEPS", 400)
    small = replace(
        module.HEADS, channel_base=256, channel_max=8, plane_channels=4, decoder_width=8, enlarge_widths=(4,)
    )
    monkeypatch.setattr(module, "HEADS", replace(small, sampling=Sampling(near=2.3, far=3.1, coarse=4, fine=4)))
    yield module
    for name in ("heads_people", "heads_eg3d"):
        sys.modules.pop(name, None)


def people_of(training, folder):
    people = training.People(folder)
    people.refresh()
    return people


def test_people_are_the_same_whatever_the_order(photographed):
    module, folder = photographed
    with np.load(folder / "people-000000.npz") as stored:
        again = module.person(2, 2, 1)
        assert all(np.array_equal(stored[name][2], again[name]) for name in again)
        assert stored["image"].shape == (3, 2, 3, 128, 128) and stored["z"].shape == (3, 64)
    before = (folder / "people-000000.npz").stat().st_mtime_ns
    module.chunk((folder, 0, 2, 1))  # is there
    assert (folder / "people-000000.npz").stat().st_mtime_ns == before


def test_rays_of_pixels_are_the_cameras(training, photographed):
    person = people_of(training, photographed[1]).all[0]
    origins, directions = pixel_rays(person.poses, intrinsics(18.837)[None], training.SIDE)
    pixels = torch.tensor([0, 5_000, 16_383, 16_384, 30_000])
    for found, all_of_them in zip(person.rays(pixels), (origins, directions), strict=True):
        assert torch.allclose(found, all_of_them.flatten(0, 1)[pixels], atol=1e-6)


def test_surface_points_lie_where_they_say(training, photographed):
    """Seen from their own camera: in front of the surface, on it, behind it; told by the distance alone."""
    person = people_of(training, photographed[1]).all[1]
    torch.manual_seed(3)
    pixels = torch.cat([person.pick(name, training.PIXELS[name]) for name in ("skin", "features")])
    torch.manual_seed(3)
    points, occupancy, colours = training.surface_points(person)
    n = len(pixels)
    away = (points[: 4 * n].view(4, n, 3) - person.rays(pixels)[0]).norm(dim=2) - person.depth[
        pixels
    ] / training.DEPTH_STEPS
    assert occupancy[: 4 * n].view(4, n)[:, 0].tolist() == [-1, 1, 0, 0]
    on, behind, before, far_before = away
    assert on.min() > -0.0061 and on.max() < 0.0081 and behind.min() > 0.0079 and behind.max() < 0.031
    assert before.max() < -0.0119 and far_before.max() < -0.0499
    assert (occupancy[4 * n :] == 0).all() and len(colours) == n
    everywhere = torch.cdist(points[4 * n :], person.poses[:, :3, 3])  # all that rays may meet, and a step further
    assert everywhere.min() < 2.32 and everywhere.max() > 3.12
    picked = person.image[
        pixels // training.SIDE**2, :, pixels % training.SIDE**2 // training.SIDE, pixels % training.SIDE
    ]
    assert torch.equal(colours, picked / 255)


def test_a_surface_outside_of_the_planes_is_not_taught(training, photographed):
    one = people_of(training, photographed[1]).all[1]
    depth = one.depth.view(len(one.poses), training.SIDE, training.SIDE)
    assert len(one.places["skin"])
    too_near = torch.where(depth > 0, int(1.9 * training.DEPTH_STEPS), 0)
    assert not len(training.Seen.of(one.z, one.poses, one.image, one.alpha, too_near).places["skin"])


def test_features_are_at_eyes_and_mouth(training, photographed):
    person = people_of(training, photographed[1]).all[1]
    mask = training.feature_mask(person, 0)
    assert 50 < mask.sum() < 2_000
    rows, columns = mask.nonzero().T
    assert 40 < rows.float().mean() < 90 and 30 < columns.float().mean() < 98


def test_losses_are_small_for_the_truth_and_large_for_its_opposite(training, photographed):
    """A decoder that is told the answer, by way of the points it is asked about."""
    person = people_of(training, photographed[1]).all[1]
    _, occupancy, colours = training.surface_points(person)

    class Oracle(torch.nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.sign = sign

        def decoder(self, features):
            torch.manual_seed(7)
            _, occupancy, colours = training.surface_points(person)
            found = torch.zeros(1, 4, len(occupancy))
            found[0, :3, : 2 * len(colours)] = colours.T.repeat(1, 2)
            return self.sign * (400 * (occupancy == 1).float() - 200)[None], found if self.sign > 0 else 1 - found

    planes = torch.zeros(1, 3 * training.HEADS.plane_channels, 8, 8)
    losses = []
    for sign in (1, -1):
        torch.manual_seed(7)
        losses.append(training.surface_losses(Oracle(sign), planes, [person], 1.0))
    assert all(losses[0][name] < 0.02 for name in losses[0])
    assert all(losses[1][name] > 0.2 for name in losses[1])


def test_planes_grow_with_the_blocks_and_equal_the_generators(training):
    generator, z = training.untrained(), torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        half, ws = training.planes_of(generator, z, 32)
        whole, _ = training.planes_of(generator, z, 64)
        assert half.shape[-1] == 32 and torch.allclose(whole, generator.planes(ws), atol=1e-5)


def test_what_is_said_of_people_nobody_photographed_is_read_from_w_better_and_better(training):
    generator = training.untrained()
    torch.manual_seed(4)
    names = training.Names(generator, torch.randn(30, 64))
    assert names.z.shape == (230, 64) and names.choices[:, 0].max() < 8 and names.choices[:, 1].max() < 4
    for z, told, choices in zip(names.z[:9].numpy(), names.numbers, names.choices, strict=False):
        person = training.describe(z)
        assert training.HAIR_STYLES[choices[0]] == person.hair and training.BROWS[choices[1]] == person.brow
        older = names.numbers[:, 1] > told[1]
        ages = torch.tensor([training.describe(other).age for other in names.z[older].numpy()])
        assert not len(ages) or ages.min() > person.age
    parameters = list(generator.backbone.mapping.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer, seen = torch.optim.Adam(parameters, 0.02), []
    for _ in range(150):
        loss = names.loss(generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    assert np.mean(seen[-20:]) < 0.6 * np.mean(seen[:5])


def test_a_stage_learns_resumes_and_hands_on(training, photographed, tmp_path):
    def stage(*options):
        training.main([str(photographed[1]), str(tmp_path), *options])

    stage("surface", "--steps", "50", "--batch", "1", "--size", "32")
    stage("surface", "--steps", "100", "--batch", "1", "--size", "32")
    lines = [json.loads(line) for line in (tmp_path / "surface-32.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100]
    assert (
        lines[1]["colour"] < lines[0]["colour"]
        and lines[1]["matter"] + lines[1]["empty"] < lines[0]["matter"] + lines[0]["empty"]
    )
    stage("surface", "--steps", "1", "--batch", "1", "--size", "64")
    surface = training.finished(tmp_path / "surface-64.pt")
    saved = torch.load(tmp_path / "surface-64.pt", weights_only=True)["mean"]
    assert torch.allclose(surface.decoder.net[-1].weight[0], training.DENSITY * saved["decoder.net.2.weight"][0])
    assert torch.equal(surface.decoder.net[-1].weight[1:], saved["decoder.net.2.weight"][1:])
    assert list(surface.picture(surface.mapping(torch.zeros(1, 64)), View(10)).shape) == [1, 3, 128, 128]
    before = {name: tensor.clone() for name, tensor in surface.state_dict().items()}
    stage("enlarge", "--steps", "2", "--batch", "1", "--pool", "2")
    enlarged = training.finished(tmp_path / "enlarge.pt").state_dict()
    moved = {name.split(".")[0] for name, tensor in enlarged.items() if not torch.equal(tensor, before[name])}
    assert moved == {"superresolution"}
    stage("names", "--steps", "3", "--batch", "2")
    named = training.finished(tmp_path / "names.pt").state_dict()
    changed = {name for name, tensor in named.items() if not torch.equal(tensor, enlarged[name])}
    assert changed and all(name.startswith("backbone.mapping.fc") for name in changed)
    stage("pictures", "--steps", "2", "--batch", "1")
    stage("export")
    shipped = load_file(tmp_path / "heads-eg3d.safetensors")
    last = training.finished(tmp_path / "pictures.pt").state_dict()
    assert shipped.keys() == last.keys() and {tensor.dtype for tensor in shipped.values()} == {torch.float16}
    name = "decoder.net.0.weight"
    assert torch.equal(shipped[name], last[name].half()) and not torch.equal(last[name], enlarged[name])


def test_quality_is_measured_against_the_photograph(training, monkeypatch, tmp_path):
    quality = recipe("heads_quality")
    generator = training.untrained().requires_grad_(False)
    z, views = quality.held_out(0)
    assert torch.equal(quality.held_out(0)[0], z) and not torch.equal(quality.held_out(1)[0], z)

    class Truth(torch.nn.Module):
        config, resolution = generator.config, 128
        camera, mapping, planes = generator.camera, generator.mapping, generator.planes

        def render(self, planes, pose, camera):
            photo = quality.photograph(quality.describe(z[0].numpy()), pose[0], 64)
            return None, photo.depth[None, None]

        def superresolution(self, features, ws):
            pose = generator.camera(views[0])[0][0]
            return quality.photograph(quality.describe(z[0].numpy()), pose, 128).image[None] + 0.1

    found = quality.compared(Truth(), z, views[0], lambda a, b: (a - b).abs().mean())
    assert found["depth_error_mean"] == 0 and found["psnr"] == pytest.approx(-20 * np.log10(0.05), abs=0.3)
    assert found["lpips"] == pytest.approx(0.1, abs=0.01)


def test_the_distance_to_photographs_is_of_other_people_and_beside_its_floor(training, monkeypatch, tmp_path):
    quality = recipe("heads_quality")
    generator = training.untrained().requires_grad_(False)

    def extractor(images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)

    first, second = (quality.photographed_features(generator, 2, extractor, start) for start in (0, 1))
    assert torch.equal(first[1], second[0]) and not torch.equal(first[0], second[0])
    asked = []
    monkeypatch.setattr(quality, "finished", lambda stage: generator)
    monkeypatch.setattr(quality, "load_lpips", lambda name: None)
    monkeypatch.setattr(quality, "load_inception", lambda: extractor)

    def photographs(generator, count, extractor, first):
        asked.append(first)
        return torch.eye(12)[:count] + first

    monkeypatch.setattr(quality, "photographed_features", photographs)
    monkeypatch.setattr(quality, "generated_features", lambda generator, count, extractor: torch.eye(12)[:count] + 1)
    out = tmp_path / "found.json"
    out.write_text('{"lpips": 0.5, "fid": 1.0}')
    quality.main([str(tmp_path / "stage.pt"), "--count", "0", "--fid", "4", "--out", str(out)])
    found = json.loads(out.read_text())
    assert asked == [0, 4] and found["lpips"] == 0.5 and found["fid_pictures"] == 4
    assert found["fid"] == pytest.approx(12 * 1**2) and found["fid_of_photographs"] == pytest.approx(12 * 4**2)
