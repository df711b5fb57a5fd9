"""Train the inversion encoder: writes mobilestylegan-ffhq-encoder.safetensors.

    python data/recipes/encoder.py --bf16                # half an hour on two CPU cores, less on a GPU

Pairs (ws, G(ws)) are endless: the generator draws them at 128 px while the encoder trains. The encoder sees a picture
as a camera might have taken it (light, blur, JPEG, a small misalignment) and must name the latent of the clean one.

1. The heads learn the latents from what SFace's convolutions, as they are, see in the first pairs. The maps are
   computed once, so this takes two minutes and does most of the work.
2. All but the first layers are trained on: the latent, and the picture that the generator draws from the answer, by
   LPIPS and by the identity embedder; the judge takes no part. --steps; resumable, the state lies beside the output.

--bf16 halves the time where the processor knows the format.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms import v2
from tqdm import tqdm

from guide_lib.files import written_whole
from guide_lib.generators import Generator, load_generator
from guide_lib.inversion.encoder import SIZE, Encoder
from guide_lib.perception import LPIPS, Embedder, load_embedder, load_lpips
from guide_lib.runtime import keep_freed_memory, mixed_precision, pick_device

SEED = 31_000  # the steps already done are added, so a resumed run meets new people
CHECK_SEED = 32_000_000  # of the held-out people on whom progress is measured
WEIGHTS = {"latent": 1.0, "perceptual": 0.8, "identity": 0.5}
FROZEN = ("conv_1_", "conv_2_", "conv_3_", "conv_4_", "conv_5_")  # edges and blobs serve faces of every kind
Losses = dict[str, Tensor]
BAR: dict[str, Any] = {"dynamic_ncols": True, "mininterval": 10}


class Pairs:
    """The last `size` pictures drawn, uint8 [size, 3, 128, 128], and their latents [size, rows, 512]."""

    def __init__(self, generator: Generator, size: int, seed: int, bf16: bool = False) -> None:
        self.generator, self.next, self.bf16 = generator, 0, bf16
        self.rng = torch.Generator().manual_seed(seed)
        self.images = torch.empty(size, 3, SIZE, SIZE, dtype=torch.uint8)
        self.latents = torch.empty(size, generator.rows, generator.w_dim)

    def latent(self, count: int) -> Tensor:
        """Truncation between 0.6 and 1; every fourth is a mix of two people at a random row, so not in W."""
        g = self.generator
        first, second = g.sample(2 * count, self.rng).split(count)
        truncation = 0.6 + 0.4 * torch.rand(count, 1, 1, generator=self.rng).to(first)
        cut = torch.randint(1, 4 * g.rows, (count, 1), generator=self.rng).to(first.device)
        mixed = torch.where((torch.arange(g.rows, device=first.device) < cut)[..., None], first, second)
        return g.w_avg + truncation * (mixed - g.w_avg)

    @torch.no_grad()
    def draw(self, count: int) -> None:
        """Replace the oldest `count` pairs."""
        where = torch.arange(self.next, self.next + count) % len(self.images)
        self.next += count
        ws = self.latent(count)
        with mixed_precision(ws.device, self.bf16):
            image = self.generator.synthesis(ws).image.float()
        self.latents[where] = ws.cpu()
        self.images[where] = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().cpu()

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        picked = torch.randint(len(self.images), (count,), generator=self.rng)
        return self.latents[picked], self.images[picked]


def photograph() -> v2.Transform:
    """What happens to a face between the world and the file: uint8 pictures [N, 3, 128, 128], same in, same out."""
    return v2.Compose(
        [
            v2.Pad(12, padding_mode="reflect"),  # as alignment fills what lies outside a photo; never black corners
            v2.RandomAffine(4, (0.02, 0.02), (0.96, 1.05), interpolation=v2.InterpolationMode.BILINEAR),
            v2.CenterCrop(SIZE),
            v2.RandomApply([v2.ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.02)], p=0.7),
            v2.RandomGrayscale(p=0.05),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 1.2))], p=0.4),
            v2.RandomApply([v2.JPEG((40, 95))], p=0.4),
        ]
    )


def to_input(images: Tensor, device: torch.device) -> Tensor:
    """uint8 -> [-1, 1]."""
    return images.to(device).float() / 127.5 - 1


def seen_by_camera(images: Tensor, camera: v2.Transform, device: torch.device) -> Tensor:
    """Clean uint8 pictures [N, 3, 128, 128] -> the encoder's input; two share a change."""
    seen = torch.cat([camera(few) for few in images.split(2)])
    return to_input(seen, device).contiguous(memory_format=torch.channels_last)


