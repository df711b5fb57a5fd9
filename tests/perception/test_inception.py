"""The FID network against torchvision's Inception with the same weights, and its reader against hostile archives."""

import io
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from torch import nn

from guide_lib.assets import fetch
from guide_lib.errors import GuideError
from guide_lib.perception.inception import load_inception
from guide_lib.readers import inception, torchscript_tensors


class Other(nn.Module):
    """torchvision's Inception v3 with TensorFlow's pools, filled convolution by convolution in order."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=False).eval()
        weights = list(load_file(fetch("inception-fid")).items())
        order = {name: i for i, name in enumerate(dict.fromkeys(name.rsplit(".", 1)[0] for name in NAMES))}
        weights.sort(key=lambda item: order[item[0].rsplit(".", 1)[0]])
        state = dict(weights)
        for layer, module in zip(order, (m for m in self.net.modules() if hasattr(m, "bn")), strict=True):
            module.conv.weight.data = state[f"{layer}.weight"]
            module.bn.weight.data.fill_(1.0)
            module.bn.bias.data, module.bn.running_mean, module.bn.running_var = (
                state[f"{layer}.{part}"] for part in ("beta", "mean", "var")
            )
        self.net.fc, self.net.dropout = nn.Identity(), nn.Identity()

    def forward(self, levels: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
        average, last = F.avg_pool2d, []

        def pool(x, kernel_size, stride=None, padding=0):
            if x.shape[1] == 2048:
                last.append(True)
                return F.max_pool2d(x, 3, 1, 1)
            return average(x, kernel_size, stride, padding, count_include_pad=False)

        monkeypatch.setattr(torchvision.models.inception.F, "avg_pool2d", pool)
        out = self.net((levels - 128) / 128)
        monkeypatch.undo()
        assert last == [True]
        return out


NAMES = list(load_inception().state_dict())


@torch.no_grad()
def test_features_equal_torchvisions_network_with_the_same_weights(monkeypatch):
    levels = torch.randint(0, 256, (2, 3, 299, 299)).float()
    ours = load_inception()(levels / 127.5 - 1)
    theirs = Other()(levels, monkeypatch)
    assert ours.shape == (2, 2048) and ours.std() > 0.1
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_a_small_picture_is_enlarged_and_a_large_one_averaged_before_it_is_seen():
    network = load_inception()
    grey = torch.full((1, 3, 64, 64), 0.25)
    assert torch.allclose(network(grey), network(torch.full((1, 3, 600, 600), 0.25)), atol=1e-4)
    checks = torch.ones(1, 3, 1196, 1196)
    checks[:, :, ::2, ::2], checks[:, :, 1::2, 1::2] = -1.0, -1.0
    flat = network(torch.zeros(1, 3, 299, 299))
    assert (network(checks) - flat).norm() < 0.05 * flat.norm(), "an aliased picture would show a pattern"


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.inner = nn.Sequential(OrderedDict(a=nn.Linear(4, 5), b=nn.ReLU()))

    def forward(self, x):
        return self.conv(x)


def archive(**replaced: bytes) -> bytes:
    """A real TorchScript file, with members changed."""
    buffer, changed = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.script(Small()), buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(changed, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            inside = name.removeprefix(f"{root}/")
            new.writestr(f"out_jit_module/{inside}", replaced.get(inside, old.read(name)))
    return changed.getvalue()


def test_tensors_equal_the_modules_own():
    torch.manual_seed(3)
    expected = Small().state_dict()
    torch.manual_seed(3)
    found = torchscript_tensors(archive())
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], tensor.numpy()) for name, tensor in expected.items())


@pytest.mark.parametrize(
    "replaced",
    [
        {"data.pkl": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00trueq\x00\x85R."},
        {"data.pkl": b"\x80\x02}."},
        {"data/0": b"\x00" * 4},
        {"data.pkl": b""},
    ],
)
def test_a_hostile_or_damaged_archive_is_refused(replaced):
    with pytest.raises(GuideError, match=r"This (TorchScript|pickle) file cannot be read"):
        torchscript_tensors(archive(**replaced))


def test_the_code_of_the_archive_is_never_looked_at():
    poisoned = archive(**{"code/__torch__/test_inception.py": b"raise SystemExit"})
    assert torchscript_tensors(poisoned).keys() == Small().state_dict().keys()


def test_another_network_is_refused():
    with pytest.raises(GuideError, match="it has 4 tensors, not 376"):
        inception(archive())
    with pytest.raises(GuideError, match="TorchScript file cannot be read"):
        inception(b"not a zip file")
