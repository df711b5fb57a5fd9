"""Write data/*-centre.safetensors: the judge's mean unit embedding over faces that a generator draws.

    python data/recipes/judge_centre.py                                             # a few minutes on two CPU cores
    python data/recipes/judge_centre.py --generator heads-eg3d --count 128          # writes heads-eg3d-centre

Strangers have a cosine of about 0.86 in the raw embeddings, because all of them point roughly one way. That
way is what is measured here: faces at 256 px (heads-eg3d: at its own), truncation 1, seed 1024, cut out by the
constant FFHQ crop.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import trange

from guide_lib.generators import load_generator
from guide_lib.generators.heads_eg3d import CENTRE as HEADS_CENTRE
from guide_lib.generators.heads_eg3d import NAME
from guide_lib.perception import load_judge
from guide_lib.perception.identity import CENTRE
from guide_lib.runtime import keep_freed_memory, pick_device

DATA = Path(__file__).resolve().parents[1]
SEED, BATCH = 1024, 16
GENERATORS = {"mobilestylegan-ffhq": (CENTRE, 256), NAME: (HEADS_CENTRE, None)}  # file, resolution


@torch.no_grad()
def mean_embedding(count: int, device: torch.device, name: str = "mobilestylegan-ffhq") -> Tensor:
    """The mean of `count` unit embeddings of what a generator draws, [1,128]."""
    generator = load_generator(name, GENERATORS[name][1], device)
    judge = load_judge(device=device, centred=False)
    rng = torch.Generator().manual_seed(SEED)
    total = torch.zeros(1, 128, dtype=torch.float64)
    for _ in trange(count // BATCH, desc="judge centre"):
        ws = generator.mapping(torch.randn(BATCH, generator.z_dim, generator=rng).to(device))
        embeddings = judge.embed(generator.synthesis(ws).image)
        total += embeddings.sum(0, keepdim=True).double().cpu()
    return (total / count).float()


def main() -> None:
    """Compute and write the centre."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1024, help="generated faces, a multiple of 16")
    parser.add_argument("--generator", choices=GENERATORS, default="mobilestylegan-ffhq")
    args = parser.parse_args()
    keep_freed_memory()
    centre, target = mean_embedding(args.count, pick_device(), args.generator), DATA / GENERATORS[args.generator][0]
    save_file({"centre": centre}, target, metadata={"seed": str(SEED), "count": str(args.count)})
    print(f"{target.name}: norm {centre.norm():.3f}")


if __name__ == "__main__":
    main()
