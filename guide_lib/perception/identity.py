"""Who is in the picture: one network for the loss and independent ones that judge.

`load_embedder("sface")` is differentiable and seen by the loss, `load_judge("dlib")` is only ever used to measure.
Beside them stand a second judge, `load_judge("edgeface")`, and the eyes of an attacker who was never told which
recogniser the loss has, `load_embedder("mobilefacenet")`. The paper's track has two more, whose files are downloaded by
hand: `load_embedder("arcface")`, its loss, and `load_judge("facenet")`.

SFace: Zhong et al. 2021, a MobileFaceNet-like network on 112 px. dlib: King 2017, a ResNet with 29 convolutions on
150 px.
"""

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from guide_lib.assets import fetch, shipped
from guide_lib.errors import GuideError
from guide_lib.generators.alignment import similarity_transform
from guide_lib.perception.crops import area_resized, fixed_crop, rescale_input
from guide_lib.perception.detection import find_landmarks
from guide_lib.perception.edgeface import EdgeFace
from guide_lib.perception.mobilefacenet import MobileFaceNet
from guide_lib.perception.recognisers import load_network
from guide_lib.runtime import full_precision, picture_layout

FFHQ_SIZE = 512  # px, the picture for which the constant crops below are written

# Where MTCNN's five points go on a 112 px input (the standard ArcFace template, of SFace, EdgeFace and MobileFaceNet),
# and the constant crop that replaces the detector on FFHQ-aligned pictures.
SFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
SFACE_CROP = np.array([[0.27875, 0.00213, -16.274], [-0.00213, 0.27875, -14.047]])

# The same two for dlib: its chip puts the five points of its own landmark model on a mean face; these are the
# medians of MTCNN's points, and of the crop, over 96 generated faces that dlib itself detected and cut out.
DLIB_TEMPLATE = np.array([[47.7, 45.5], [102.1, 45.7], [74.6, 77.7], [49.4, 101.5], [99.7, 100.9]])
DLIB_CROP = np.array([[0.41772, -0.00168, -32.933], [0.00168, 0.41772, -55.971]])

# FaceNet saw what MTCNN's box cuts out, stretched to a square: medians over 48 generated faces (seed 160).
FACENET_TEMPLATE = np.array([[41.0, 63.9], [115.5, 63.6], [73.6, 95.2], [42.8, 119.7], [113.9, 120.5]])
FACENET_CROP = np.array([[0.49864, 0.00198, -49.723], [-0.00198, 0.49864, -59.175]])

# GUIDE's constant crop for ArcFace, from a picture of 256 px
ARCFACE_ROWS, ARCFACE_COLUMNS = slice(35, 223), slice(32, 220)
_SHRINK = 112 / 188  # the same crop as a map from 512 px
ARCFACE_CROP = np.array([[_SHRINK / 2, 0, _SHRINK * (0.25 - 32) - 0.5], [0, _SHRINK / 2, _SHRINK * (0.25 - 35) - 0.5]])


