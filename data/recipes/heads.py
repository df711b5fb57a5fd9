"""Distil the image heads at 256 and 128 px, and estimate the mean latent: writes mobilestylegan-ffhq-heads.safetensors.

    python data/recipes/heads.py --steps 6000            # about an hour on two CPU cores, minutes on a GPU

The released network draws at 1024 px only. A head learns to draw, from the feature map after block 4 (128 px) or
block 3 (64 px), the 1024 px picture averaged down to 256 or 128 px. The backbone stays as it is. Training pairs are
endless: a pool of latents with their feature maps is drawn, crops of it are trained on, and every few steps the
oldest entry is replaced by a fresh one. Loss: L1 + LPIPS. Resumable: the state is kept beside the output.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from guide_lib.files import written_whole
from guide_lib.generators.mobile import DistilledHead, MobileStyleGAN, distilled_head_rows, released_state
from guide_lib.perception import LPIPS, load_lpips
from guide_lib.runtime import keep_freed_memory, pick_device

SIZES = {"256": (5, 128), "128": (4, 64)}  # head -> blocks under it, size of their feature map
CROPS, CROP_SHARE = 4, 2  # four crops of half the side: the cost of one whole picture
ROW_STEP = 3.0  # how far a row of W+ is moved on its own; ||w - w_avg|| is 7 to 12


def load_backbone(device: torch.device) -> MobileStyleGAN:
    """The released network; the heads to be trained are left as they are initialised here."""
    generator = MobileStyleGAN(1024)
    generator.load_state_dict(released_state(), strict=False)
    return generator.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def mean_latent(generator: MobileStyleGAN, samples: int = 65_536) -> Tensor:
    """w_avg [1, rows, w_dim]: the mean of mapping(z)."""
    rng, total = torch.Generator().manual_seed(0), torch.zeros(generator.w_dim, dtype=torch.float64)
    for _ in range(samples // 4096):
        z = torch.randn(4096, generator.z_dim, generator=rng)
        total += generator.mapping_network(z.to(generator.w_avg.device)).double().sum(0).cpu()
    return (total / samples).float().expand(1, generator.rows, -1).contiguous()


def initialise(head: DistilledHead) -> None:
    """Styles start at 1, depthwise kernels near the identity, the picture near grey."""
    for conv in head.convs:
        _initialise_style(conv.modulation, 1 / conv.gain)
        nn.init.normal_(conv.depthwise, std=0.05)
        conv.depthwise.data[:, :, 1, 1] += 1
        nn.init.kaiming_normal_(conv.pointwise, a=0.2)
        nn.init.zeros_(conv.bias)
        conv.noise.zero_()
    _initialise_style(head.to_img.modulation, 1 / head.to_img.gain)
    nn.init.normal_(head.to_img.weight, std=0.02)
    nn.init.zeros_(head.to_img.bias)


def _initialise_style(linear: nn.Linear, scale: float) -> None:
    nn.init.normal_(linear.weight, std=0.01 * scale)
    nn.init.constant_(linear.bias, scale)


class Pool:
    """The last `size` latents drawn, their feature maps (half precision) and their pictures at 256 px."""

    def __init__(self, generator: MobileStyleGAN, size: int, seed: int) -> None:
        self.generator, self.size = generator, size
        self.rng = torch.Generator().manual_seed(seed)
        self.entries: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def latent(self) -> Tensor:
        """ws [1, rows, w_dim]: a third each in W, in W+ by mixing two codes, and in W+ by moving every row on its own.

        The last keeps a head from being exploited where an inversion in W+ goes.
        """
        g = self.generator
        first, second = g.sample(2, self.rng).split(1)
        kind = int(torch.randint(3, (1,), generator=self.rng))
        if kind == 1:
            cut = int(torch.randint(1, g.rows, (1,), generator=self.rng))
            return torch.cat([first[:, :cut], second[:, cut:]], dim=1)
        if kind == 2:
            noise = torch.randn(first.shape, generator=self.rng).to(first)
            return first + ROW_STEP * noise / noise.norm(dim=2, keepdim=True)
        return first

    @torch.no_grad()
    def draw(self) -> None:
        """Add a fresh latent, and drop the oldest when the pool is full."""
        g, ws = self.generator, self.latent()
        early = g.synthesis_network(ws, 4)
        late = g.synthesis_network.layers[4](early, ws[:, 13:16])
        x = late
        for i in (5, 6):
            x = g.synthesis_network.layers[i](x, ws[:, 1 + 3 * i : 4 + 3 * i])
        image = F.avg_pool2d(g.heads["1024"](x, ws[:, -1]), 4)
        self.entries = [*self.entries, (ws, early.half(), late.half(), image)][-self.size :]

    def crops(self, head: str) -> tuple[Tensor, Tensor, Tensor]:
        """Features [4, C, s, s], rows of W+ [4, 4, 512] and pictures [4, 3, 2s, 2s]: random crops of four entries."""
        picked = torch.randint(len(self.entries), (CROPS,), generator=self.rng).tolist()
        blocks, size = SIZES[head]
        side = size // CROP_SHARE
        batch = []
        for k in picked:
            ws, early, late, image = self.entries[k]
            top, left = torch.randint(size - side + 1, (2,), generator=self.rng).tolist()
            picture = image if head == "256" else F.avg_pool2d(image, 2)
            features = (late if head == "256" else early)[..., top : top + side, left : left + side]
            where = (slice(2 * top, 2 * (top + side)), slice(2 * left, 2 * (left + side)))
            batch.append((features.float(), distilled_head_rows(ws, blocks), picture[..., where[0], where[1]]))
        return tuple(torch.cat(column) for column in zip(*batch, strict=True))


class CroppedNoise:
    """The heads' noise maps are zero; on a crop they must also have the crop's size."""

    def __init__(self, head: DistilledHead) -> None:
        self.head, self.full = head, [conv.noise for conv in head.convs]

    def __enter__(self) -> None:
        for conv in self.head.convs:
            conv.noise = conv.noise[..., :1, :1]

    def __exit__(self, *_: object) -> None:
        for conv, noise in zip(self.head.convs, self.full, strict=True):
            conv.noise = noise


def train_step(
    head: DistilledHead, optimizer: torch.optim.Optimizer, crops: tuple, lpips: LPIPS, perceptual_weight: float
) -> float:
    features, ws, target = crops
    with CroppedNoise(head):
        picture = head(features, ws)
    loss = F.l1_loss(picture, target) + perceptual_weight * lpips(picture, target).mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(head.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--start", type=int, default=0, help="step at which this stage's learning rate starts")
    parser.add_argument("--heads", nargs="+", choices=SIZES, default=list(SIZES), help="which heads to train")
    parser.add_argument("--lpips", type=float, default=1.0, help="weight of LPIPS beside L1")
    parser.add_argument("--pool", type=int, default=192)
    parser.add_argument("--refresh", type=int, default=1, help="draw a fresh latent every so many steps")
    parser.add_argument("--warm-start", type=Path, help="begin with the heads in this file")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "mobilestylegan-ffhq-heads.safetensors")
    parser.add_argument("--device", default=None)
    args = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    device = pick_device(args.device)
    generator = load_backbone(device)
    generator.w_avg.copy_(mean_latent(generator))
    heads = {name: generator.heads[name].requires_grad_(True) for name in SIZES}
    optimizers = {name: torch.optim.Adam(head.parameters(), betas=(0.9, 0.99)) for name, head in heads.items()}
    for name, head in heads.items():
        initialise(head)
        if args.warm_start:
            prefix = f"heads.{name}."
            start = load_file(args.warm_start)
            head.load_state_dict({k.removeprefix(prefix): v for k, v in start.items() if k.startswith(prefix)})
    state, done = args.out.with_suffix(".training.pt"), 0
    if state.exists():
        saved = torch.load(state, map_location="cpu", weights_only=True)
        done = saved["done"]
        for name in heads:
            heads[name].load_state_dict(saved[name])
            optimizers[name].load_state_dict(saved[f"{name}/adam"])
    lpips = load_lpips("alex", device)
    pool = Pool(generator, args.pool, seed=1 + done)
    for _ in tqdm(range(args.pool), desc="filling the pool", dynamic_ncols=True):
        pool.draw()
    average = dict.fromkeys(heads, 0.0)
    progress = tqdm(range(done, args.steps), initial=done, total=args.steps, dynamic_ncols=True, mininterval=30)
    for step in progress:
        share = (step - args.start) / (args.steps - args.start)
        rate = args.learning_rate * min(1, (step - args.start + 1) / 100) * 0.5 * (1 + math.cos(math.pi * share))
        for name in args.heads:
            for group in optimizers[name].param_groups:
                group["lr"] = rate
            loss = train_step(heads[name], optimizers[name], pool.crops(name), lpips, args.lpips)
            average[name] += (loss - average[name]) / min(step - done + 1, 100)
        if step % args.refresh == 0:
            pool.draw()
        progress.set_postfix({name: f"{value:.3f}" for name, value in average.items()}, refresh=False)
        if (step + 1) % 250 == 0 or step + 1 == args.steps:
            saved = {name: head.state_dict() for name, head in heads.items()}
            saved |= {f"{name}/adam": optimizer.state_dict() for name, optimizer in optimizers.items()}
            with written_whole(state) as partial:
                torch.save(saved | {"done": step + 1}, partial)
            tensors = {f"heads.{n}.{k}": v.contiguous() for n, h in heads.items() for k, v in h.state_dict().items()}
            facts = {"steps": step + 1, "samples": args.pool + (step + 1) // args.refresh, "loss": average}
            save_file(tensors | {"w_avg": generator.w_avg}, args.out, {"training": json.dumps(facts)})


if __name__ == "__main__":
    main()
