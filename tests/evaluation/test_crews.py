"""Rows made by workers: those of one process, in its order; after any accident all of them, and none twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial

import crews
import pytest
from project import ROOT
from test_attacked import table
from test_comparison import SETTINGS

from guide_lib import evaluation
from guide_lib.__main__ import main
from guide_lib.commands.options import part
from guide_lib.errors import GuideError
from guide_lib.evaluation import comparison
from guide_lib.evaluation.attack_rows import search_key
from guide_lib.evaluation.claims import shard_folder
from guide_lib.evaluation.comparison import evaluate_people
from guide_lib.evaluation.measuring import Measures
from guide_lib.evaluation.results import read_rows
from guide_lib.experiment import run_folder
from guide_lib.processes import Processes
from guide_lib.workers import Crew, crew_of

METHODS = ["GUIDE", "closed form"]
CLOCKS = ("seconds", "target_seconds")


def evaluated(folder, people=2, crew=None, scenario="random", **changes):
    folder.mkdir(exist_ok=True)
    return evaluate_people(
        crews.networks(), scenario, METHODS, SETTINGS, folder, people, Measures(), crew=crew, **changes
    )


def keys(rows):
    return [(row["scenario"], row["method"], row["person"]) for row in rows]


def timeless(rows):
    return [{key: value for key, value in row.items() if key not in CLOCKS} for row in rows]


@pytest.fixture(scope="module")
def two():
    with Processes(2) as executor:
        yield executor


@pytest.mark.parametrize("scenario", ["random", "ind"])
def test_workers_make_the_rows_and_the_table_of_one_process(scenario, two, tmp_path):
    alone = evaluated(tmp_path / "alone", scenario=scenario)
    crew = Crew(two, partial(crews.bench, tmp_path / "crew"), lambda: 2)
    rows = evaluated(tmp_path / "crew", crew=crew, scenario=scenario)
    assert keys(rows) == keys(alone) and rows == read_rows(tmp_path / "crew" / "people.jsonl")
    for mine, theirs in zip(timeless(rows), timeless(alone), strict=True):
        assert mine.keys() == theirs.keys()
        assert {k: v for k, v in mine.items() if isinstance(v, float)} == pytest.approx(
            {k: v for k, v in theirs.items() if isinstance(v, float)}, abs=1e-4
        )
    assert len(read_ready(tmp_path / "crew")) == 2, "each got ready once"
    assert not list((tmp_path / "crew").glob("random*")) and len(list((tmp_path / "crew/pictures").iterdir())) == 4
    (tmp_path / "crew" / "ready.jsonl").unlink()
    assert evaluated(tmp_path / "crew", crew=crew, scenario=scenario) == rows
    assert not (tmp_path / "crew" / "ready.jsonl").exists(), "nothing was missing, so nobody worked"


def read_ready(folder):
    return [json.loads(line)["pid"] for line in (folder / "ready.jsonl").read_text().splitlines()]


def test_the_table_of_attacks_is_filled_by_workers_as_by_one_process(two, tmp_path):
    alone = table(tmp_path / "alone").fill("random", ["closed form"], SETTINGS, 2, measures=Measures())
    crew = Crew(two, partial(crews.attack_table, tmp_path / "crew"), lambda: 2)
    small = table(tmp_path / "crew")
    rows = small.fill("random", ["closed form"], SETTINGS, 2, measures=Measures(), crew=crew)
    assert sorted(map(search_key, rows)) == sorted(map(search_key, alone))
    assert Counter(keys(read_rows(tmp_path / "crew" / "people.jsonl"))) == Counter(
        keys(read_rows(tmp_path / "alone" / "people.jsonl"))
    )
    assert len(list(small.lines("judge"))) == len(list(table(tmp_path / "alone").lines("judge")))
    found = {search_key(row): row for row in rows}
    for row in alone:
        for space, people in row["spaces"].items():
            mine = found[search_key(row)]["spaces"][space]
            assert [x["judge"]["best"] for x in mine] == pytest.approx([x["judge"]["best"] for x in people], abs=1e-3)
    assert small.fill("random", ["closed form"], SETTINGS, 2, measures=Measures(), crew=crew) == rows


def test_a_full_disk_ends_the_run_and_what_was_written_is_kept(two, tmp_path, monkeypatch):
    folder, real, written = tmp_path / "run", comparison.append_row, []

    def full(path, row):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(row)
        real(path, row)

    crew = Crew(two, partial(crews.bench, folder), lambda: 2)
    monkeypatch.setattr(comparison, "append_row", full)
    with pytest.raises(GuideError, match="Cannot write to .*No space left on device"), run_folder(folder):
        evaluated(folder, crew=crew)
    monkeypatch.undo()
    assert len(read_rows(folder / "people.jsonl")) == 2
    assert keys(evaluated(folder, crew=crew)) == [("random", m, p) for p in "01" for m in METHODS]


def test_shards_make_all_rows_and_a_run_of_the_whole_takes_them(tmp_path, monkeypatch):
    for number in (1, 2, 3):
        rows = evaluated(shard_folder(tmp_path, (number, 3)), people=4, shard=(number, 3))
        assert {row["person"] for row in rows} == {1: {"0", "3"}, 2: {"1"}, 3: {"2"}}[number]
    monkeypatch.setattr(comparison, "_one_person", lambda *_: pytest.fail("the rows are there"))
    whole = evaluated(tmp_path, people=4)
    assert Counter(keys(whole)) == Counter([("random", m, p) for p in "0123" for m in METHODS])
    assert evaluated(tmp_path, people=4) == whole, "none is taken twice"
    (shard_folder(tmp_path, (1, 3)) / "run.json").write_text('{"settings": {"steps": 7}}')
    with pytest.raises(GuideError, match="made with other settings; they cannot be added"):
        evaluated(tmp_path, people=4)


def test_the_command_deals_people_out_and_puts_their_rows_together(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "open_bench", crews.bench)
    asked = ["evaluate", "--methods", "closed form", "--people", "3", "--out", str(tmp_path)]
    for number in (1, 2):
        assert main([*asked, "--shard", f"{number}/2"]) == 0
    assert len(read_rows(tmp_path / "shard-1-of-2" / "people.jsonl")) == 2 and capsys.readouterr().out
    monkeypatch.setattr(comparison, "_one_person", lambda *_: pytest.fail("the rows are there"))
    assert main(asked) == 0
    assert "| random: closed form | 3 |" in capsys.readouterr().out


def test_a_part_is_one_of_several():
    assert part("2/8") == (2, 8)
    for wrong in ("0/8", "9/8", "2", "a/b", "2/", "-1/2"):
        with pytest.raises(Exception, match="a part like 2/8"):
            part(wrong)


COMMAND = """
import signal, sys
sys.path[:0] = {path!r}
import crews
from guide_lib import __main__, evaluation
from guide_lib.session import session
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests in the background ignores Ctrl-C
    evaluation.open_bench = crews.slow_bench
    sys.argv = ["guide", "evaluate", "--people", "3", "--methods", "GUIDE", "--steps", "100", "--workers", "2",
                "--out", sys.argv[1]]
    __main__.run()
