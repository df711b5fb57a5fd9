"""GUIDE beside the paper's baseline, over several people: one row a person and method, resumable.

print(compare_methods(networks, settings, Path("runs/compare"), people=8))
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from guide_lib.experiment import Networks, bar, other_people, sample_person
from guide_lib.metrics import evaluate
from guide_lib.targets import average_target, ufo_target
from guide_lib.unlearning import UnlearningSettings, unlearn

TRUNCATIONS = (1.0, 0.7)  # person k is drawn at TRUNCATIONS[k % 2]
COLUMNS = {"id": "ID (lower)", "retention": "retention (higher)", "lpips_others": "LPIPS of others (lower)"}


def compare_methods(networks: Networks, settings: UnlearningSettings, folder: Path, people: int = 8) -> str:
    """Unlearn the people of seeds 0 .. people - 1 with both methods; write people.jsonl, summary.json and table.md.

    Rows that people.jsonl already holds are not computed again. Returns the table, in Markdown.
    """
    path = folder / "people.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    done = {(row["method"], row["seed"]) for row in rows}
    for seed in range(people):
        for method in ("GUIDE", "baseline"):
            if (method, seed) not in done:
                row = _one_person(networks, settings, method, seed, folder)
                rows.append(row)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    summary = {method: _summary([r for r in rows if r["method"] == method]) for method in ("GUIDE", "baseline")}
    table = _table(summary)
    facts = {"settings": asdict(settings), "resolution": networks.generator.resolution, "summary": summary}
    (folder / "summary.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    return table


def _one_person(
    networks: Networks, settings: UnlearningSettings, method: str, seed: int, folder: Path
) -> dict[str, Any]:
    generator, truncation = networks.generator, TRUNCATIONS[seed % 2]
    w_u = sample_person(generator, seed, truncation)
    if method == "GUIDE":
        w_t = ufo_target(w_u, generator.w_avg)
    else:
        w_t, settings = average_target(w_u, generator.w_avg), settings.local_only()
    checkpoint = folder / f"{method}-{seed}.safetensors"
    steps = unlearn(
        generator, w_u, w_t, settings,
        perceptual=networks.perceptual, embedder=networks.embedder, checkpoint=checkpoint,
    )  # fmt: skip
    for step in bar(steps, settings.steps, f"{method}, person {seed}"):
        student = step.student
    report = evaluate(student, generator, w_u, other_people(generator), networks.judge, networks.perceptual)
    checkpoint.unlink()
    return {"method": method, "seed": seed, "truncation": truncation} | report.as_dict()


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and half width of the 95 % interval (normal approximation) of every metric over the people."""
    out: dict[str, Any] = {"people": len(rows)}
    for key in COLUMNS:
        values = [row[key] for row in rows]
        spread = 1.96 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        out[key] = {
            "mean": mean(values),
            "interval": spread,
            "worst": (min if key == "retention" else max)(values),
        }
    return out


def _table(summary: dict[str, dict[str, Any]]) -> str:
    lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for method, values in summary.items():
        cells = [f"{values[key]['mean']:.3f} ± {values[key]['interval']:.3f}" for key in COLUMNS]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
