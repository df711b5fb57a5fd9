"""A session in a folder: student, latents, numbers and picture, and who was erased at once.

student.safetensors: the weights that changed. latents.safetensors: w_u, w_t, the photo and the other photos' latents.
metrics.json: the report, the names of the networks, the settings. before_after.png. forgotten.safetensors: who can be
taken back by name; base.safetensors: the trained student that they were erased from, if there was a training before.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guide_lib.checkpoint import load_tensors, save_tensors
from guide_lib.closed_form import ForgetList
from guide_lib.errors import GuideError
from guide_lib.experiment import Person
from guide_lib.files import write_json
from guide_lib.generators import dressed, load_student, save_student

if TYPE_CHECKING:
    from guide_lib.session.session import Session

STUDENT, BASE, FORGOTTEN, LATENTS, METRICS = (
    "student.safetensors", "base.safetensors", "forgotten.safetensors", "latents.safetensors", "metrics.json"
)  # fmt: skip


def save(session: Session) -> Path:
    """Write the session into its folder, which is returned."""
    folder, person, report = session.folder, session.chosen(), session.report or session.measure()
    name, forgotten = session.facts.get("generator"), session.lists[-1]
    save_student(folder / STUDENT, session.student, name)
    for path in (folder / FORGOTTEN, folder / BASE):  # of an earlier run
        path.unlink(missing_ok=True)
    if forgotten:
        forgotten.save(folder / FORGOTTEN)
    if forgotten and forgotten.base is not session.generator:
        save_student(folder / BASE, forgotten.base, name)
    kept = {"w_u": person.w_u, "w_t": session.w_t, "photo": person.photo, "others": person.others}
    save_tensors(folder / LATENTS, {key: tensor for key, tensor in kept.items() if tensor is not None})
    facts = {"person": person.name} | person.facts
    settings = {} if session.settings is None else {"settings": asdict(session.settings)}
    write_json(folder / METRICS, report.as_dict() | session.facts | facts | settings)
    session.figure().save(folder / "before_after.png")
    return folder


def read_facts(folder: Path) -> dict[str, Any]:
    """What metrics.json says of the networks: generator, resolution, embedder, judge, quirks.

    Raises:
        GuideError: the folder holds no finished run.
    """
    try:
        facts = json.loads((folder / METRICS).read_bytes())
        names = {key: facts[key] for key in ("generator", "embedder", "judge", "quirks")}
        # older runs do not say at which resolution
        return names | {"resolution": facts.get("resolution") or load_student(folder / STUDENT).resolution,
                        "person": facts.get("person", folder.name)}  # fmt: skip
    except (OSError, ValueError, LookupError) as error:
        raise GuideError(f"{folder} holds no finished run of `unlearn`; name the folder of one.") from error


def restore(session: Session, name: str) -> Session:
    """Put the person called `name`, the target and the student of its folder into a session just opened."""
    folder, generator = session.folder, session.generator
    latents, _ = load_tensors(folder / LATENTS)
    on_device = {key: tensor.to(generator.w_avg) for key, tensor in latents.items() if key != "photo"}
    session.person = Person(name, on_device["w_u"], latents.get("photo"), on_device.get("others"))
    session.w_t = on_device["w_t"]
    listed = (folder / FORGOTTEN).exists()
    trained = folder / (BASE if listed else STUDENT)
    if trained.exists():
        session.lists.append(ForgetList(dressed(generator.student(), load_tensors(trained)[0])))
    if listed:
        base = session.lists[-1].base
        session.lists[-1] = ForgetList.load(folder / FORGOTTEN, base, lambda: session.fibre_metric)
    return session
