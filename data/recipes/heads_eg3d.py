"""Train heads-eg3d on people whom heads_people.py photographed: writes heads-eg3d.safetensors.

    python data/recipes/heads_eg3d.py people work surface --size 32 --steps 1500
    python data/recipes/heads_eg3d.py people work surface --size 64 --steps 4000
    python data/recipes/heads_eg3d.py people work enlarge --steps 1000
    python data/recipes/heads_eg3d.py people work names --steps 2000
    python data/recipes/heads_eg3d.py people work pictures --steps 1000
    python data/recipes/heads_eg3d.py people work export

`surface` follows no ray. Every pixel knows how far away its point is: there the field has the pixel's colour, in front
of it nothing, behind it matter; along a ray of the background there is nothing at all. Four points a pixel teach what
volume rendering would need a hundred for, first on planes of 32 px (the blocks of higher resolutions rest), then on
all. `enlarge` teaches the super-resolution on what that field renders, by L1, more of it at eyes and mouth, and LPIPS;
`pictures` teaches everything so.
What z means is not all as simple as a wider nose: the kind of hair is the largest of eight sums. A few thousand people
do not teach such a rule; but names are free of pictures. So beside the pictures, thousands of z that nobody
photographed must give w from which a linear layer, which is not kept, reads what `describe` says of them; in `names`
the mapping learns nothing else, and the people with pictures keep their w.
Every stage saves itself each few minutes, goes on where it was stopped, takes up new people as they come, and starts
from the stage before.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from heads_people import DEPTH_STEPS, SIDE
from safetensors.torch import save_file
from torch import Tensor, nn

from guide_lib.files import written_whole
from guide_lib.generators.cameras import intrinsics, pixel_rays
from guide_lib.generators.eg3d import EG3D, look_up
from guide_lib.generators.heads_eg3d import FILE, HEADS
from guide_lib.generators.volume import Jitter
from guide_lib.heads.person import BROWS, HAIR_STYLES, NUMBERS, Person, describe
from guide_lib.perception.perceptual import LPIPS, load_lpips

HELD_OUT = 16  # the first people are never trained on
DENSITY = 40.0  # the decoder's density is this many times its last layer's output while surfaces are learned
STEP = 0.02  # the stretch of a ray that should be opaque inside a head, scene units
PIXELS = {"skin": 520, "features": 520, "empty": 360, "edge": 200}  # of a person and step
SAVE_EVERY = 150.0  # seconds
NAMED, NAMED_AT_ONCE = 1 << 15, 256  # people of whom no picture is needed, in all and of a step
READER_STEPS = 1500
KEPT_APART = torch.tensor([len(HAIR_STYLES), len(BROWS)]).cumsum(0)  # where the numbers begin in what is said


@dataclass(frozen=True)
class Seen:
    """A photographed person.

    z: [64]. poses: [V, 4, 4]. image: [V, 3, S, S] and alpha: [V, S, S] in [0, 255]. depth: [V * S * S], in steps.
    places: indices of pixels of all views: of the skin, of eyes and mouth, of the background, of that near a head.
    """

    z: Tensor
    poses: Tensor
    image: Tensor
    alpha: Tensor
    depth: Tensor
    places: dict[str, Tensor]

    @classmethod
    def of(cls, z: Tensor, poses: Tensor, image: Tensor, alpha: Tensor, depth: Tensor) -> Seen:
        """From what heads_people.py stored of one person."""
        origins, directions = pixel_rays(poses, intrinsics(HEADS.field_of_view)[None], SIDE)
        points = (origins + directions * depth.flatten(1)[..., None] / DEPTH_STEPS).flatten(0, 1)
        x, y, front = points.unbind(1)
        eye = ((x.abs() - 0.066).abs() < 0.045) & ((y - 0.025).abs() < 0.05)
        mouth = (x.abs() < 0.085) & ((y + 0.13).abs() < 0.07)
        inside = points.abs().amax(1) < HEADS.box_warp / 2  # a shoulder may reach beyond, where the planes are 0
        skin, empty = (depth.flatten() > 0) & inside, alpha.flatten() < 3
        near = F.max_pool2d(alpha[:, None].float(), 9, stride=1, padding=4).flatten() > 20
        masks = {"skin": skin, "features": skin & (front > 0.12) & (eye | mouth), "empty": empty, "edge": empty & near}
        places = {name: mask.nonzero()[:, 0].int() for name, mask in masks.items()}
        return cls(z, poses, image, alpha, depth.flatten(), places)

    def pick(self, place: str, count: int) -> Tensor:
        """Indices of pixels, drawn with replacement; from anywhere on the head or off it where there are none."""
        those = self.places[place]
        if not len(those):
            those = self.places["empty" if place == "edge" else "skin"]
        return those[torch.randint(len(those), (count,))].long()

    def rays(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Origins and directions, [K, 3] each."""
        view, place = pixels // SIDE**2, pixels % SIDE**2
        centre = torch.stack([(place % SIDE + 0.5) / SIDE, (place // SIDE + 0.5) / SIDE, torch.ones(len(place))], dim=1)
        in_camera = centre @ torch.linalg.inv(intrinsics(HEADS.field_of_view)).T
        pose = self.poses[view]
        return pose[:, :3, 3], F.normalize(torch.einsum("kij,kj->ki", pose[:, :3, :3], in_camera), dim=1)


class People:
    """All who are in a folder; more may come while it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.read, self.all = folder, set(), []

    def refresh(self) -> None:
        for path in sorted(set(self.folder.glob("people-*.npz")) - self.read):
            self.read.add(path)
            with np.load(path) as chunk:
                parts = [torch.from_numpy(chunk[name]) for name in ("z", "poses", "image", "alpha")]
                depth = torch.from_numpy(chunk["depth"].astype(np.int32))
            self.all += [Seen.of(*one) for one in zip(*parts, depth, strict=True)]

    def photographed(self) -> Tensor:
        """z [N, 64] of those who may be drawn."""
        return torch.stack([person.z for person in self.all[HELD_OUT:]])

    def draw(self, count: int) -> list[Seen]:
        return [self.all[i] for i in torch.randint(HELD_OUT, len(self.all), (count,)).tolist()]


def planes_of(generator: EG3D, z: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Tri-planes of z [N, 64] by the blocks up to `size` px, and ws."""
    ws = generator.mapping(z)
    network = generator.backbone.synthesis
    x, planes = network.b4(None, None, ws[:, :2])
    for i, r in enumerate(r for r in network.sizes[1:] if r <= size):
        x, planes = network.get_submodule(f"b{r}")(x, planes, ws[:, 2 * i + 1 : 2 * i + 4])
    return planes, ws


def surface_points(person: Seen) -> tuple[Tensor, Tensor, Tensor]:
    """Points [M, 3], whether they are at a surface or inside (1) or empty (0) [M], colours of the first [K, 3].

    First K points around the surfaces of K pixels, then as many a little behind, then twice as many in front, then
    points on rays of the background. The first are neither inside nor outside: their occupancy is -1.
    """
    pixels = torch.cat([person.pick(name, PIXELS[name]) for name in ("skin", "features")])
    origins, directions = person.rays(pixels)
    depth, n = person.depth[pixels] / DEPTH_STEPS, len(pixels)
    near = HEADS.sampling.near
    steps = [
        torch.rand(n) * 0.014 - 0.006,
        torch.rand(n) * 0.022 + 0.008,
        -torch.rand(n) * 0.04 - 0.012,
        -torch.rand(n) * (depth - near - 0.05).clamp(min=0.02) - 0.05,
    ]
    points = [origins + directions * (depth + step)[:, None] for step in steps]
    empty = torch.cat([person.pick(name, PIXELS[name]) for name in ("empty", "edge")])
    origins, directions = (part.repeat(2, 1) for part in person.rays(empty))
    # as far as rendering may look: a coarse sample moves on by up to a step, beyond the last one, too
    length = (HEADS.sampling.far - near) * HEADS.sampling.coarse / (HEADS.sampling.coarse - 1)
    points.append(origins + directions * (near + length * torch.rand(len(origins), 1)))
    occupancy = torch.cat([torch.full((n,), -1.0), torch.ones(n), torch.zeros(2 * n + 2 * len(empty))])
    return torch.cat(points), occupancy, person.image.permute(0, 2, 3, 1).flatten(0, 2)[pixels] / 255


def surface_losses(generator: EG3D, planes: Tensor, people: list[Seen], scale: float) -> dict[str, Tensor]:
    """Colour where surfaces are and just behind; matter behind them; nothing in front. scale: of the density."""
    points, occupancy, colours = (torch.stack(x) for x in zip(*map(surface_points, people), strict=True))
    density, found = generator.decoder(look_up(planes, points, HEADS.box_warp, HEADS.axis_slip))
    raw = scale * density - 1
    optical = F.softplus(raw) * STEP
    # log(1 - exp(-optical)); where it is far below 0 its gradient must not vanish, or what is empty stays empty
    filled = torch.where(raw < -10, raw + math.log(STEP), (-torch.expm1(-optical.clamp(min=1e-8))).log())
    k = colours.shape[1]
    return {
        "colour": (found[:, :3, : 2 * k].mT - colours.repeat(1, 2, 1)).abs().mean(),
        "matter": -filled[occupancy == 1].mean(),
        "empty": optical[occupancy == 0].clamp(max=6).mean(),
    }


Compute = Callable[[], dict[str, Tensor]]
SURFACE_WEIGHTS = {"colour": 4.0, "matter": 0.5, "empty": 0.5, "names": 0.1}


def said(person: Person) -> list[float]:
    """The places of hair and brows in their lists, and the numbers that z does not hold as they are."""
    long = person.hair in ("long01", "ponytail01")
    numbers = [person.gender, person.age, person.iris, person.beard, person.smile, person.cut if long else 0.0]
    choices = [HAIR_STYLES.index(person.hair), BROWS.index(person.brow)]
    return [*map(float, choices), *numbers, *person.hair_colour**0.5, *person.ancestry]


class Names:
    """People without pictures, and a linear layer that reads from w what is said of them."""

    def __init__(self, generator: EG3D, photographed: Tensor) -> None:
        """photographed: z [N, 64] of people with pictures, whose w the network has learned to draw."""
        z = np.concatenate(
            [photographed.double().numpy(), np.random.default_rng(2030).standard_normal((NAMED, NUMBERS))]
        )
        told = torch.tensor([said(describe(one)) for one in z], dtype=torch.float32)
        self.z, self.choices, numbers = torch.from_numpy(z).float(), told[:, :2].long(), told[:, 2:]
        self.numbers = (numbers - numbers.mean(0)) / numbers.std(0)
        self.reader = nn.Linear(HEADS.w_dim, int(KEPT_APART[-1]) + self.numbers.shape[1])
        self.optimizer = torch.optim.Adam(self.reader.parameters(), 5e-3)
        for _ in range(READER_STEPS):  # so that w changes for the others first, until it says what it says of these
            which = torch.randint(len(photographed), (NAMED_AT_ONCE,))
            self.follow(generator.mapping(self.z[which])[:, 0].detach(), which)

    def misread(self, w: Tensor, which: Tensor) -> Tensor:
        """How wrong the reader is about some, by their w [B, w_dim]."""
        hair, brow, numbers = self.reader(w).tensor_split(KEPT_APART, dim=1)
        wrong = F.cross_entropy(hair, self.choices[which, 0]) + F.cross_entropy(brow, self.choices[which, 1])
        return wrong + F.mse_loss(numbers, self.numbers[which])

    def follow(self, w: Tensor, which: Tensor) -> None:
        """One step of the reader alone."""
        self.optimizer.zero_grad(set_to_none=True)
        self.misread(w, which).backward()
        self.optimizer.step()

    def loss(self, generator: EG3D) -> Tensor:
        """For the mapping; the reader keeps up with it."""
        w, which = self.drawn(generator)
        self.follow(w.detach(), which)
        return self.misread(w, which)

    def drawn(self, generator: EG3D) -> tuple[Tensor, Tensor]:
        """w [B, w_dim] of some of all people, and who they are."""
        which = torch.randint(len(self.z), (NAMED_AT_ONCE,))
        return generator.mapping(self.z[which])[:, 0], which


@dataclass(frozen=True)
class Album:
    """One photograph each of some people. image: [N, 3, S, S] in [-1, 1]. alpha: [N, 1, S, S] in [0, 1].

    poses: [N, 4, 4]. weight: [N, 1, S, S], how much a pixel counts, more at eyes and mouth.
    """

    image: Tensor
    alpha: Tensor
    poses: Tensor
    weight: Tensor

    @classmethod
    def of(cls, people: list[Seen]) -> Album:
        """A view of each, drawn."""
        chosen = [(p, int(torch.randint(len(p.poses), ()))) for p in people]
        image, alpha, poses = (
            torch.stack([getattr(p, name)[v] for p, v in chosen]) for name in ("image", "alpha", "poses")
        )
        weight = torch.stack([1 + 3 * feature_mask(p, v) for p, v in chosen])
        return cls(image / 127.5 - 1, alpha[:, None] / 255, poses, weight[:, None])

    def __getitem__(self, which: Tensor) -> Album:
        return Album(self.image[which], self.alpha[which], self.poses[which], self.weight[which])


def feature_mask(person: Seen, view: int) -> Tensor:
    """Where eyes and mouth are in a view, [S, S], 0 or 1."""
    mask, there = torch.zeros(SIDE, SIDE), person.places["features"].long()
    mask.view(-1)[there[there // SIDE**2 == view] % SIDE**2] = 1
    return mask


def render(generator: EG3D, planes: Tensor, poses: Tensor) -> Tensor:
    """Features [N, C, R, R] with the ray samples of a seed that is drawn."""
    seed = int(torch.randint(1 << 31, ()))
    jitter = Jitter.of_seed(HEADS.sampling, HEADS.render_size**2, seed, planes.device)
    return generator.render(planes, poses, intrinsics(HEADS.field_of_view)[None], jitter)[0]


def raw_loss(features: Tensor, album: Album) -> Tensor:
    """L1 of the picture that is rendered; a field without a background is black there, and -1 in its picture."""
    dark = F.interpolate((album.image + 1) * album.alpha - 1, features.shape[-2:], mode="area")
    return ((features[:, :3] - dark).abs() * F.avg_pool2d(album.weight, SIDE // features.shape[-1])).mean()


def picture_losses(image: Tensor, album: Album, lpips: LPIPS) -> dict[str, Tensor]:
    """L1, and LPIPS, of the enlarged picture."""
    l1 = ((image - album.image).abs() * album.weight).mean()
    return {"picture": l1, "lpips": lpips(image, album.image).mean()}


ENLARGE_WEIGHTS = {"picture": 1.0, "lpips": 1.0}
PICTURE_WEIGHTS = {
    "raw": 1.0,
    **ENLARGE_WEIGHTS,
    **{name: 0.3 * w for name, w in SURFACE_WEIGHTS.items()},
    "names": 0.2,
}


def untrained(seed: int = 0) -> EG3D:
    """The start: random weights, a nearly empty field, and blank maps in the place of noise.

    A person's picture has no use for noise; but the stored maps, if they are learned, tell every layer where it is.
    """
    rng = torch.Generator().manual_seed(seed)
    generator = EG3D.random(HEADS, rng).train()
    last = generator.decoder.net[-1]
    with torch.no_grad():
        last.weight.copy_(torch.randn(last.weight.shape, generator=rng))
        last.weight[0] *= 0.3
        last.bias.zero_()
        last.bias[0] = -0.5
        generator.backbone.synthesis.get_submodule(f"b{HEADS.plane_size}").torgb.weight.mul_(0.1)
        for block in generator.superresolution.children():
            block.torgb.weight.mul_(0.1)  # at first it enlarges, and adds nothing
        for name, tensor in generator.backbone.synthesis.state_dict().items():
            if name.endswith(("noise_const", "noise_strength")):
                tensor.fill_(float(name.endswith("strength")))
    return generator


def mean_of(stage: Path, folded: bool = True) -> dict[str, Tensor]:
    """The running mean of a stage's weights; folded: the density of a surface stage as volume rendering expects it."""
    mean = torch.load(stage, weights_only=True)["mean"]
    if folded and stage.stem.startswith("surface"):
        for name in ("decoder.net.2.weight", "decoder.net.2.bias"):
            mean[name][0] *= DENSITY
    return mean


class Training:
    """A stage: weights, their running mean, optimiser, and a log that ends up in results/."""

    def __init__(
        self, folder: Path, name: str, rate: float, before: str | None, full_until: int, only: str = ""
    ) -> None:
        """only: where the names of the parameters begin that learn."""
        self.path, self.log = folder / f"{name}.pt", folder / f"{name}.jsonl"
        self.generator, self.step, self.seconds, self.full_until = untrained(torch.initial_seed()), 0, 0.0, full_until
        state = None
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
        elif before:
            surfaces = before.startswith("surface") and name.startswith("surface")
            self.generator.load_state_dict(mean_of(folder / f"{before}.pt", folded=not surfaces))
        learned = {n: p for n, p in self.generator.named_parameters() if "noise" not in n and "embed" not in n}
        maps = self.generator.backbone.synthesis.named_buffers()
        learned |= {f"backbone.synthesis.{n}": map_ for n, map_ in maps if n.endswith("noise_const")}
        learned = {n: p for n, p in learned.items() if n.startswith(only)}
        for parameter in learned.values():
            parameter.requires_grad_(True)
        mapping = [p for n, p in learned.items() if ".mapping." in n]
        rest = [p for n, p in learned.items() if ".mapping." not in n]
        # The mapping's layers are built to learn a hundred times slower; a regression needs them faster.
        self.rates = (20 * rate, rate)
        self.optimizer = torch.optim.Adam([{"params": mapping}, {"params": rest}], betas=(0.8, 0.98))
        self.mean = {n: t.clone() for n, t in self.generator.state_dict().items()}  # what is judged and shipped
        if state:
            self.generator.load_state_dict(state["generator"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.mean, self.step, self.seconds = state["mean"], state["step"], state["seconds"]

    def apply(self, loss: Tensor) -> None:
        done = max(0.1, 1 - max(0, self.step - self.full_until) / max(1, self.full_until))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * done * min(1.0, (self.step + 1) / 40)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        follow = 1 - min(0.998, 1 - 10 / (self.step + 10))
        with torch.no_grad():
            for name, tensor in self.generator.state_dict().items():
                self.mean[name].lerp_(tensor, follow)

    def save(self) -> None:
        state = {"generator": self.generator.state_dict(), "optimizer": self.optimizer.state_dict(), "mean": self.mean}
        with written_whole(self.path) as partial:
            torch.save(state | {"step": self.step, "seconds": self.seconds}, partial)


def run(training: Training, people: People, steps: int, losses: dict[str, float], compute: Compute) -> None:
    """Steps until `steps`; every 50 a line of mean losses and of the processor's seconds."""
    sums, saved, started = dict.fromkeys(losses, 0.0), time.monotonic(), time.process_time() - training.seconds
    while training.step < steps:
        found = compute()
        training.apply(sum(weight * found[name] for name, weight in losses.items()))
        sums = {name: total + found[name].item() / 50 for name, total in sums.items()}
        training.seconds = time.process_time() - started
        if training.step % 50 == 0:
            line = {"step": training.step, "seconds": round(training.seconds), "people": len(people.all)}
            line |= {name: round(value, 4) for name, value in sums.items()}
            with training.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)
            sums = dict.fromkeys(losses, 0.0)
        if time.monotonic() - saved > SAVE_EVERY or training.step == steps:
            training.save()
            people.refresh()
            saved = time.monotonic()


def surface(people: People, folder: Path, args: argparse.Namespace) -> None:
    before = f"surface-{args.size // 2}" if args.size > 32 else None
    training = Training(folder, f"surface-{args.size}", args.rate, before, args.steps // 2)
    read = Names(training.generator, people.photographed())

    def compute() -> dict[str, Tensor]:
        batch = people.draw(args.batch)
        planes, _ = planes_of(training.generator, torch.stack([p.z for p in batch]), args.size)
        found = surface_losses(training.generator, planes, batch, DENSITY)
        return found | {"names": read.loss(training.generator)}

    run(training, people, args.steps, SURFACE_WEIGHTS, compute)


def enlarge(people: People, folder: Path, args: argparse.Namespace) -> None:
    """The field rests; it is rendered once, and the super-resolution learns on that."""
    training = Training(folder, "enlarge", args.rate, f"surface-{HEADS.plane_size}", args.steps // 2, "superresolution")
    lpips, seen = load_lpips("alex"), people.draw(args.pool)
    album, features, codes = Album.of(seen), [], []
    with torch.no_grad():
        for n, person in enumerate(seen):
            planes, ws = planes_of(training.generator, person.z[None], HEADS.plane_size)
            features.append(render(training.generator, planes, album.poses[n : n + 1]))
            codes.append(ws)
    drawn, ws = torch.cat(features), torch.cat(codes)

    def compute() -> dict[str, Tensor]:
        which = torch.randint(len(seen), (args.batch,))
        return picture_losses(training.generator.superresolution(drawn[which], ws[which]), album[which], lpips)

    run(training, people, args.steps, ENLARGE_WEIGHTS, compute)


def names(people: People, folder: Path, args: argparse.Namespace) -> None:
    """The mapping alone learns, and whoever has pictures keeps their w, so that nothing else must follow."""
    training = Training(folder, "names", args.rate, "enlarge", args.steps // 2, "backbone.mapping")
    z, generator = people.photographed(), training.generator
    read = Names(generator, z)
    with torch.no_grad():
        kept = generator.mapping(z)[:, 0]

    def compute() -> dict[str, Tensor]:
        who = torch.randint(len(z), (args.batch,))
        moved = (generator.mapping(z[who])[:, 0] - kept[who]).square().mean() / kept.var(0).mean()
        return {"names": read.misread(*read.drawn(generator)), "moved": moved}

    run(training, people, args.steps, {"names": 1.0, "moved": 0.4}, compute)


def pictures(people: People, folder: Path, args: argparse.Namespace) -> None:
    """Everything learns from pictures, and from surfaces a little."""
    training = Training(folder, "pictures", args.rate, "names", args.steps // 2)
    lpips, read = load_lpips("alex"), Names(training.generator, people.photographed())

    def compute() -> dict[str, Tensor]:
        batch = people.draw(args.batch)
        album = Album.of(batch)
        planes, ws = planes_of(training.generator, torch.stack([p.z for p in batch]), HEADS.plane_size)
        features = render(training.generator, planes, album.poses)
        found = surface_losses(training.generator, planes, batch, 1.0) | {"raw": raw_loss(features, album)}
        found["names"] = read.loss(training.generator)
        return found | picture_losses(training.generator.superresolution(features, ws), album, lpips)

    run(training, people, args.steps, PICTURE_WEIGHTS, compute)


def finished(stage: Path) -> EG3D:
    """A stage that is saved in `stage`, as a network that draws."""
    generator = EG3D(HEADS)
    generator.load_state_dict(mean_of(stage))
    return generator.requires_grad_(False).eval()


def export(folder: Path) -> None:
    """The last stage in half precision, with w_avg over 65,536 people, into the folder of the stages."""
    last = next(name for name in ("pictures", "names", "enlarge") if (folder / f"{name}.pt").exists())
    generator = finished(folder / f"{last}.pt")
    rng = torch.Generator().manual_seed(0)
    ws = torch.cat([generator.mapping(torch.randn(4096, HEADS.z_dim, generator=rng))[:, 0] for _ in range(16)])
    generator.backbone.mapping.w_avg.copy_(ws.mean(0))
    steps = torch.load(folder / f"{last}.pt", weights_only=True)["step"]
    state = {name: tensor.half().contiguous() for name, tensor in generator.state_dict().items()}
    target = folder / FILE
    save_file(state, target, metadata={"stage": last, "steps": str(steps)})
    print(target, target.stat().st_size, "bytes")


# Rate of learning, people a step, steps.
STAGES = (
    ("surface", 5e-3, 8, 1500),
    ("enlarge", 5e-3, 4, 1000),
    ("names", 1.5e-3, 192, 2000),
    ("pictures", 1.5e-3, 2, 1000),
)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("people", type=Path, help="the folder that heads_people.py filled")
    parser.add_argument("folder", type=Path, help="for what is saved on the way")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first weights and of each step; a resumed run should get another"
    )
    stages = parser.add_subparsers(dest="stage", required=True)
    for name, rate, batch, steps in STAGES:
        stage = stages.add_parser(name)
        stage.add_argument("--rate", type=float, default=rate, help="Adam's, of all but the mapping network")
        stage.add_argument("--batch", type=int, default=batch, help="people a step")
        stage.add_argument("--steps", type=int, default=steps, help="from the half of them on, the rate falls")
        if name == "enlarge":
            stage.add_argument("--pool", type=int, default=400, help="pictures that are rendered")
        if name == "surface":
            stage.add_argument("--size", type=int, default=32, help="of the planes, px")
    stages.add_parser("export")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.stage == "export":
        return export(args.folder)
    people = People(args.people)
    people.refresh()
    torch.manual_seed(args.seed)
    return {"surface": surface, "enlarge": enlarge, "names": names, "pictures": pictures}[args.stage](
        people, args.folder, args
    )


if __name__ == "__main__":
    main()
