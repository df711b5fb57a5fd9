"""Write data/judge-dlib-centre.safetensors: the judge's mean unit embedding over 1,024 generated faces.

    python data/recipes/judge_centre.py                  # a few minutes on two CPU cores

Strangers have a cosine of about 0.86 in the raw embeddings, because all of them point roughly one way. That
way is what is measured here: faces at 256 px, truncation 1, seed 1024, cut out by the constant FFHQ crop.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import trange

from guide_lib.generators import load_generator
from guide_lib.perception import load_judge
from guide_lib.runtime import keep_freed_memory, pick_device

TARGET = Path(__file__).resolve().parents[1] / "judge-dlib-centre.safetensors"
SEED, RESOLUTION, BATCH = 1024, 256, 16


@torch.no_grad()
def mean_embedding(count: int, device: torch.device) -> Tensor:
    """The mean of `count` unit embeddings, [1,128]."""
    generator = load_generator(resolution=RESOLUTION, device=device)
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
    count = parser.parse_args().count
    keep_freed_memory()
    centre = mean_embedding(count, pick_device())
    save_file({"centre": centre}, TARGET, metadata={"seed": str(SEED), "count": str(count)})
    print(f"{TARGET.name}: norm {centre.norm():.3f}")


if __name__ == "__main__":
    main()
