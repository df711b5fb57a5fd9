"""Every attacker against every student, by several judges: one row for each search, resumable.

>>> from guide_lib.attacks import likelihood_of
>>> from guide_lib.unlearning import UnlearningSettings
>>> tools = Equipment({"own": perceptual}, {"own": embedder}, {"judge": judge}, likelihood=likelihood_of(generator))
>>> table = AttackTable(networks, tools, {"one": Attacker(starts=1)}, {"judge": 0.716}, tmp_path, strangers=1)
>>> rows = table.fill("random", ["closed form"], UnlearningSettings(), people=1)
>>> [(row["method"], row["attacker"], row["who"]) for row in rows]
[('untouched', 'one', 'person'), ('closed form', 'one', 'person'), ('closed form', 'one', 'stranger')]
>>> for line in table.lines("judge"):
...     print(line["method"], line["space"], line["people"], f"{line['best'].mean:.1f} {line['untouched'].mean:.1f}")
closed form W 1 1.0 1.0
closed form W+ 1 1.0 1.0

The heaviest table of the package: a search of one start and 160 steps takes 35 s of one thread at 128 px, and each
student costs (1 + strangers) searches an attacker. What is searched in the untouched generator is once for all methods.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from guide_lib.attacks import Attacker, Equipment, Found, Hunted, search, strangers_of
from guide_lib.attacks.search import LOOK_EVERY
from guide_lib.evaluation.comparison import keep_picture, unlearn_by
from guide_lib.evaluation.measuring import Measures, measured
from guide_lib.evaluation.results import row_key
from guide_lib.evaluation.scenarios import people_of
from guide_lib.experiment import Networks, Person
from guide_lib.files import append_row, file_stem, read_rows, write_json
from guide_lib.generators import Generator
from guide_lib.metrics.intervals import mean_interval, share_interval
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings

UNTOUCHED = "untouched"  # in place of a method


@dataclass(frozen=True)
class AttackTable:
    """A table in a folder, attacks.jsonl; a row that is there is not computed again, a larger one adds to it.

    networks: of the defender. equipment: of attackers and judges. attackers: by name. thresholds: judge -> from which
    cosine it accepts. folder: where rows, inversions and budgets (attackers.json) are kept. strangers: how many are
    searched for in each student. pictures: [K >= strangers, 3, S, S] of them, real ones where people are real; if None
    they are drawn. stop: end a search at once when every judge accepts: cheaper, without the rest of the curve.
    """

    networks: Networks
    equipment: Equipment
    attackers: Mapping[str, Attacker]
    thresholds: Mapping[str, float]
    folder: Path
    strangers: int = 2
    pictures: Tensor | None = None
    stop: bool = False

    @property
    def path(self) -> Path:
        """Of the rows."""
        return self.folder / "attacks.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """All that are there; none if the table was not begun."""
        return read_rows(self.path)

    def fill(
        self,
        scenario: str,
        methods: Sequence[str],
        settings: UnlearningSettings,
        people: int,
        photos: Path | None = None,
        measures: Measures | None = None,
        skip: Collection[str] = (),
    ) -> list[dict[str, Any]]:
        """Add the rows that are missing; returns all. A student is trained only if one of its rows is missing.

        measures: what is measured of each student besides, in the rows of people.jsonl; nothing if None. skip: names of
        people to leave out.

        Raises:
            GuideError: the scenario, a method or what an attacker needs is unknown.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "attackers.json", {name: asdict(a) for name, a in self.attackers.items()})
        session = Session(self.networks, self.folder)
        for person in people_of(scenario, self.networks, people, self.folder, photos, skip):
            facts = {"scenario": scenario, "method": UNTOUCHED, "person": person.name}
            self._attack(facts, self._missing(facts, ["person"]), self.networks.generator, _hunted(session, person))
            who = ["person", *["stranger"] * bool(self.strangers)]
            for method in methods:
                facts = {"scenario": scenario, "method": method, "person": person.name}
                known = measures is None or row_key(facts) in map(row_key, read_rows(self.folder / "people.jsonl"))
                missing = self._missing(facts, who)
                if known and not missing:
                    continue
                checkpoint = self.folder / f"{file_stem('-'.join(facts.values()))}.safetensors"
                cost = unlearn_by(method, session, person, settings, checkpoint)
                if not known:
                    row = facts | person.facts | cost | measured(session, person, measures)
                    append_row(self.folder / "people.jsonl", row)
                    keep_picture(session, self.folder / "pictures" / f"{checkpoint.stem}.jpg")
                session.person = replace(person, others=None)
                hunted = Hunted(session.student, session.photo(), person.w_u, session.w_t)
                self._attack(facts, missing, session.student, hunted)
                checkpoint.unlink(missing_ok=True)
        return self.rows()

    def lines(self, judge: str) -> Iterator[dict[str, Any]]:
        """The table by one judge, see `attack_lines`."""
        return attack_lines(self.rows(), judge, self.thresholds[judge], bool(self.strangers))

    def _missing(self, facts: Mapping[str, str], who: Sequence[str]) -> list[tuple[str, str]]:
        """Which (attacker, who) have no row yet."""
        done = {_key(row) for row in self.rows()}
        wanted = [(attacker, one) for attacker in self.attackers for one in who]
        return [(attacker, one) for attacker, one in wanted if (*facts.values(), attacker, one) not in done]

    def _attack(
        self, facts: Mapping[str, str], missing: Sequence[tuple[str, str]], student: Generator, hunted: Hunted
    ) -> None:
        hunted = replace(hunted, student=student)
        for attacker, who in missing:
            people = [hunted] if who == "person" else self._strangers(hunted, facts["person"])
            stop_at = self.thresholds if self.stop else None
            spaces = search(people, self.attackers[attacker], self.equipment, look_every=LOOK_EVERY, stop_at=stop_at)
            append_row(self.path, {**facts, "attacker": attacker, "who": who, "spaces": self._facts(spaces)})

    def _strangers(self, hunted: Hunted, name: str) -> list[Hunted]:
        pictures = self.pictures
        if pictures is None:
            pictures = strangers_of(self.networks.generator, self.strangers, name)
        return [replace(hunted, photo=photo, w_u=None) for photo in pictures[: self.strangers].split(1)]

    def _facts(self, people: list[list[Found]]) -> dict[str, list[dict[str, Any]]]:
        """Space -> what was found of each of the people there."""
        facts: dict[str, list[dict[str, Any]]] = {}
        for spaces in people:
            for found in spaces:
                facts.setdefault(found.space, []).append(found.row(self.thresholds))
        return facts


