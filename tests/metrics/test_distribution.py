"""FID and KID against torchmetrics, against scipy's matrix root, and against cases with a known answer."""

import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from tiny import TinyGenerator, TurningGenerator
from torch import nn

from guide_lib.errors import GuideError
from guide_lib.metrics import distribution
from guide_lib.metrics.distribution import frechet_distance, generated_features, kernel_distance, photo_features


def flatten(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)[:, ::16]


def clouds(count: int, dim: int = 12, shift: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(count)
    mix = torch.randn(dim, dim, generator=rng)
    a, b = torch.randn(count, dim, generator=rng), torch.randn(count + 7, dim, generator=rng)
    return a @ mix, 1.2 * b @ mix.T + shift


@pytest.mark.parametrize("count", [9, 40, 500])
def test_fid_equals_scipys_matrix_root(count):
    """Fewer and more features than dimensions: the two branches."""
    a, b = clouds(count)
    cov_a, cov_b = np.cov(a.double().numpy().T), np.cov(b.double().numpy().T)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a singular product is what makes this formula fragile
        root = scipy.linalg.sqrtm(cov_a @ cov_b).real.trace()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(cov_a) + np.trace(cov_b) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-3 if count < 12 else 1e-5)


class Given(nn.Module):
    """Hands torchmetrics our features in place of pictures."""

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.features, self.at, self.num_features = features, 0, features.shape[1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        start, self.at = self.at, self.at + len(images)
        return self.features[start : self.at]


def test_fid_equals_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    a, b = clouds(300)
    metric = FrechetInceptionDistance(Given(torch.cat([a, b])), input_img_size=(3, 8, 8))
    for part, real in ((a, True), (b, False)):
        for chunk in part.split(50):
            metric.update(torch.zeros(len(chunk), 3, 8, 8, dtype=torch.uint8), real=real)
    assert frechet_distance(a, b) == pytest.approx(metric.compute().item(), rel=1e-4)


def test_kid_equals_torchmetrics_and_a_loop():
    from torchmetrics.image.kid import poly_mmd

    a, b = clouds(60)
    b = b[:60]
    expected = poly_mmd(a.double(), b.double(), degree=3, gamma=None, coef=1.0).item()
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-6)
    k = lambda x, y: (float(x.double() @ y.double()) / len(x) + 1) ** 3  # noqa: E731
    n = 8
    within = sum(k(p[i], p[j]) for p in (a[:n], b[:n]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    across = sum(k(a[i], b[j]) for i in range(n) for j in range(n)) / n**2
    assert kernel_distance(a[:n], b[:n]) == pytest.approx(within - 2 * across, rel=1e-6)


def test_kid_is_unbiased_and_fid_is_not():
    rng = torch.Generator().manual_seed(0)
    draws = [torch.randn(2, 30, 10, generator=rng) for _ in range(200)]
    kid = torch.tensor([kernel_distance(a, b) for a, b in draws])
    assert abs(kid.mean()) < 3 * kid.std() / 200**0.5
    assert min(frechet_distance(a, b) for a, b in draws) > 0.5


def test_subsets_estimate_what_all_features_give():
    a, b = clouds(400)
    assert kernel_distance(a, b, subset=100, subsets=200) == pytest.approx(kernel_distance(a, b), rel=0.1)
    assert kernel_distance(a, b, 100, 5) == kernel_distance(a, b, 100, 5) != kernel_distance(a, b, 100, 5, seed=1)


def test_the_same_features_have_distance_zero():
    a, _ = clouds(100)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert kernel_distance(a, a) < 0  # the diagonals within are left out, the one across is not
    with pytest.raises(GuideError, match="at least two pictures on each side, not 1 and 100."):
        frechet_distance(a[:1], a)


@pytest.mark.parametrize("kind", [TinyGenerator, TurningGenerator])
def test_two_generators_draw_the_same_codes_under_the_same_cameras(kind):
    seen: list = []

    class Recording(kind):
        def synthesis(self, ws, view=None):
            seen.append((ws.clone(), view))
            return super().synthesis(ws, view)

    teacher, student = Recording(), Recording()
    student.backbone.weight.data += 1.0  # as unlearning does: the mapping stays
    first, second = (generated_features(generator, 20, flatten) for generator in (teacher, student))
    half = len(seen) // 2
    codes = [torch.cat([ws for ws, _ in part]) for part in (seen[:half], seen[half:])]
    views = [[view for _, view in part] for part in (seen[:half], seen[half:])]
    assert torch.equal(*codes) and views[0] == views[1]
    assert len(codes[0]) == 20 == len(codes[0].flatten(1).unique(dim=0))
    assert len(set(views[0])) == (1 if kind is TinyGenerator else 20)
    shown = views[0] if kind is TurningGenerator else views[0][:1] * 20
    images = torch.cat([kind().synthesis(w[None], view).image for w, view in zip(codes[0], shown, strict=True)])
    assert torch.allclose(first, flatten(images), atol=1e-5) and not torch.allclose(first, second, atol=0.1)


def test_a_killed_collection_goes_on_and_more_pictures_extend_fewer(tmp_path, monkeypatch):
    monkeypatch.setattr(distribution, "SAVED_EVERY", 16)
    generator, path, calls = TinyGenerator(), tmp_path / "features.safetensors", []

    def dying(images):
        calls.append(len(images))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return flatten(images)

    with pytest.raises(KeyboardInterrupt):
        generated_features(generator, 40, dying, path)
    resumed = generated_features(generator, 40, dying, path)
    assert calls == [8] * 7  # three, the fatal one, then the three that 16 kept features leave
    whole = generated_features(generator, 40, flatten)
    assert torch.allclose(resumed, whole, atol=1e-6)
    assert torch.allclose(generated_features(generator, 13, flatten), whole[:13], atol=1e-6)
    assert torch.equal(generated_features(generator, 24, None, path), resumed[:24]), "nothing is computed again"


def test_photos_are_cut_to_the_middle_square(tmp_path):
    for i, colour in enumerate(("red", "lime", "blue")):
        picture = Image.new("RGB", (120, 80), "black")
        picture.paste(Image.new("RGB", (80, 80), colour), (20, 0))
        picture.save(tmp_path / f"{i}.png")
    features = photo_features(tmp_path, lambda images: images.mean((2, 3)), 16)
    assert torch.allclose(features, 2 * torch.eye(3) - 1, atol=0.02)
    with pytest.raises(GuideError, match="There is no folder at"):
        photo_features(tmp_path / "none", flatten, 16)
    (tmp_path / "lonely").mkdir()
    with pytest.raises(GuideError, match="holds 0 pictures; a distribution needs at least two."):
        photo_features(tmp_path / "lonely", flatten, 16)


def colours(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (40 * int(name[-5]), 0, 0)).save(folder / name)


def mean(images):
    return images.mean((2, 3))


def test_a_folder_like_ffhqs_is_read_with_all_below_it(tmp_path, capsys):
    """Subfolders, the list of cameras beside them, a licence, a hidden file."""
    colours(tmp_path, ["00001/4.png", "00000/1.png", "00000/2.png", "3.png"])
    for name in ("dataset.json", "00000/LICENSE.txt", ".DS_Store"):
        (tmp_path / name).write_text("{}")
    reds = (photo_features(tmp_path, mean, 16)[:, 0] + 1) * 127.5
    assert reds.tolist() == pytest.approx([40, 80, 160, 120], abs=0.01)
    said = capsys.readouterr().err
    assert said.startswith(f"skipped 2 files in {tmp_path}: ") and "dataset.json is not a picture" in said
    assert said.count("\n") == 1


def test_a_picture_that_breaks_off_is_left_out_also_of_a_resumed_collection(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(distribution, "SAVED_EVERY", 4)
    monkeypatch.setattr(distribution, "BATCH", 2)
    colours(tmp_path, [f"{k}.png" for k in range(6)])
    for k in (1, 2, 5):
        whole = (tmp_path / f"{k}.png").read_bytes()
        (tmp_path / f"{k}.png").write_bytes(whole[:-40])
    cache, calls = tmp_path / ".features.safetensors", []

    def dying(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return mean(images)

    with pytest.raises(KeyboardInterrupt):
        photo_features(tmp_path, dying, 16, cache)
    for _ in range(2):  # the second time everything is in the cache
        reds = (photo_features(tmp_path, dying, 16, cache)[:, 0] + 1) * 127.5
        assert reds.tolist() == pytest.approx([0, 120, 160], abs=0.01) and calls == [2] * 4
        said = capsys.readouterr().err
        assert "skipped 3 files" in said and "2.png is not a picture that can be read" in said
    for k in (0, 3):
        (tmp_path / f"{k}.png").write_bytes(b"")
    with pytest.raises(GuideError, match="holds 1 pictures; a distribution needs at least two."):
        photo_features(tmp_path, mean, 16)


def test_an_extractor_that_hides_what_is_not_a_number_does_not_hide_a_damaged_picture(tmp_path):
    colours(tmp_path, ["1.png", "2.png", "3.png"])
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:-40])
    assert len(photo_features(tmp_path, lambda images: mean(images).nan_to_num().clamp(-1, 1), 16)) == 2
