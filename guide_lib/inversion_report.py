"""The photos of one person beside what their latents draw, into a folder.

invert_person(networks, person.names, person.photos, Path("runs/inversion"))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from guide_lib.checkpoint import save_tensors
from guide_lib.experiment import Networks, find_codes, reconstructions, write_json
from guide_lib.inversion import InversionSettings
from guide_lib.plots import image_grid


def invert_person(
    networks: Networks,
    names: Sequence[str],
    photos: Tensor,
    folder: Path,
    settings: InversionSettings | None = None,
    facts: dict[str, Any] | None = None,
) -> dict[str, dict[str, float]]:
    """Invert aligned photos [N, 3, S, S] and write inversion.safetensors, inversion.png and metrics.json.

    Returns for each space ("W", "W+") the means of judge and lpips over the photos, and the seconds for all of them.
    metrics.json has these, the values of each photo by its name, and `facts`.
    """
    settings = settings or InversionSettings()
    found = find_codes(networks, photos, folder, settings)
    seen = reconstructions(networks, photos, found.codes)
    summary, each = {}, {name: {} for name in names}
    for space, r in seen.items():
        summary[space] = {"judge": r.judge.mean().item(), "lpips": r.lpips.mean().item()}
        summary[space]["seconds"] = found.seconds[space]
        for name, judge, lpips in zip(names, r.judge.tolist(), r.lpips.tolist(), strict=True):
            each[name][space] = {"judge": judge, "lpips": lpips}
    save_tensors(folder / "inversion.safetensors", found.codes, {"names": json.dumps(list(names))})
    setting = {"resolution": networks.generator.resolution, "settings": asdict(settings)}
    write_json(folder / "metrics.json", summary | {"photos": each} | (facts or {}) | setting)
    columns = ["photo", *(f"{space}: cosine {values['judge']:.2f}" for space, values in summary.items())]
    rows = list(zip(photos.cpu(), *(r.pictures for r in seen.values()), strict=True))
    image_grid(rows, names if len(names) > 1 else None, columns, tile=256).save(folder / "inversion.png")
    return summary