def latent_loss(ws: Tensor, latents: Tensor) -> Losses:
    return {"latent": F.mse_loss(ws, latents)}


def picture_losses(generator: Generator, ws: Tensor, clean: Tensor, lpips: LPIPS, embedder: Embedder) -> Losses:
    """LPIPS and 1 - identity cosine between the pictures drawn from `ws` and the clean ones; means."""
    image = generator.synthesis(ws).image
    identity = 1 - (embedder.embed(image) * embedder.embed(clean).detach()).sum(1)
    return {"perceptual": lpips(image, clean).mean(), "identity": identity.mean()}


def initial_encoder(generator: Generator, embedder: Embedder) -> Encoder:
    encoder = Encoder(generator.w_avg)
    start = embedder.network.state_dict()
    own = encoder.backbone.state_dict()
    encoder.backbone.load_state_dict({name: start[name] for name in own})
    torch.nn.init.normal_(encoder.base.weight, std=0.01)
    torch.nn.init.zeros_(encoder.base.bias)
    return encoder


@torch.no_grad()
def frozen_maps(encoder: Encoder, pairs: Pairs, camera: v2.Transform, device: torch.device) -> list[Tensor]:
    """What the backbone sees in every picture of the pool: one map a level, as small as the heads take it, bf16."""
    levels: list[list[Tensor]] = [[], [], []]
    for few in tqdm(pairs.images.split(32), desc="looking", **BAR):
        *fine, coarse = encoder.maps(seen_by_camera(few, camera, device))
        for kept, level in zip(levels, [*(F.adaptive_avg_pool2d(m, 4) for m in fine), coarse], strict=True):
            kept.append(level.to("cpu", torch.bfloat16))
    return [torch.cat(parts) for parts in levels]


def train_heads(encoder: Encoder, maps: list[Tensor], latents: Tensor, epochs: int, rng: torch.Generator) -> None:
    """Regress the latents on the frozen maps: AdamW, batches of 128, one cosine to zero."""
    device = encoder.w_avg.device
    optimizer = torch.optim.AdamW(head_parameters(encoder), lr=1e-3, weight_decay=0.05)
    batches = [b for _ in range(epochs) for b in torch.randperm(len(latents), generator=rng).split(128)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, max(len(batches), 2), pct_start=0.1)
    for batch in (progress := tqdm(batches, desc="heads", **BAR)):
        ws = encoder.code(*encoder.read([level[batch].to(device).float() for level in maps]))
        loss = F.mse_loss(ws, latents[batch].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix({"latent": f"{loss.item():.4f}"}, refresh=False)


def head_parameters(encoder: Encoder) -> list[torch.nn.Parameter]:
    return [p for name, p in encoder.named_parameters() if not name.startswith("backbone.")]


def backbone_parameters(encoder: Encoder) -> list[torch.nn.Parameter]:
    return [p for name, p in encoder.backbone.named_parameters() if not name.startswith(FROZEN)]


@torch.no_grad()
def held_out(encoder: Encoder, generator: Generator, lpips: LPIPS, embedder: Embedder) -> dict[str, float]:
    """Losses on 64 people at truncation 1 whom no training has met, their clean pictures as input."""
    latents = generator.sample(64, torch.Generator().manual_seed(CHECK_SEED))
    clean = generator.synthesis(latents).image.float()
    ws = encoder(clean)
    losses = latent_loss(ws, latents) | picture_losses(generator, ws, clean, lpips, embedder)
    return {name: round(loss.item(), 4) for name, loss in losses.items()}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pool", type=int, default=8192, help="pairs kept; the heads learn from the first so many")
    parser.add_argument("--epochs", type=int, default=6, help="of the heads, over the pool")
    parser.add_argument("--steps", type=int, default=800, help="of the whole network")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--fresh", type=int, default=4, help="new pairs a step")
    parser.add_argument("--learning-rate", type=float, default=4e-4, help="of the heads; the backbone's is a quarter")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16, keep the weights in float32")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[1] / "mobilestylegan-ffhq-encoder.safetensors"
    )
    parser.add_argument("--device", default=None)
    return parser.parse_args()


