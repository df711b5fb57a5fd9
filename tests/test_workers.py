"""Workers that die, fail, lag or cannot begin: what they were at is done by others, and nothing twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import crews
import pytest
import torch
from project import ROOT

from guide_lib import workers
from guide_lib.errors import GuideError
from guide_lib.files import read_rows
from guide_lib.processes import Processes
from guide_lib.workers import Crew, crew_of


@pytest.fixture(scope="module")
def two():
    """Two processes for all tests here: one that dies is replaced."""
    with Processes(2) as executor:
        yield executor


def crew(executor, folder) -> Crew:
    return Crew(executor, partial(crews.tools, folder), lambda: 2)


def lines(path: Path) -> int:
    return len(read_rows(path))


def test_jobs_are_done_once_by_two_workers_that_got_ready_once(two, tmp_path):
    found = dict(crew(two, tmp_path).finished(crews.square, [(n,) for n in range(9)]))
    assert {job: value for job, (value, _) in found.items()} == {(n,): n**2 for n in range(9)}
    pids = [row["pid"] for row in read_rows(tmp_path / "ready.jsonl")]
    assert len(pids) == 2 and set(pids) == {pid for _, pid in found.values()} and os.getpid() not in pids
    assert all(lines(path) == 1 for path in tmp_path.glob("tries-*"))


def test_a_dead_worker_costs_its_job_alone_and_a_deadly_job_is_given_up(two, tmp_path, capsys):
    jobs, found = [(n,) for n in (13, 12, 1, 2, 3)], {}
    with pytest.raises(GuideError, match=r"^Without a row: 13\. The same command tries them again\.$"):
        for job, answer in crew(two, tmp_path).finished(crews.square, jobs):
            found[job] = answer[0]
    assert found == {(n,): n**2 for n in (12, 1, 2, 3)}
    tries = {n: lines(tmp_path / f"tries-{n}.jsonl") for n in (1, 2, 3, 12, 13)}
    assert tries == {1: 1, 2: 1, 3: 1, 12: 2, 13: workers.TRIES}
    said = capsys.readouterr().err
    assert said.count("A worker died at 13, which is begun again") == workers.TRIES - 1 and "exit code 9" in said


def test_a_job_that_fails_is_not_tried_again_and_stops_nobody(two, tmp_path, capsys):
    found = []
    with pytest.raises(GuideError, match="^Without a row: 1[01]; 1[01]. "):
        for job, _ in crew(two, tmp_path).finished(crews.square, [(11,), (10,), (4,), (5,)]):
            found.append(job)
    assert sorted(found) == [(4,), (5,)] and lines(tmp_path / "tries-11.jsonl") == 1
    said = capsys.readouterr().err
    assert "There is no row of 11: ValueError: eleven" in said and "No space left on device" in said


def test_workers_that_cannot_get_ready_end_the_run_at_once(two):
    nobody = Crew(two, crews.no_tools, lambda: 2)
    with pytest.raises(GuideError, match="The workers cannot get ready: There is no network; fetch one."):
        list(nobody.finished(crews.square, [(n,) for n in range(50)]))


def test_a_slow_worker_keeps_no_job_waiting(two, tmp_path):
    begun = time.monotonic()
    jobs = [(n,) for n in range(40)]
    done = Counter(dict(crew(two, tmp_path).finished(crews.slow_in_the_first, jobs)).values())
    slow = int((tmp_path / "first").read_text())
    assert sum(done.values()) == 40 and done[slow] <= 10 < done.total() - done[slow]
    assert time.monotonic() - begun < 20  # alone the slow one takes 40 s


def test_a_crew_that_grows_gets_more_at_once():
    at_once, most, lock = [0], [0], threading.Lock()
    grown = iter([1, 1, 1] + [3] * 99)

    def work(tools, number):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        with lock:
            at_once[0] -= 1

    with ThreadPoolExecutor(8) as executor, pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "_do", lambda tools, work, job: workers.Answer(work(None, *job)))
        assert len(list(Crew(executor, dict, lambda: next(grown)).finished(work, [(n,) for n in range(12)]))) == 12
    assert most[0] == 3


def test_threads_of_one_worker_take_turns(tmp_path):
    """An engine may give a worker several: what is ready there serves one job at a time."""
    inside, most = [], []

    def work(tools, number):
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.01)
        inside.remove(number)

    with ThreadPoolExecutor(4) as executor:
        list(Crew(executor, partial(crews.tools, tmp_path), lambda: 4).finished(work, [(n,) for n in range(8)]))
    assert set(most) == {1} and lines(tmp_path / "ready.jsonl") == 1


def test_processes_share_cores_and_take_cards_in_turn(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: given.append(count))
    monkeypatch.setattr(torch, "get_num_threads", lambda: allowed[0])
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    from guide_lib.processes import _share

    given, cards, allowed = [], [], [8]
    for visible in (None, "5,7,9", "-1"):
        for number in range(3):
            if visible is None:
                monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
            else:
                monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
            _share(number, 3)
            cards.append(os.environ["CUDA_VISIBLE_DEVICES"])
    allowed[0] = 1  # OMP_NUM_THREADS=1
    _share(0, 1)
    assert given == [2] * 9 + [1] and cards == ["0", "1", "0", "5", "7", "9", "-1", "-1", "-1"]


def test_whoever_was_sent_home_is_not_started_again():
    executor = Processes(1)
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.submit(divmod, 7, 2)
    from guide_lib.processes import _Process

    process = _Process(0, 1)
    process.send_home()
    with pytest.raises(BrokenExecutor, match="sent home"):
        process.call(divmod, (7, 2), {})


PARENT = """
import sys, time
sys.path[:0] = {path!r}
import crews
from pathlib import Path
from guide_lib.processes import Processes
if __name__ == "__main__":
    executor = Processes(1)
    executor.submit(crews.tools, Path(sys.argv[1])).result()
    executor.submit(time.sleep, 600)
    print("ready", flush=True)
    time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


@pytest.mark.skipif(not Path("/proc").exists(), reason="tells the dead by /proc")
def test_a_killed_parent_leaves_no_worker_behind(tmp_path):
    code = PARENT.format(path=[str(ROOT / "tests"), str(ROOT)])
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n"
    (row,) = read_rows(tmp_path / "ready.jsonl")
    assert alive(row["pid"])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(300):
        if not alive(row["pid"]):
            return
        time.sleep(0.1)
    os.kill(row["pid"], signal.SIGKILL)
    raise AssertionError("half a minute later the worker lives")


def test_nobody_at_the_address_and_no_dask_are_one_sentence(monkeypatch):
    pytest.importorskip("distributed")
    nobody = crew_of(dict, None, "tcp://127.0.0.1:9")
    monkeypatch.setattr(workers, "PATIENCE", 1)
    with pytest.raises(GuideError, match="No Dask scheduler answers at tcp://127.0.0.1:9 .*; start one, or"), nobody:
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    again = crew_of(dict, None, "tcp://127.0.0.1:9")
    with pytest.raises(GuideError, match=r"install it: pip install 'guide-lib\[cluster\]'"), again:
        pass
