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
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from guide_lib.attacks import Attacker, Equipment, Found, Hunted, search, strangers_of
from guide_lib.attacks.search import LOOK_EVERY
from guide_lib.evaluation.attack_rows import (
    BUDGETS,
    PEOPLE,
    SEARCHES,
    UNTOUCHED,
    add_attacks,
    agree,
    attack_lines,
    search_key,
    student_key,
)
from guide_lib.evaluation.claims import left_out, shards_of
from guide_lib.evaluation.comparison import keep_picture, unlearn_by
from guide_lib.evaluation.measuring import Measures, measured
from guide_lib.evaluation.scenarios import people_names, people_of, person_named
from guide_lib.experiment import Networks, Person, bar
from guide_lib.files import append_row, file_stem, read_rows
from guide_lib.session import Session
from guide_lib.unlearning import UnlearningSettings
from guide_lib.workers import Crew


@dataclass(frozen=True)
class AttackTable:
    """A table in a folder, attacks.jsonl; a row that is there is not computed again, a larger one adds to it.

    networks: of the defender. equipment: of attackers and judges. attackers: by name. thresholds: judge -> from which
    cosine it accepts. folder: where rows, inversions and budgets (attackers.json) are kept. strangers: how many are
    searched for in each student. pictures: [K >= strangers, 3, S, S] of them, real ones where people are real; if None
    they are drawn. stop: end a search at once when every judge accepts: cheaper, without the rest of the curve. seed:
    added to that of each training and of each attacker's starts; people and strangers are the same under every seed.
    """

    networks: Networks
    equipment: Equipment
    attackers: Mapping[str, Attacker]
    thresholds: Mapping[str, float]
    folder: Path
    strangers: int = 2
    pictures: Tensor | None = None
    stop: bool = False
    seed: int = 0

    @property
    def path(self) -> Path:
        """Of the rows."""
        return self.folder / SEARCHES

    def rows(self) -> list[dict[str, Any]]:
        """All that are there; none if the table was not begun."""
        return read_rows(self.path)

    @cached_property
    def session(self) -> Session:
        """In which students are trained, one after another."""
        return Session(self.networks, self.folder)

    def fill(
        self,
        scenario: str,
        methods: Sequence[str],
        settings: UnlearningSettings,
        people: int,
        photos: Path | None = None,
        measures: Measures | None = None,
        skip: Collection[str] = (),
        crew: Crew | None = None,
        shard: tuple[int, int] | None = None,
    ) -> list[dict[str, Any]]:
        """Add the rows that are missing; returns all. A student is trained only if one of its rows is missing.

        measures: what is measured of each student besides, in the rows of people.jsonl; nothing if None. skip: names of
        people to leave out. crew: makes the rows, several students at once; what its workers have ready is a table like
        this one and the same measures. A worker that dies costs the rows of its student. shard: (2, 8) leaves all but
        every eighth person, from the second on, to other runs, each with a table in its `shard_folder`; a run of the
        whole takes their rows.

        Raises:
            GuideError: the scenario, a method or what an attacker needs is unknown, an attacker's rows there were made
                with another budget, or workers could not make rows.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        agree(self.folder / BUDGETS, {name: asdict(attacker) for name, attacker in self.attackers.items()})
        if shard:
            skip = {*skip, *left_out(people_names(scenario, self.networks, people, photos), shard)}
        else:
            add_attacks(self.folder, *shards_of(self.folder))
        students = [UNTOUCHED, *methods]
        if crew is None:
            found = people_of(scenario, self.networks, people, self.folder, photos, skip)
            wanted = ((person, method) for person in found for method in students)
            each = (self._student(scenario, method, person, settings, measures) for person, method in wanted)
            made = ([row] for rows in each for row in rows)
        else:
            names = people_names(scenario, self.networks, people, photos, skip)
            keys = [(scenario, method, name) for method in students for name in names]
            jobs = [key for key in keys if self._missing(key) or not self._measured(key, measures)]
            work = partial(rows_of_student, settings=settings, photos=photos and photos.absolute())
            made = bar((rows for _, rows in crew.finished(work, jobs)), len(jobs), "students", "student")
        for rows in made:
            for file, row in rows:
                append_row(self.folder / file, row)
        return self.rows()

    def lines(self, judge: str) -> Iterator[dict[str, Any]]:
        """The table by one judge, see `attack_lines`."""
        return attack_lines(self.rows(), judge, self.thresholds[judge], bool(self.strangers))

    def _missing(self, key: tuple[str, str, str]) -> list[tuple[str, str]]:
        """Which (attacker, who) have no row of this seed yet. key: scenario, method, person."""
        who = ["person", *["stranger"] * bool(self.strangers and key[1] != UNTOUCHED)]
        done = {search_key(row) for row in self.rows()}
        wanted = [(attacker, one) for attacker in self.attackers for one in who]
        return [each for each in wanted if (*key, self.seed, *each) not in done]

    def _measured(self, key: tuple[str, str, str], measures: Measures | None) -> bool:
        """Whether there is nothing to be measured of a student besides, or its row is there."""
        alone = measures is None or key[1] == UNTOUCHED
        return alone or (*key, self.seed) in map(student_key, read_rows(self.folder / PEOPLE))

    def _student(
        self, scenario: str, method: str, person: Person, settings: UnlearningSettings, measures: Measures | None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The missing rows of one student, each with the name of its file, search by search."""
        key, session = (scenario, method, person.name), self.session
        missing, known = self._missing(key), self._measured(key, measures)
        if known and not missing:
            return
        facts = {"scenario": scenario, "method": method, "person": person.name, "seed": self.seed}
        stem = file_stem("-".join([*key, *[f"seed {self.seed}"] * bool(self.seed)]))
        checkpoint = self.folder / f"{stem}.safetensors"
        if method == UNTOUCHED:
            hunted = _hunted(session, person)
        else:
            seeded = replace(settings, seed=settings.seed + self.seed)
            cost = unlearn_by(method, session, person, seeded, checkpoint)
            if not known:
                yield PEOPLE, facts | person.facts | cost | measured(session, person, measures)
                keep_picture(session, self.folder / "pictures" / f"{stem}.jpg")
            session.person = replace(person, others=None)
            hunted = Hunted(session.student, session.photo(), person.w_u, session.w_t)
        for attacker, who in missing:
            hunt = [hunted] if who == "person" else self._strangers(hunted, person.name)
            searcher = replace(self.attackers[attacker], seed=self.attackers[attacker].seed + self.seed)
            stop_at = self.thresholds if self.stop else None
            spaces = search(hunt, searcher, self.equipment, look_every=LOOK_EVERY, stop_at=stop_at)
            yield self.path.name, facts | {"attacker": attacker, "who": who, "spaces": self._facts(spaces)}
        checkpoint.unlink(missing_ok=True)

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


def rows_of_student(
    ready: tuple[AttackTable, Measures | None],
    scenario: str,
    method: str,
    person: str,
    settings: UnlearningSettings,
    photos: Path | None = None,
) -> list[tuple[str, dict[str, Any]]]:
    """The rows of one student that a table lacks, each with the name of its file; what a worker does.

    ready: the table, and what is measured besides. person: by name.

    >>> table = AttackTable(networks, Equipment({"own": perceptual}, {"own": embedder}, {"judge": judge}),
    ...                     {"one": Attacker(starts=1)}, {"judge": 0.716}, tmp_path)
    >>> found = rows_of_student((table, None), "random", "untouched", "3", UnlearningSettings())
    >>> [(file, row["who"]) for file, row in found]
    [('attacks.jsonl', 'person')]
    """
    table, measures = ready
    found = person_named(scenario, table.networks, person, table.folder, photos)
    return list(table._student(scenario, method, found, settings, measures))


def _hunted(session: Session, person: Person) -> Hunted:
    """In the untouched generator; for the start "reflected" the target is UFO's, which an attacker would try first."""
    session.start_over(replace(person, others=None))
    return Hunted(session.generator, session.photo(), person.w_u, session.target("ufo"))
