"""How the rows of a folder are made, written down beside them: rows made otherwise are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from guide_lib.checkpoint import networks_digest
from guide_lib.errors import GuideError
from guide_lib.evaluation.measuring import Measures
from guide_lib.evaluation.protocol import protocol_of
from guide_lib.evaluation.results import read_rows, row_key
from guide_lib.experiment import Networks
from guide_lib.files import append_missing, write_json
from guide_lib.unlearning import UnlearningSettings


def claim_folder(folder: Path, networks: Networks, settings: UnlearningSettings, measures: Measures) -> dict[str, Any]:
    """Write down, in run.json, how the rows of a folder are made, or refuse to mix them with rows made otherwise.

    Raises:
        GuideError: the folder's rows were made otherwise, or run.json is damaged.

    >>> claim_folder(tmp_path, networks, UnlearningSettings(seed=1), Measures())["resolution"]
    16
    >>> claim_folder(tmp_path, networks, UnlearningSettings(seed=2), Measures())
    Traceback (most recent call last):
    guide_lib.errors.GuideError: ... holds rows made with other settings; choose another folder with --out.
    """
    facts = {
        "generator": type(networks.generator).__name__,
        "weights": networks_digest(*networks.generator.drawing_parts())[:16],
        "settings": asdict(settings),
        "resolution": networks.generator.resolution,
        "views": measures.directions is not None,
        "pairs": measures.pairs,
        "real": 0 if measures.real is None else len(measures.real),
        "attacks": measures.attacks,
        "threshold": networks.acceptance,
    }
    _claim(folder, facts)
    write_json(folder / "protocol.json", protocol_of(networks, settings, measures.attacks))
    return facts


def facts_made(stored: Any) -> Any:
    """What a run.json says, with the defaults of those settings that are newer than the file.

    >>> facts_made({"settings": {"steps": 70}})["settings"]["grid"]
    0.0
    """
    if not isinstance(stored, dict) or not isinstance(stored.get("settings"), dict):
        return stored
    return stored | {"settings": asdict(UnlearningSettings()) | stored["settings"]}


def _claim(folder: Path, facts: dict[str, Any]) -> None:
    path, facts = folder / "run.json", json.loads(json.dumps(facts))
    try:
        before = facts_made(json.loads(path.read_bytes())) if path.exists() else None
    except (ValueError, RecursionError) as error:
        raise GuideError(f"{path} is damaged; delete {folder}, or choose another folder with --out.") from error
    if before != facts and (before is not None or (folder / "people.jsonl").exists()):
        raise GuideError(f"{folder} holds rows made with other settings; choose another folder with --out.")
    write_json(path, facts)


def add_rows(
    folder: Path,
    run: Path,
    rows: Path,
    wanted: Callable[[Mapping[str, Any]], bool] = lambda row: True,
    but: Collection[str] = (),
) -> None:
    """Add rows made elsewhere that the folder, already claimed, lacks.

    run, rows: their run.json and people.jsonl. wanted: which of them. but: facts in which the two runs may differ.

    Raises:
        GuideError: they were made in another way than those of the folder, or run.json is damaged.
    """
    try:
        theirs, ours = (dict(facts_made(json.loads(path.read_bytes()))) for path in (run, folder / "run.json"))
    except (ValueError, TypeError) as error:
        raise GuideError(f"{run} is damaged; restore it, or run without the rows beside it.") from error
    if {key for key in theirs | ours if theirs.get(key) != ours.get(key)} - set(but):
        raise GuideError(f"The rows of {rows} were made with other settings; they cannot be added.")
    append_missing(folder / "people.jsonl", filter(wanted, read_rows(rows)), row_key)


def shard_folder(folder: Path, shard: tuple[int, int]) -> Path:
    """Where one of several runs that share the people of a folder keeps its part. shard: (2, 8) is the second of 8.

    >>> print(shard_folder(Path("runs/evaluate"), (2, 8)))
    runs/evaluate/shard-2-of-8
    """
    return folder / "shard-{}-of-{}".format(*shard)


def shards_of(folder: Path) -> list[Path]:
    """The folders of all shards that have begun."""
    return sorted(folder.glob("shard-*-of-*"))


def left_out(names: Sequence[str], shard: tuple[int, int]) -> set[str]:
    """Whom of these people a shard leaves to the other ones.

    >>> sorted(left_out(["0", "1", "2", "3"], (2, 3)))
    ['0', '2', '3']
    """
    return set(names) - set(names[shard[0] - 1 :: shard[1]])


def add_shards(folder: Path) -> None:
    """Add the rows of all shards to those of the folder, already claimed. Raises GuideError as `add_rows` does."""
    for shard in shards_of(folder):
        if (shard / "run.json").exists():
            add_rows(folder, shard / "run.json", shard / "people.jsonl")