"""


def command(folder) -> subprocess.Popen:
    tests = [str(path) for path in (ROOT, ROOT / "tests")]
    code = COMMAND.format(path=tests)
    options = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], **options)


def until(happened) -> None:
    end = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def steps_kept(folder) -> list[int]:
    from safetensors import safe_open

    found = []
    for path in folder.glob("random-*.safetensors"):
        with safe_open(path, "pt") as file:
            found.append(int(file.metadata()["step"]))
    return found


@pytest.mark.slow
def test_ctrl_c_leaves_a_folder_that_goes_on_and_no_worker(tmp_path):
    process = command(tmp_path)
    until(lambda: len(list(tmp_path.glob("random-*.safetensors"))) == 2)
    before = max(steps_kept(tmp_path))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers hear it, too
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130 and said.endswith("stopped; the same command continues from here\n"), said
    assert "Traceback" not in said and not any(map(alive, read_ready(tmp_path)))
    assert max(steps_kept(tmp_path)) >= before > 0
    done = keys(read_rows(tmp_path / "people.jsonl"))
    again = command(tmp_path)
    _, said = again.communicate(timeout=600)
    assert again.returncode == 0 and "rows: 100%" in said, said
    rows = read_rows(tmp_path / "people.jsonl")
    assert keys(rows) == [("random", "GUIDE", p) for p in "012"] and set(done) <= set(keys(rows))
    assert not list(tmp_path.glob("random-*"))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_cluster_whose_workers_are_killed_makes_all_rows_and_none_twice(tmp_path, monkeypatch):
    """Two workers of Dask on this machine; every second or so one of them is killed."""
    distributed = pytest.importorskip("distributed")
    folder = tmp_path / "run"
    folder.mkdir()
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with distributed.LocalCluster(**options, local_directory=tmp_path / "dask", silence_logs="CRITICAL") as cluster:
        stop, killed = threading.Event(), []

        def kill() -> None:
            while not stop.wait(1.5) and len(killed) < 4:
                nannies = [nanny for nanny in cluster.workers.values() if nanny.pid]
                if (folder / "ready.jsonl").exists() and nannies:
                    victim = nannies[len(killed) % len(nannies)].pid
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)

        killer = threading.Thread(target=kill)
        with crew_of(partial(crews.unhurried_bench, folder), None, cluster.scheduler_address) as crew:
            killer.start()
            try:
                rows = evaluated(folder, people=6, crew=crew)
            finally:
                stop.set()
                killer.join()
    assert len(killed) >= 2 and set(killed) & set(read_ready(folder)), "somebody who worked was killed"
    assert keys(rows) == [("random", m, str(p)) for p in range(6) for m in METHODS]
    assert rows == read_rows(folder / "people.jsonl")