def attack_lines(
    rows: Sequence[Mapping[str, Any]], judge: str, threshold: float, strangers: bool = True
) -> Iterator[dict[str, Any]]:
    """Rows of an `AttackTable` by one judge: for each scenario, method, attacker and space intervals over the people.

    best, kept, accepted: of the student. untouched, strangers: the controls. withheld, excess: person by person.
    people: how many. Only those count whose controls are there, too; without `strangers` that control is not asked for.
    """
    found = {_key(row): row for row in rows}
    cells: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for (scenario, method, person, attacker, who), row in found.items():
        control = found.get((scenario, UNTOUCHED, person, attacker, "person"))
        others = found.get((scenario, method, person, attacker, "stranger"))
        if who != "person" or method == UNTOUCHED or control is None or (strangers and others is None):
            continue
        for space, facts in row["spaces"].items():
            if cell := _cell(space, judge, facts, control, others):
                cells.setdefault((scenario, method, attacker, space), []).append(cell)
    for key, group in cells.items():
        line: dict[str, Any] = dict(zip(("scenario", "method", "attacker", "space"), key, strict=True))
        line["people"] = len(group)
        line["accepted"] = share_interval([float(x["best"] >= threshold) for x in group])
        yield line | {name: mean_interval([x[name] for x in group]) for name in group[0]}


def _hunted(session: Session, person: Person) -> Hunted:
    """In the untouched generator; for the start "reflected" the target is UFO's, which an attacker would try first."""
    session.start_over(replace(person, others=None))
    return Hunted(session.generator, session.photo(), person.w_u, session.target("ufo"))


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("scenario", "method", "person", "attacker", "who"))


def _cell(
    space: str, judge: str, facts: list[dict[str, Any]], control: dict[str, Any], others: dict[str, Any] | None
) -> dict[str, float] | None:
    """One person in one space; None where a search that ended early has not come so far."""
    if space not in control["spaces"] or (others is not None and space not in others["spaces"]):
        return None
    here, before = facts[0][judge], control["spaces"][space][0][judge]["best"]
    cell = {"best": here["best"], "kept": here["kept"], "untouched": before, "withheld": before - here["best"]}
    if others is not None:
        best = [one[judge]["best"] for one in others["spaces"][space]]
        cell["strangers"] = sum(best) / len(best)
        cell["excess"] = here["best"] - cell["strangers"]
    return cell
