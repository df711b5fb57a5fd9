"""Runs on disk: latents, weights and optimiser state in safetensors files, written all or nothing."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from guide_lib.errors import GuideError
from guide_lib.files import plainly_named, written_whole

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # what Adam remembers about each parameter
CHOSEN_BY_DEVICE = ("mixed_precision",)  # two machines may differ in these settings and compute one run
SAME_LATENT = 1e-3  # relative; a GPU's matrix products keep ten bits of each number


def networks_digest(*networks: nn.Module) -> str:
    """A digest of what networks compute: the class of each, and every tensor in it, as 64 hexadecimal digits.

    >>> networks_digest(generator) == networks_digest(generator.student())
    True
    >>> networks_digest(generator) == networks_digest(student)
    False
    """
    digest = hashlib.sha256()
    for network in networks:
        digest.update(type(network).__qualname__.encode())
        for name, tensor in network.state_dict().items():
            digest.update(name.encode() + _bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file that is either the old one or the whole new one, whenever the process dies.

    Raises:
        GuideError: the folder cannot be written or the disk is full; an older file at `path` is untouched.

    >>> save_tensors(tmp_path / "latents.safetensors", {"w_u": w_u}, {"person": "7"})
    >>> tensors, metadata = load_tensors(tmp_path / "latents.safetensors")
    >>> torch.equal(tensors["w_u"], w_u), metadata["person"]
    (True, '7')
    """
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = dict(metadata or {})
    try:
        with written_whole(path) as partial:
            save_file(content, partial, facts | {"crc32": _checksum(content, facts)})
    except (OSError, SafetensorError) as error:
        raise GuideError(f"Cannot write {path} ({error}); free some space or choose another folder.") from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file, on the CPU. Raises GuideError when it is damaged.

    >>> _ = (tmp_path / "w.safetensors").write_bytes(b"cut short")
    >>> load_tensors(tmp_path / "w.safetensors")
    Traceback (most recent call last):
    guide_lib.errors.GuideError: .../w.safetensors is damaged (...); delete it to start the run afresh.
    """
    try:
        with plainly_named(path) as plain, safe_open(plain, "pt") as file:
            tensors, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise GuideError(f"{path} is damaged ({reason}); delete it to start the run afresh.") from error
    if metadata.get("crc32") not in (None, _checksum(tensors, metadata)):  # None: from before there were checksums
        raise GuideError(f"{path} is damaged (wrong checksum); delete it to start the run afresh.")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """A flipped bit would otherwise go on in the weights, unseen."""
    facts = {key: value for key, value in metadata.items() if key != "crc32"}
    crc = zlib.crc32(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), crc)
    return f"{crc:08x}"


@dataclass(frozen=True)
class Run:
    """What decides a run.

    settings: a dataclass. w_u, w_t: [1, rows, w_dim]. networks: `networks_digest` of the generator and the losses' own.
    """

    settings: Any
    w_u: Tensor
    w_t: Tensor
    networks: str

    def fingerprint(self) -> str:
        """A digest of it all. Checkpoints held nothing else about their run before they held the run itself."""
        facts = json.dumps(asdict(self.settings), sort_keys=True) + self.networks
        return hashlib.sha256(facts.encode() + _bytes(self.w_u) + _bytes(self.w_t)).hexdigest()


@dataclass(frozen=True)
class Saved:
    """The state of a run after `step`.

    run: as it was begun, perhaps on another machine. step: counted from 1. losses: of that step. tensors: weights and
    Adam's moments.
    """

    run: Run
    step: int
    losses: dict[str, float]
    tensors: Mapping[str, Tensor]

    @torch.no_grad()
    def restore(self, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Adam) -> None:
        """Put weights and moments where they belong, on the device of the parameters."""
        for name, parameter in parameters.items():
            parameter.copy_(self.tensors[f"weight/{name}"])
            state = {m: self.tensors[f"{m}/{name}"] for m in _MOMENTS if f"{m}/{name}" in self.tensors}
            if state:
                # Adam keeps its step counter on the CPU whatever the device of the weights.
                optimizer.state[parameter] = {
                    m: t.clone() if m == "step" else t.to(parameter.device) for m, t in state.items()
                }


def save_checkpoint(
    path: Path,
    run: Run,
    step: int,
    losses: Mapping[str, float],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Adam,
) -> None:
    """Write the run and its state after `step`; see `save_tensors` for what a crash can and cannot do."""
    tensors: dict[str, Tensor] = {f"weight/{name}": parameter for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        state = optimizer.state.get(parameter, {})
        tensors |= {f"{moment}/{name}": state[moment] for moment in _MOMENTS if moment in state}
    tensors |= {"latent/w_u": run.w_u, "latent/w_t": run.w_t}
    metadata = {"settings": json.dumps(asdict(run.settings)), "networks": run.networks}
    save_tensors(path, tensors, metadata | {"step": str(step), "losses": json.dumps(losses)})


def load_checkpoint(path: Path, run: Run) -> Saved:
    """The saved state of `run`, which may have been begun on another device: there a latent has other last digits.

    Settings that a device chooses (the precision) and the latents are then those that the run was begun with.

    Raises:
        GuideError: the file is damaged, or was written by a run with other settings, latents or weights.

    >>> from guide_lib.unlearning import UnlearningSettings
    >>> run, parameters = Run(UnlearningSettings(steps=90), w_u, w_t, "their digest"), student.trainable_parameters()
    >>> optimizer = torch.optim.Adam(parameters.values())
    >>> save_checkpoint(tmp_path / "run.safetensors", run, 30, {"total": 0.5}, parameters, optimizer)
    >>> saved = load_checkpoint(tmp_path / "run.safetensors", run)
    >>> saved.step, saved.losses, saved.run.settings.steps
    (30, {'total': 0.5}, 90)
    >>> resumed = generator.student().trainable_parameters()
    >>> saved.restore(resumed, torch.optim.Adam(resumed.values()))
    >>> torch.equal(resumed["backbone.weight"], parameters["backbone.weight"])
    True
    """
    tensors, metadata = load_tensors(path)
    if "crc32" not in metadata:
        raise GuideError(f"{path} is damaged (no checksum); delete it to start the run afresh.")
    begun = _as_begun(run, tensors, metadata)
    if begun is None:
        raise GuideError(f"{path} belongs to another run; use another folder, or delete it to start afresh.")
    return Saved(begun, int(metadata["step"]), json.loads(metadata["losses"]), tensors)


def _as_begun(run: Run, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Run | None:
    """The run of the file, if it is this one."""
    if "settings" not in metadata:  # an old file: the same to the last bit, or another
        return run if metadata.get("fingerprint") == run.fingerprint() else None
    settings = asdict(type(run.settings)()) | json.loads(metadata["settings"])  # a setting may be newer than the file
    w_u, w_t = (tensors[f"latent/{name}"].to(run.w_u) for name in ("w_u", "w_t"))
    begun = replace(run.settings, **{name: settings[name] for name in CHOSEN_BY_DEVICE})
    same = run.networks == metadata["networks"] and asdict(begun) == settings
    return Run(begun, w_u, w_t, run.networks) if same and _near(w_u, run.w_u) and _near(w_t, run.w_t) else None


def _near(a: Tensor, b: Tensor) -> bool:
    """Whether two latents are one, computed on two devices."""
    return a.shape == b.shape and bool((a - b).norm() <= SAME_LATENT * b.norm())
