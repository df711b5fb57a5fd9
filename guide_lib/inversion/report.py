"""The photos of one person beside what their latents draw, into a folder.

>>> from guide_lib.inversion import with_steps
>>> summary = invert_person(with_steps("optimise", 2), networks, ["ada.jpg"], photo, tmp_path)
>>> list(summary), sorted(path.name for path in tmp_path.glob("inversion.*"))
(['W', 'W+'], ['inversion.png', 'inversion.safetensors'])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from guide_lib.checkpoint import save_tensors
from guide_lib.experiment import Networks
from guide_lib.figures.plots import image_grid
from guide_lib.files import write_json
from guide_lib.generators import save_student
from guide_lib.inversion.methods import Method, invert_by, reconstructions
from guide_lib.perception.pose import views_of


def invert_person(
    method: str | Method,
    networks: Networks,
    names: Sequence[str],
    photos: Tensor,
    folder: Path,
    facts: dict[str, Any] | None = None,
) -> dict[str, dict[str, float]]:
    """Invert aligned photos [N, 3, S, S] and write inversion.safetensors, inversion.png and metrics.json.

    Returns for each stage of the method (see `guide_lib.inversion.methods`) the means of judge and lpips over the
    photos, and the seconds for all of them. metrics.json has these, the values of each photo by its name, and `facts`.
    After pivotal tuning, student.safetensors holds the tuned weights.
    """
    views = views_of(networks.generator, photos)
    stages = invert_by(method, networks, photos, folder, views=views)
    seen = reconstructions(networks, photos, stages, views)
    summary, each = {}, {name: {} for name in names}
    for stage, r in seen.items():
        summary[stage] = {"judge": r.judge.mean().item(), "lpips": r.lpips.mean().item()}
        summary[stage]["seconds"] = stages[stage].seconds
        for name, judge, lpips in zip(names, r.judge.tolist(), r.lpips.tolist(), strict=True):
            each[name][stage] = {"judge": judge, "lpips": lpips}
    codes = {name: stage.ws for name, stage in stages.items()}
    save_tensors(folder / "inversion.safetensors", codes, {"names": json.dumps(list(names))})
    if "tuned" in stages:
        save_student(folder / "student.safetensors", stages["tuned"].generator)
    named = method if isinstance(method, str) else asdict(method)
    setting = {"resolution": networks.generator.resolution, "method": named}
    write_json(folder / "metrics.json", summary | {"photos": each} | (facts or {}) | setting)
    columns = ["photo", *(f"{stage}: cosine {values['judge']:.2f}" for stage, values in summary.items())]
    rows = list(zip(photos.cpu(), *(r.pictures for r in seen.values()), strict=True))
    image_grid(rows, names if len(names) > 1 else None, columns, tile=256).save(folder / "inversion.png")
    return summary
