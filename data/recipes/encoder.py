"""Train the inversion encoder: writes mobilestylegan-ffhq-encoder.safetensors.

    python data/recipes/encoder.py                       # about an hour on two CPU cores, minutes on a GPU

Training pairs (ws, G(ws)) are endless: the generator draws them at 128 px while the encoder trains. The encoder sees
a picture as a camera might have taken it (light, blur, JPEG, a small misalignment) and must name the latent of the
clean one. First the latent alone is compared (--warm-up steps), then also the picture that the generator draws
from the answer, by LPIPS and by the identity embedder; the judge takes no part. The backbone starts as SFace's.
Resumable: the state is kept beside the output.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torchvision.transforms import v2
from tqdm import tqdm

from guide_lib.encoder import SIZE, Encoder
from guide_lib.generators import Generator, load_generator
from guide_lib.perception.identity import Embedder, load_embedder
from guide_lib.perception.perceptual import LPIPS, load_lpips
from guide_lib.runtime import keep_freed_memory, pick_device

SEED = 31_000  # the steps already done are added, so a resumed run meets new people
WEIGHTS = {"latent": 1.0, "perceptual": 0.8, "identity": 0.5}


class Pairs:
    """The last `size` pictures drawn, uint8 [size, 3, 128, 128], and their latents [size, rows, 512]."""

    def __init__(self, generator: Generator, size: int, seed: int) -> None:
        self.generator, self.next = generator, 0
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
        image = self.generator.synthesis(ws).image
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


def picture_loss(
    generator: Generator, ws: Tensor, clean: Tensor, lpips: LPIPS, embedder: Embedder
) -> tuple[Tensor, Tensor]:
    """LPIPS and 1 - identity cosine between the pictures drawn from `ws` and the clean ones; means."""
    image = generator.synthesis(ws).image
    identity = 1 - (embedder.embed(image) * embedder.embed(clean).detach()).sum(1)
    return lpips(image, clean).mean(), identity.mean()


def initial_encoder(generator: Generator, embedder: Embedder) -> Encoder:
    encoder = Encoder(generator.w_avg)
    start = embedder.network.state_dict()
    own = encoder.backbone.state_dict()
    encoder.backbone.load_state_dict({name: start[name] for name in own})
    torch.nn.init.normal_(encoder.base.weight, std=0.01)
    torch.nn.init.zeros_(encoder.base.bias)
    return encoder


def save_whole(content: dict[str, object], path: Path) -> None:
    """Write beside `path`, then rename: an interrupted run never leaves half a state."""
    partial = path.with_name(f"{path.name}.part")
    torch.save(content, partial)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--warm-up", type=int, default=2000, help="steps that compare latents alone")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--picture-batch", type=int, default=6, help="how many of a batch are drawn and compared")
    parser.add_argument("--pool", type=int, default=4096)
    parser.add_argument("--fresh", type=int, default=4, help="new pairs a step")
    parser.add_argument("--learning-rate", type=float, default=6e-4, help="the backbone's is a quarter of it")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[1] / "mobilestylegan-ffhq-encoder.safetensors"
    )
    parser.add_argument("--device", default=None)
    args = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(SEED)
    device = pick_device(args.device)
    generator = load_generator(resolution=SIZE, device=device).requires_grad_(False)
    embedder, lpips = load_embedder(device=device), load_lpips("alex", device)
    encoder = initial_encoder(generator, embedder).to(device, memory_format=torch.channels_last)
    encoder.requires_grad_(True)
    heads = [p for name, p in encoder.named_parameters() if not name.startswith("backbone.")]
    groups = [{"params": list(encoder.backbone.parameters()), "share": 0.25}, {"params": heads, "share": 1.0}]
    optimizer = torch.optim.Adam(groups, lr=args.learning_rate)
    state, done = args.out.with_suffix(".training.pt"), 0
    if state.exists():
        saved = torch.load(state, map_location="cpu", weights_only=True)
        done = saved["done"]
        encoder.load_state_dict(saved["encoder"])
        optimizer.load_state_dict(saved["adam"])
    torch.manual_seed(SEED + done)
    pairs, camera = Pairs(generator, args.pool, seed=SEED + done), photograph()
    for _ in tqdm(range(args.pool // 16), desc="filling the pool", dynamic_ncols=True, mininterval=30):
        pairs.draw(16)
    average: dict[str, float] = {}
    for step in (bar := tqdm(range(done, args.steps), initial=done, total=args.steps, mininterval=30)):
        share = 0.5 * (1 + math.cos(math.pi * step / args.steps)) * min(1, (step + 1) / 200)
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * group["share"] * share
        pairs.draw(args.fresh)
        latents, clean = pairs.batch(args.batch)
        seen = torch.cat([camera(few) for few in clean.split(2)])
        ws = encoder(to_input(seen, device).contiguous(memory_format=torch.channels_last))
        losses = {"latent": F.mse_loss(ws, latents.to(device))}
        if step >= args.warm_up:
            n = args.picture_batch
            losses["perceptual"], losses["identity"] = picture_loss(
                generator, ws[:n], to_input(clean[:n], device), lpips, embedder
            )
        optimizer.zero_grad(set_to_none=True)
        sum(WEIGHTS[name] * loss for name, loss in losses.items()).backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        for name, loss in losses.items():
            average[name] = average.get(name, loss.item()) + 0.01 * (loss.item() - average.get(name, loss.item()))
        bar.set_postfix({name: f"{value:.4f}" for name, value in average.items()}, refresh=False)
        if (step + 1) % 250 == 0 or step + 1 == args.steps:
            save_whole({"encoder": encoder.state_dict(), "adam": optimizer.state_dict(), "done": step + 1}, state)
            half = {name: value.half().contiguous().cpu() for name, value in encoder.state_dict().items()}
            facts = {"steps": step + 1, "pairs": args.pool + args.fresh * (step + 1), "loss": average}
            save_file(half | {"w_avg": generator.w_avg.cpu()}, args.out, {"training": json.dumps(facts)})


if __name__ == "__main__":
    main()
