"""Write data/results/fid_check.json: FID and KID of this package beside torchmetrics, on the same pictures.

    python data/recipes/fid_check.py --count 2000        # the whole check: about ten minutes on two CPU cores

Pictures of the generator and of a copy whose style layers were shaken, from the same latents. Both implementations use
the same network for the features; all else, from streaming to the root of the matrix product, is their own.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from guide_lib.generators import Generator, load_generator
from guide_lib.metrics import frechet_distance, generated_features, kernel_distance
from guide_lib.perception.inception import Inception, load_inception
from guide_lib.runtime import keep_freed_memory

TARGET = Path(__file__).resolve().parents[1] / "results" / "fid_check.json"
SHAKE = 0.05  # of each style layer's own spread


class Network(nn.Module):
    """The extractor as torchmetrics calls it, with levels 0..255; keeps each batch of features for the comparison."""

    num_features = 2048

    def __init__(self, inception: Inception) -> None:
        super().__init__()
        self.inception, self.kept = inception, []

    def forward(self, levels: Tensor) -> Tensor:
        self.kept.append(self.inception(levels.float() / 127.5 - 1))
        return self.kept[-1]


def shaken(generator: Generator) -> Generator:
    """A copy with noise on its style layers."""
    copy, rng = generator.student().requires_grad_(False), torch.Generator().manual_seed(0)
    for name, parameter in copy.trainable_parameters().items():
        if copy.is_style(name):
            parameter += SHAKE * parameter.std() * torch.randn(parameter.shape, generator=rng)
    return copy


@torch.no_grad()
def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="pictures on each side")
    parser.add_argument("--resolution", type=int, default=128)
    args = parser.parse_args()
    keep_freed_memory()
    generator, network = load_generator(resolution=args.resolution), Network(load_inception())
    metric = FrechetInceptionDistance(network, input_img_size=(3, args.resolution, args.resolution))
    sides: list[Tensor] = []
    for real, drawn in ((True, generator), (False, shaken(generator))):

        def extract(images: Tensor, real: bool = real) -> Tensor:
            levels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte()
            metric.update(levels, real=real)  # runs the network on what a picture file would hold
            return network.kept.pop()

        sides.append(generated_features(drawn, args.count, extract))
    ours, theirs = frechet_distance(*sides), metric.compute().item()
    kid = kernel_distance(*sides, subset=args.count)
    their_kid = poly_mmd(sides[0].double(), sides[1].double(), degree=3, gamma=None, coef=1.0).item()
    facts = {
        "count": args.count,
        "resolution": args.resolution,
        "shake": SHAKE,
        "fid": ours,
        "fid_torchmetrics": theirs,
    }
    facts |= {"fid_relative_difference": abs(ours - theirs) / theirs, "kid": kid, "kid_torchmetrics": their_kid}
    TARGET.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
