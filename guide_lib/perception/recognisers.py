"""The recognisers of the paper's track; their files are downloaded by hand (see `guide_lib.assets.official`).

ArcFace: Deng et al. 2019 (arXiv 1801.07698), an improved ResNet-50 with squeeze and excitation, as in the paper's loss.
FaceNet: the Inception-ResNet v1 of facenet-pytorch, trained on VGGFace2. Both take RGB in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from guide_lib.assets.official import OFFICIAL, converted
from guide_lib.errors import GuideError

STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))  # width and number of units
PEOPLE = 8631  # in VGGFace2's training set; FaceNet's file still holds the layer that told them apart
SQUEEZE = 16


class SqueezeExcitation(nn.Module):
    """Scale each channel by a number in (0, 1) that depends on the means of all (Hu et al. 2018).

    >>> x = torch.ones(2, 64, 7, 7)
    >>> SqueezeExcitation(64)(x).shape == x.shape
    True
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // SQUEEZE, 1, bias=False)
        self.fc2 = nn.Conv2d(width // SQUEEZE, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Unit(nn.Module):
    """A residual unit that normalises before its first convolution."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        if c_in != c_out:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(c_in),
            nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False),
            nn.PReLU(c_out),
            nn.Conv2d(c_out, c_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(c_out),
            SqueezeExcitation(c_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        changes_width = hasattr(self, "shortcut_layer")
        shortcut = self.shortcut_layer(x) if changes_width else x[..., :: self.stride, :: self.stride]
        return self.res_layer(x) + shortcut


class ArcFace(nn.Module):
    """[N, 3, 112, 112] -> [N, 512], not normalised. Named as `model_ir_se50.pth` is."""

    size = 112

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        units, width = [], 64
        for channels, count in STAGES:
            for k in range(count):
                units.append(Unit(width, channels, stride=2 if k == 0 else 1))
                width = channels
        self.body = nn.Sequential(*units)
        layers = nn.BatchNorm2d(512), nn.Dropout(), nn.Flatten(), nn.Linear(512 * 7 * 7, 512), nn.BatchNorm1d(512)
        self.output_layer = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.output_layer(self.body(self.input_layer(image)))


class FaceNet(nn.Module):
    """[N, 3, 160, 160] -> [N, 512], unit vectors. The package's network, without the layer that names people."""

    size = 160

    def __init__(self) -> None:
        super().__init__()
        from facenet_pytorch import InceptionResnetV1

        self.inception = InceptionResnetV1()

    def forward(self, image: Tensor) -> Tensor:
        return self.inception(image * (127.5 / 128))  # it was trained on (level - 127.5) / 128

    def load_state_dict(self, state: dict[str, Tensor], strict: bool = True, assign: bool = False):
        """Takes the released names; the layer that names people must be there, and is left out."""
        shapes = {"logits.weight": (PEOPLE, 512), "logits.bias": (PEOPLE,)}
        if any(name not in state or tuple(state[name].shape) != shape for name, shape in shapes.items()):
            raise RuntimeError("not the network trained on VGGFace2")
        kept = {name: tensor for name, tensor in state.items() if name not in shapes}
        return self.inception.load_state_dict(kept, strict=strict, assign=assign)


NETWORKS = {"arcface-ir-se50": ArcFace, "facenet-vggface2": FaceNet}


def load_network(name: str) -> nn.Module:
    """One of `NETWORKS` with its released weights; `GuideError` says where to get them, or that they are others."""
    path, network = converted(name), NETWORKS[name]()
    try:
        network.load_state_dict(load_file(path), strict=True)
    except RuntimeError as error:
        file = OFFICIAL[name].file
        raise GuideError(f"{path} holds another network than {name}; convert {file} again.") from error
    return network.eval()
