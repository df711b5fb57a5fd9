"""What can happen to a long run, done to it: real signals, real processes, on the tiny generator."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_unlearning import NETWORKS, SETTINGS, assert_same_bits, person, run, weights
from tiny import TinyEmbedder, TinyGenerator

from guide_lib import checkpoint as checkpoints
from guide_lib.errors import GuideError
from guide_lib.evaluation import results
from guide_lib.experiment import run_folder
from guide_lib.files import append_row, read_rows
from guide_lib.unlearning import unlearn

# The command line itself, with small networks instead of the pretrained ones.
CHILD = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores Ctrl-C
sys.path[:0] = {path!r}
from functools import partial
from tiny import AnySize, TinyGenerator, TinyPerceptual
from guide_lib import experiment

networks = experiment.Networks(TinyGenerator(), TinyPerceptual(), AnySize(), AnySize(seed=8))
experiment.load_networks = lambda *_: networks
from guide_lib.session import session
session.unlearn = partial(session.unlearn, checkpoint_seconds=0.05)  # a step takes milliseconds
sys.argv = ["guide_lib", "unlearn", "--person", "7", "--steps", "{steps}", "--out", sys.argv[1]]
runpy.run_module("guide_lib", run_name="__main__")
"""
STEPS = 300
HERE = Path(__file__).resolve().parent
CODE = CHILD.format(path=[str(HERE), str(HERE.parent)], steps=STEPS)


def started(folder: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CODE, str(folder)], stderr=subprocess.PIPE, text=True)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def after_steps(folder: Path, count: int, process: subprocess.Popen) -> None:
    """Wait until the run has written the losses of `count` steps more than it found."""
    while lines(folder / "losses.csv") <= count:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


