"""Runs on disk: latents, weights and optimiser state in safetensors files, written all or nothing."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from guide_lib.errors import GuideError
from guide_lib.files import plainly_named, written_whole

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # what Adam remembers about each parameter


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


def run_fingerprint(settings: Any, w_u: Tensor, w_t: Tensor, *networks: nn.Module) -> str:
    """A digest of everything that decides a run: settings (a dataclass), latents, the generator and the losses' own."""
    facts = json.dumps(asdict(settings), sort_keys=True) + networks_digest(*networks)
    return hashlib.sha256(facts.encode() + _bytes(w_u) + _bytes(w_t)).hexdigest()


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


def save_checkpoint(
    path: Path,
    fingerprint: str,
    step: int,
    losses: Mapping[str, float],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Adam,
) -> None:
    """Write the state after `step`; see `save_tensors` for what a crash can and cannot do."""
    tensors: dict[str, Tensor] = {f"weight/{name}": parameter for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        state = optimizer.state.get(parameter, {})
        tensors |= {f"{moment}/{name}": state[moment] for moment in _MOMENTS if moment in state}
    metadata = {"fingerprint": fingerprint, "step": str(step), "losses": json.dumps(losses)}
    save_tensors(path, tensors, metadata)


def load_checkpoint(
    path: Path, fingerprint: str, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Adam
) -> tuple[int, dict[str, float]]:
    """Put the saved state into `parameters` and `optimizer`; returns the step it belongs to and its losses.

    Raises:
        GuideError: the file is damaged, or was written by a run with other settings, latents or weights.

    >>> parameters = student.trainable_parameters()
    >>> optimizer = torch.optim.Adam(parameters.values())
    >>> save_checkpoint(tmp_path / "run.safetensors", "my run", 30, {"total": 0.5}, parameters, optimizer)
    >>> resumed = generator.student().trainable_parameters()
    >>> load_checkpoint(tmp_path / "run.safetensors", "my run", resumed, torch.optim.Adam(resumed.values()))
    (30, {'total': 0.5})
    >>> torch.equal(resumed["backbone.weight"], parameters["backbone.weight"])
    True
    """
    saved, metadata = load_tensors(path)
    if "crc32" not in metadata:
        raise GuideError(f"{path} is damaged (no checksum); delete it to start the run afresh.")
    if metadata.get("fingerprint") != fingerprint:
        raise GuideError(f"{path} belongs to another run; use another folder, or delete it to start afresh.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[f"weight/{name}"])
            state = {m: saved[f"{m}/{name}"] for m in _MOMENTS if f"{m}/{name}" in saved}
            if state:
                # Adam keeps its step counter on the CPU whatever the device of the weights.
                optimizer.state[parameter] = {
                    m: t.clone() if m == "step" else t.to(parameter.device) for m, t in state.items()
                }
    return int(metadata["step"]), json.loads(metadata["losses"])
