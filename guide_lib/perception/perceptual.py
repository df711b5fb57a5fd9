"""LPIPS, the perceptual distance of Zhang et al. 2018, with its real backbones.

>>> target = student.picture(w_u)
>>> whole = perceptual(photo, target)                        # `load_lpips("alex")` gives the real one
>>> seen = perceptual.features(target)                       # the same, one side looked at once
>>> torch.equal(perceptual.distance(perceptual.features(photo), seen), whole)
True

The `lpips` package ships the learned heads only and would download the ImageNet backbones through
torchvision. Here the backbones come from `guide_lib.assets` and everything is frozen.
"""

import warnings

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from guide_lib.assets import fetch
from guide_lib.errors import GuideError

NETS = ("alex", "vgg")


class LPIPS(nn.Module):
    """Frozen LPIPS whose features of a picture can be computed once and compared many times.

    `package_model` is an `lpips.LPIPS`; its slices, input scaling and heads are used, its forward is not. A
    head is a non-negative weight per channel, so its square root is folded into the features: a distance is
    then a plain sum of squares.
    """

    def __init__(self, package_model: nn.Module) -> None:
        super().__init__()
        self.scaling = package_model.scaling_layer
        slices = (getattr(package_model.net, f"slice{k}") for k in range(1, package_model.L + 1))
        self.slices = nn.ModuleList(slices)
        for k, head in enumerate(package_model.lins):
            weight = head.model[-1].weight.detach()
            self.register_buffer(f"head{k}", weight.clamp(min=0).sqrt())
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "LPIPS":
        """Stay in evaluation mode: the heads contain dropout in the package, and nothing here is trained."""
        return super().train(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """image: [N,3,H,W] in [-1,1] -> one [N,C,h,w] per slice, of unit length over C, then weighted."""
        hidden, features = self.scaling(image), []
        for k, block in enumerate(self.slices):
            hidden = block(hidden)
            weight = getattr(self, f"head{k}")
            features.append(_unit_channels(hidden.to(weight.dtype)) * weight)  # hidden may be in half precision
        return features

    def distance(self, features_a: list[Tensor], features_b: list[Tensor]) -> Tensor:
        """Eq. 1 of Zhang et al. 2018 [N]: squares, averaged over pixels, summed over channels and slices."""
        pairs = zip(features_a, features_b, strict=True)
        return torch.stack([(a - b).square().sum(1).mean((1, 2)) for a, b in pairs]).sum(0)

    def forward(self, image_a: Tensor, image_b: Tensor) -> Tensor:
        """image_a, image_b: [N,3,H,W] in [-1,1] -> [N], 0 for identical pictures."""
        return self.distance(self.features(image_a), self.features(image_b))


def load_lpips(net: str = "alex", device: torch.device | str | None = None) -> LPIPS:
    """LPIPS with AlexNet (`alex`, fast) or VGG16 (`vgg`, as in the paper). GuideError for another name.

    >>> load_lpips("resnet")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: Unknown LPIPS network 'resnet'; choose one of: alex, vgg.
    """
    if net not in NETS:
        raise GuideError(f"Unknown LPIPS network '{net}'; choose one of: {', '.join(NETS)}.")
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the package still uses torchvision's old `pretrained` option
        package_model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    inject_backbone(package_model, load_file(fetch(f"lpips-{net}")))
    return LPIPS(package_model).to(device)


def inject_backbone(package_model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy torchvision-named weights (`features.{i}.weight`, `.bias`) into the slices of an `lpips.LPIPS`.

    The package numbers a slice's layers as torchvision does (`slice2.3.weight` is `features.3.weight`).
    Strict: every parameter of the backbone must be in `state`.
    """
    own = package_model.net.state_dict()
    package_model.net.load_state_dict({name: state["features." + name.split(".", 1)[1]] for name in own})


def _unit_channels(features: Tensor) -> Tensor:
    """Divide by the norm over channels; the tiny constant keeps the gradient finite where all are 0."""
    return features * (features.square().sum(1, keepdim=True) + 1e-20).rsqrt()