def result(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "student.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = started(folder)
    assert process.communicate()[1] and process.returncode == 0
    return folder


def assert_continues(folder: Path, undisturbed: Path) -> None:
    """The same command, given again, ends with the same weights, and with one line for each step."""
    process = started(folder)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert_same_bits(result(folder), result(undisturbed))
    with (folder / "losses.csv").open(newline="") as mine, (undisturbed / "losses.csv").open(newline="") as other:
        assert list(csv.DictReader(mine)) == list(csv.DictReader(other))
    assert not (folder / "checkpoint.safetensors").exists() and not list(folder.glob("*.part"))


@pytest.mark.slow
def test_a_killed_run_is_continued_by_a_new_process(undisturbed, tmp_path):
    """SIGKILL: what the system does when memory is short, and what a notebook does when its kernel is restarted."""
    process = started(tmp_path)
    after_steps(tmp_path, 60, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL and (tmp_path / "checkpoint.safetensors").exists()
    assert_continues(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_shutdown_and_ctrl_c_save_the_state(number, undisturbed, tmp_path):
    lost = []
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        process = started(folder)
        after_steps(folder, 60 + attempt, process)
        process.send_signal(number)
        _, error = process.communicate(timeout=300)
        assert process.returncode == 130 and error.endswith("stopped; the same command continues from here\n"), error
        assert "Traceback" not in error
        with checkpoints.safe_open(folder / "checkpoint.safetensors", "pt") as file:
            lost.append(lines(folder / "losses.csv") - 1 - int(file.metadata()["step"]))
        if lost[-1] <= 1:
            break
    # Adam's step itself may be interrupted: then the last whole state counts. Three times in a row is no accident.
    assert lost[-1] <= 1, f"steps lost: {lost}"
    assert_continues(folder, undisturbed)


@pytest.mark.slow
def test_a_laptop_that_sleeps_goes_on_where_it_was(undisturbed, tmp_path):
    process = started(tmp_path)
    after_steps(tmp_path, 30, process)
    process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    done = lines(tmp_path / "losses.csv")
    time.sleep(1)
    assert lines(tmp_path / "losses.csv") == done
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert_same_bits(result(tmp_path), result(undisturbed))


@pytest.mark.slow
def test_a_second_run_in_the_folder_of_a_living_one_is_refused(tmp_path):
    process = started(tmp_path)
    after_steps(tmp_path, 5, process)
    process.send_signal(signal.SIGSTOP)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    second = started(tmp_path)
    _, error = second.communicate()
    assert second.returncode == 2 and "Another run is writing to" in error
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept
    process.kill()
    process.wait()


def test_a_full_disk_keeps_the_older_checkpoint(tmp_path, monkeypatch):
    generator, path = TinyGenerator(), tmp_path / "checkpoint.safetensors"

    def full(tensors, partial, metadata):
        partial.write_bytes(b"as much as there was room for")
        raise OSError(errno.ENOSPC, "No space left on device")

    steps = unlearn(generator, *person(generator), SETTINGS, **NETWORKS, checkpoint=path, checkpoint_seconds=0)
    with pytest.raises(GuideError, match="Cannot write .*No space left.*; free some space or choose another folder"):
        for step in steps:
            if step.index == 5:
                old = path.read_bytes()
                monkeypatch.setattr(checkpoints, "save_file", full)
    assert path.read_bytes() == old and os.listdir(tmp_path) == [path.name]
    monkeypatch.undo()
    resumed = run(generator, checkpoint=path)
    assert resumed[0].index == 5
    assert_same_bits(weights(resumed[-1]), weights(run(generator)[-1]))


def test_a_full_disk_while_a_row_is_added_loses_that_row_alone(tmp_path, monkeypatch):
    path = tmp_path / "people.jsonl"
    append_row(path, {"person": "0"})
    monkeypatch.setattr(
        "guide_lib.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left"))
    )
    with pytest.raises(GuideError, match="Cannot write to .*No space left"), run_folder(tmp_path):
        append_row(path, {"person": "1"})
    monkeypatch.undo()
    assert read_rows(path)[0] == {"person": "0"}


def test_no_memory_left_is_one_sentence_and_keeps_the_steps_before(tmp_path, monkeypatch):
    generator, path = TinyGenerator(), tmp_path / "checkpoint.safetensors"
    real, seen, done = TinyEmbedder.embed, [], 0

    def embed(self, images):
        """Asks for a petabyte at its tenth picture."""
        seen.append(None)
        if len(seen) == 10:
            torch.empty(1 << 48)
        return real(self, images)

    monkeypatch.setattr(TinyEmbedder, "embed", embed)
    with pytest.raises(GuideError, match="ran out of memory; use a smaller --resolution"), run_folder(tmp_path):
        for step in unlearn(generator, *person(generator), SETTINGS, **NETWORKS, checkpoint=path):
            done = step.index
    monkeypatch.undo()
    assert done > 0
    resumed = run(generator, checkpoint=path)
    assert resumed[0].index == done
    assert_same_bits(weights(resumed[-1]), weights(run(generator)[-1]))
    with pytest.raises(RuntimeError, match="mat1"), run_folder(tmp_path):  # another mistake stays what it is
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_an_interrupt_inside_adams_step_does_not_save_torn_weights(tmp_path, monkeypatch):
    generator, path = TinyGenerator(), tmp_path / "checkpoint.safetensors"
    real, calls = torch.optim.Adam.step, []

    def step(self, closure=None):
        calls.append(None)
        real(self, closure)
        if len(calls) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(KeyboardInterrupt):
        list(unlearn(generator, *person(generator), SETTINGS, **NETWORKS, checkpoint=path, checkpoint_seconds=0))
    monkeypatch.undo()
    resumed = run(generator, checkpoint=path)
    assert resumed[0].index == 7
    assert_same_bits(weights(resumed[-1]), weights(run(generator)[-1]))


def test_a_cut_line_is_left_out_and_replaced_by_the_next_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"k": k, "text": "é\n" * k} for k in range(4)]
    assert read_rows(path) == []
    for row in rows[:3]:
        append_row(path, row)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        assert read_rows(path) == rows[:kept] and path.read_bytes() == whole[:cut], "reading must not write"
        append_row(path, rows[3])
        assert read_rows(path) == [*rows[:kept], rows[3]]


def test_a_line_damaged_in_the_middle_is_named_and_the_others_stay(tmp_path):
    path = tmp_path / "rows.jsonl"
    for k in range(3):
        append_row(path, {"k": k})
    damaged = path.read_bytes().replace(b'{"k": 1}', b'{"k": 1')
    path.write_bytes(damaged)
    with pytest.raises(GuideError, match=r"Line 2 of .* is damaged; delete that line"):
        read_rows(path)
    assert path.read_bytes() == damaged


def test_an_evaluation_with_a_cut_line_counts_that_person_as_missing(tmp_path):
    row = {"scenario": "random", "method": "GUIDE", "person": "0", "id": 0.5, "became": [0.6, 0.8]}
    append_row(tmp_path / "people.jsonl", row)
    with (tmp_path / "people.jsonl").open("a") as file:
        file.write(json.dumps(row | {"person": "1"})[:40])
    assert results.read_rows(tmp_path / "people.jsonl") == [row]
    append_row(tmp_path / "people.jsonl", row | {"person": "1"})
    assert [found["person"] for found in results.read_rows(tmp_path / "people.jsonl")] == ["0", "1"]


def test_a_checkpoint_outlives_a_kill_between_two_of_its_writes(tmp_path):
    """Half a file under the other name, as a kill leaves it: the next run neither reads nor trips over it."""
    generator, path = TinyGenerator(), tmp_path / "checkpoint.safetensors"
    run(generator, checkpoint=path)
    path.with_name(f"{path.name}.99999.part").write_bytes(path.read_bytes()[:100])
    assert run(generator, checkpoint=path)[0].index == SETTINGS.steps