class PReLU(nn.PReLU):
    """nn.PReLU in half the time on a CPU, where its own backward pass computes the gradient of the slopes as well, be
    they frozen or not. A GPU has one kernel for it instead of five."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cpu:
            return super().forward(x)
        return F.relu(x) - self.weight[:, None, None] * F.relu(-x)


class SFace(nn.Sequential):
    """[N,3,112,112] RGB in [-1,1] -> [N,128], not normalised. Layers have the released graph's names."""

    size = 112
    # (channels, stride) of the pairs of a depthwise 3x3 and a pointwise convolution
    PAIRS = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *((512, 1),) * 5,
        (1024, 2),
        (1024, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        self._convolution("conv_1", 3, 32, 3)
        width = 32
        for i, (channels, stride) in enumerate(self.PAIRS, start=2):
            self._convolution(f"conv_{i}_dw", width, width, 3, stride, groups=width)
            self._convolution(f"conv_{i}", width, channels, 1)
            width = channels
        self.add_module("bn1", nn.BatchNorm2d(width, eps=2e-5))
        self.add_module("flatten", nn.Flatten())
        self.add_module("pre_fc1", nn.Linear(width * 7 * 7, 128))
        self.add_module("fc1", nn.BatchNorm1d(128, eps=2e-5))

    def _convolution(self, name: str, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.add_module(f"{name}_conv2d", conv)
        self.add_module(f"{name}_batchnorm", nn.BatchNorm2d(c_out, eps=1e-3))
        self.add_module(f"{name}_relu", PReLU(c_out))

    def forward(self, image: Tensor) -> Tensor:
        # The graph takes 0..255, subtracts 127.5 and divides by 128.
        return super().forward(image * (127.5 / 128))

    def fold_batch_norms(self) -> "SFace":
        """Merge each batch normalisation into the convolution before it: the same function, less memory."""
        layers = dict(self.named_children())
        for name, layer in layers.items():
            if name.endswith("_batchnorm"):
                before = name.replace("_batchnorm", "_conv2d")
                setattr(self, before, fuse_conv_bn_eval(layers[before], layer))
                delattr(self, name)
        return self.to(memory_format=torch.channels_last)  # a third faster on a CPU


class Affine(nn.Module):
    """x * weight + bias per channel: what is left of batch normalisation after training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])


class DlibBlock(nn.Module):
    """A residual block. With stride 2 the shortcut is an average pool; zeros fill up the smaller summand."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1 if stride == 1 else 0)
        self.affine1 = Affine(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.affine2 = Affine(c_out)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.affine1(self.conv1(x)))
        hidden = self.affine2(self.conv2(hidden))
        shortcut = x if self.stride == 1 else F.avg_pool2d(x, 2)
        shape = [max(pair) for pair in zip(hidden.shape[1:], shortcut.shape[1:], strict=True)]
        return F.relu(_fill(hidden, shape) + _fill(shortcut, shape))


def _fill(x: Tensor, shape: list[int]) -> Tensor:
    """Append zeros to [N,C,H,W] until its last three sizes are `shape`."""
    missing = [wanted - size for wanted, size in zip(shape, x.shape[1:], strict=True)]
    return F.pad(x, (0, missing[2], 0, missing[1], 0, missing[0])) if any(missing) else x


class DlibResNet(nn.Module):
    """[N,3,150,150] RGB in [-1,1] -> [N,128], not normalised."""

    size = 150
    WIDTHS = (32,) * 3 + (64,) * 4 + (128,) * 3 + (256,) * 4
    STRIDE_2 = (3, 7, 10, 13)

    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Module()
        self.input.register_buffer("mean", torch.zeros(3))
        self.stem = nn.ModuleDict({"conv": nn.Conv2d(3, 32, 7, 2), "affine": Affine(32)})
        widths = zip((32, *self.WIDTHS), self.WIDTHS, strict=False)
        self.blocks = nn.Sequential(
            *(DlibBlock(c_in, c_out, 2 if i in self.STRIDE_2 else 1) for i, (c_in, c_out) in enumerate(widths))
        )
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        levels = (image + 1) * 127.5
        hidden = (levels - self.input.mean[:, None, None]) / 256
        hidden = F.relu(self.stem["affine"](self.stem["conv"](hidden)))
        hidden = self.blocks(F.max_pool2d(hidden, 3, 2))
        return self.fc(hidden.mean((2, 3)))


class Embedder(nn.Module):
    """A frozen recogniser together with the two ways of cutting out its input.

    crop: 2x3 matrix from a 512 px FFHQ-aligned picture to the network's input. template: [5,2] px, where
    MTCNN's points go. centre: [D], subtracted from the unit embedding before it is normalised again; None
    leaves it as it is.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        crop: np.ndarray,
        template: np.ndarray,
        centre: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.name, self.network, self.crop, self.template = name, network, crop, template
        self.register_buffer("centre", centre)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Embedder":
        """Stay in evaluation mode: nothing here is trained."""
        return super().train(False)

    def embed(self, images: Tensor) -> Tensor:
        """FFHQ-aligned pictures [N,3,S,S] in [-1,1], any S -> [N,D] unit vectors, differentiable."""
        return self.embed_crops(fixed_crop(images, self._constant_crop(images), self.network.size))

    @torch.no_grad()
    def embed_faces(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N,3,S,S] in [-1,1] -> ([N,D] unit vectors, found [N] bool). No gradient.

        Cut out around the largest face that the detector finds, or by the constant crop where it finds none.
        """
        landmarks, found = find_landmarks(images)
        matrices = np.repeat(self._constant_crop(images)[None], len(images), axis=0)
        for i in np.flatnonzero(found):
            matrices[i] = similarity_transform(landmarks[i], self.template)
        crops = fixed_crop(images, matrices, self.network.size).to(next(self.network.parameters()).device)
        return self.embed_crops(crops), torch.from_numpy(found)

    def embed_crops(self, crops: Tensor) -> Tensor:
        """The network's own input [N,3,s,s] in [-1,1] -> [N,D] unit vectors."""
        with full_precision(crops.device):
            unit = F.normalize(self.network(crops), dim=1)
        return unit if self.centre is None else F.normalize(unit - self.centre, dim=1)

    def _constant_crop(self, images: Tensor) -> np.ndarray:
        return rescale_input(self.crop, FFHQ_SIZE, images.shape[-1])


class ArcFaceEmbedder(Embedder):
    """ArcFace as GUIDE's loss sees faces: brought to 256 px, cut, then averaged down to 112 px."""

    def embed(self, images: Tensor) -> Tensor:
        cut = area_resized(images, 256)[..., ARCFACE_ROWS, ARCFACE_COLUMNS]
        return self.embed_crops(area_resized(cut, self.network.size))


CENTRES = {"ffhq": "judge-dlib-centre.safetensors", "heads": "heads-eg3d-centre.safetensors"}  # by a generator's faces
EMBEDDERS, JUDGES = ("sface", "mobilefacenet", "arcface"), ("dlib", "edgeface", "facenet")


def load_embedder(name: str = "sface", device: torch.device | str | None = None) -> Embedder:
    """A recogniser with gradients: "sface" and "arcface", of the losses, or "mobilefacenet", an attacker's.

    GuideError: unknown name, missing file.

    >>> load_embedder("dlib")                             # a judge is never in a loss
    Traceback (most recent call last):
    guide_lib.errors.GuideError: There is no identity embedder named 'dlib'; choose one of: sface, mobilefacenet,
    arcface.
    """
    _check_name(name, EMBEDDERS, "identity embedder")
    if name == "arcface":
        network = load_network("arcface-ir-se50")
        return ArcFaceEmbedder(name, network, ARCFACE_CROP, SFACE_TEMPLATE).to(device)
    network = _fetched(SFace() if name == "sface" else MobileFaceNet(), name).fold_batch_norms()
    embedder = Embedder(name, network, SFACE_CROP, SFACE_TEMPLATE)
    return embedder.to(device, memory_format=picture_layout(torch.device(device or "cpu")))


def load_judge(
    name: str = "dlib", device: torch.device | str | None = None, centred: bool = True, faces: str = "ffhq"
) -> Embedder:
    """A recogniser of the metrics, never of a loss: "dlib", "edgeface" or "facenet".

    dlib's raw cosine between strangers is about 0.85, so the mean embedding of 1,024 generated faces is
    subtracted (data/recipes/judge_centre.py); `centred=False` gives the raw vectors. EdgeFace's strangers are near 0
    as they are. faces: those that are judged, see `Generator`. GuideError: unknown name, missing file.
    """
    _check_name(name, JUDGES, "identity judge")
    if name == "facenet":
        return Embedder(name, load_network("facenet-vggface2"), FACENET_CROP, FACENET_TEMPLATE).to(device)
    if name == "edgeface":
        return Embedder(name, _fetched(EdgeFace(), "edgeface"), SFACE_CROP, SFACE_TEMPLATE).to(device)
    mean = load_file(shipped(CENTRES[faces]))["centre"] if centred else None
    return Embedder(name, _fetched(DlibResNet(), "dlib-resnet"), DLIB_CROP, DLIB_TEMPLATE, mean).to(device)


def _fetched(network: nn.Module, asset: str) -> nn.Module:
    """The network with the numbers of an asset, which is fetched once."""
    network.load_state_dict(load_file(fetch(asset)))
    return network.eval()


def _check_name(name: str, known: tuple[str, ...], what: str) -> None:
    if name not in known:
        raise GuideError(f"There is no {what} named '{name}'; choose one of: {', '.join(known)}.")


def identity_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine between the embeddings a and b, each [N,D] -> [N] in [-1,1]; 1 is the same person.

    >>> identity_cosine(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    tensor([1.0, 0.6])
    """
    return F.cosine_similarity(a, b, dim=-1)
