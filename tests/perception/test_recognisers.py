"""ArcFace and FaceNet: their layout, how they cut faces out, and their files."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from guide_lib.assets.official import convert, converted_path
from guide_lib.errors import GuideError
from guide_lib.perception.identity import ARCFACE_CROP, load_embedder, load_judge
from guide_lib.perception.recognisers import PEOPLE, ArcFace, FaceNet, SqueezeExcitation, Unit

FILES = {"arcface": "model_ir_se50.pth", "facenet": "20180402-114759-vggface2.pt"}


def released(name: str) -> dict[str, torch.Tensor]:
    """A state dict with the released names and random numbers."""
    torch.manual_seed(0)
    if name == "arcface":
        return ArcFace().state_dict()
    logits = {"logits.weight": torch.zeros(PEOPLE, 512), "logits.bias": torch.zeros(PEOPLE)}
    return FaceNet().inception.state_dict() | logits


LAYOUTS = {"arcface": "arcface-ir-se50", "facenet": "facenet-vggface2"}
LOAD = {"arcface": load_embedder, "facenet": load_judge}


def test_arcface_has_the_released_layout():
    """50 layers: 24 units of two convolutions, the first convolution and the last layer; 43.8 million parameters."""
    network = ArcFace()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == 49 and sum(p.numel() for p in network.parameters()) == 43_797_696
    names = network.state_dict()
    some = {"input_layer.2.weight", "body.3.shortcut_layer.1.running_var", "body.23.res_layer.5.fc2.weight"}
    assert some <= set(names)
    assert names["output_layer.3.weight"].shape == (512, 25088) and "body.0.shortcut_layer.0.weight" not in names
    assert network.eval()(torch.zeros(1, 3, 112, 112)).shape == (1, 512)


def test_a_unit_equals_its_parts(rng):
    unit, x = Unit(32, 32, 2).eval(), torch.randn(2, 32, 6, 6, generator=rng)
    hidden = unit.res_layer[4](unit.res_layer[3](unit.res_layer[2](unit.res_layer[1](unit.res_layer[0](x)))))
    gate = unit.res_layer[5]
    for n in range(2):
        means = hidden[n].flatten(1).mean(1)
        squeezed = (gate.fc1.weight[:, :, 0, 0] @ means).clamp(min=0)
        scale = 1 / (1 + torch.exp(-(gate.fc2.weight[:, :, 0, 0] @ squeezed)))
        expected = hidden[n] * scale[:, None, None] + F.max_pool2d(x[n], 1, 2)
        torch.testing.assert_close(unit(x)[n], expected, atol=1e-5, rtol=1e-4)
    assert isinstance(gate, SqueezeExcitation)


@pytest.mark.parametrize("name", FILES)
def test_a_file_by_hand_loads_strictly(name, tmp_path, monkeypatch, rng):
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    source = tmp_path / FILES[name]
    with pytest.raises(GuideError, match=f"download {source.name} yourself from https.* convert {source.name}"):
        LOAD[name](name)
    state = released(name)
    torch.save(state, source)
    convert(source)
    recogniser = LOAD[name](name)
    size = recogniser.network.size
    crops = 2 * torch.rand(2, 3, size, size, generator=rng) - 1
    twin = (ArcFace if name == "arcface" else FaceNet)().eval()
    twin.load_state_dict(state)
    torch.testing.assert_close(recogniser.embed_crops(crops), F.normalize(twin(crops), dim=1))
    state.pop(next(iter(state)))
    torch.save(state, source)
    with pytest.raises(GuideError, match="holds another network, with tensors such as"):
        convert(source)
    save_file(state, next((tmp_path / "cache").glob("*.safetensors")))  # as an older version would have written it
    with pytest.raises(GuideError, match=f"holds another network than .*; convert {source.name} again"):
        LOAD[name](name)


@pytest.mark.parametrize("name", FILES)
def test_a_recogniser_is_known_by_its_layout_whatever_its_file_is_called(name, tmp_path, monkeypatch):
    """And whether older files lack the counters of batch normalisation, or the state lies in a dictionary."""
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    state = {key: tensor for key, tensor in released(name).items() if not key.endswith("num_batches_tracked")}
    torch.save({"state_dict": state, "epoch": 7}, tmp_path / "best (1).pt")
    assert convert(tmp_path / "best (1).pt") == converted_path(LAYOUTS[name])
    assert LOAD[name](name).name == name


def test_arcface_sees_guides_crop(tmp_path, monkeypatch, rng):
    """From 512 px: two by two pixels averaged, rows 35:223 and columns 32:220, then 112 even bins."""
    monkeypatch.setenv("GUIDE_CACHE", str(tmp_path / "cache"))
    torch.save(released("arcface"), tmp_path / FILES["arcface"])
    convert(tmp_path / FILES["arcface"])
    embedder, seen = load_embedder("arcface"), []
    monkeypatch.setattr(embedder, "embed_crops", lambda crops: seen.append(crops) or crops)
    image = torch.rand(1, 3, 512, 512, generator=rng)
    embedder.embed(image)
    small = image.view(1, 3, 256, 2, 256, 2).mean((3, 5))[..., 35:223, 32:220]
    for row, column in ((0, 0), (3, 50), (111, 111)):
        bins = [slice(k * 188 // 112, -(-(k + 1) * 188 // 112)) for k in (row, column)]
        expected = small[0, :, bins[0], bins[1]].mean((1, 2))
        torch.testing.assert_close(seen[0][0, :, row, column], expected)
    # the map for undetected faces takes the corners of the cut to the corners of the input
    for (x, y), corner in (((64, 70), -0.5), ((440, 446), 111.5)):
        assert (ARCFACE_CROP @ [x - 0.5, y - 0.5, 1]).tolist() == pytest.approx([corner, corner], abs=1e-6)