def main() -> None:
    args = options()
    keep_freed_memory()
    device = pick_device(args.device)
    generator = load_generator(resolution=SIZE, device=device).requires_grad_(False)
    embedder, lpips = load_embedder(device=device), load_lpips("alex", device)
    encoder = initial_encoder(generator, embedder).to(device, memory_format=torch.channels_last)
    heads, backbone = head_parameters(encoder), backbone_parameters(encoder)
    encoder.requires_grad_(False)
    for parameter in heads + backbone:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam([{"params": backbone, "share": 0.25}, {"params": heads, "share": 1.0}])
    precision = mixed_precision(device, args.bf16)
    state, done = args.out.with_suffix(".training.pt"), -1
    if state.exists():
        saved = torch.load(state, map_location="cpu", weights_only=True)
        done = saved["done"]
        encoder.load_state_dict(saved["encoder"])
        optimizer.load_state_dict(saved["adam"])
    torch.manual_seed(args.seed + done)
    pairs, camera = Pairs(generator, args.pool, args.seed + done, args.bf16), photograph()

    def save() -> None:
        """The state, and the file that ships: half precision, and the facts of its training."""
        with written_whole(state) as partial:
            torch.save({"encoder": encoder.state_dict(), "adam": optimizer.state_dict(), "done": done}, partial)
        half = {name: value.half().contiguous().cpu() for name, value in encoder.state_dict().items()}
        facts = vars(args) | {"steps": done, "pairs": pairs.next, "device": device.type}
        facts["held_out"] = held_out(encoder, generator, lpips, embedder)
        kept = {name: value for name, value in facts.items() if name != "out"}
        save_file(half | {"w_avg": generator.w_avg.cpu()}, args.out, {"training": json.dumps(kept)})
        print(f"{done} steps, held out: {facts['held_out']}", flush=True)

    for _ in tqdm(range(args.pool // 32), desc="filling the pool", **BAR):
        pairs.draw(32)
    if done < 0:
        with precision:
            maps = frozen_maps(encoder, pairs, camera, device)
        train_heads(encoder, maps, pairs.latents, args.epochs, torch.Generator().manual_seed(args.seed))
        done = 0
        save()
    for step in (progress := tqdm(range(done, args.steps), initial=done, total=args.steps, desc="encoder", **BAR)):
        share = 0.5 * (1 + math.cos(math.pi * step / args.steps)) * min(1, (step + 1) / 50)
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * group["share"] * share
        pairs.draw(args.fresh)
        latents, clean = pairs.batch(args.batch)
        with precision:
            ws = encoder(seen_by_camera(clean, camera, device))
            losses = latent_loss(ws, latents.to(device))
            losses |= picture_losses(generator, ws, to_input(clean, device), lpips, embedder)
        optimizer.zero_grad(set_to_none=True)
        sum(WEIGHTS[name] * loss for name, loss in losses.items()).backward()
        torch.nn.utils.clip_grad_norm_(heads + backbone, 1.0)
        optimizer.step()
        done = step + 1
        progress.set_postfix({name: f"{loss.item():.4f}" for name, loss in losses.items()}, refresh=False)
        if done % 100 == 0 or done == args.steps:
            save()


if __name__ == "__main__":
    main()
