"""Spoil our answers in one place at a time: the checks must see it (what is spoilt: tests/solutions.py)."""

import pytest
import solutions

FAULTS = solutions.faults()


@pytest.mark.parametrize("check", sorted({fault.check for fault in FAULTS}))
def test_a_spoilt_answer_is_not_right(check):
    faults = [fault for fault in FAULTS if fault.check == check and fault.name not in solutions.HARMLESS]
    assert [fault.name for fault in faults if not solutions.is_seen(fault)] == []
    assert len(faults) >= 3


def test_what_does_no_harm_is_still_there_and_right():
    harmless = [fault for fault in FAULTS if fault.name in solutions.HARMLESS]
    assert {fault.name for fault in harmless} == solutions.HARMLESS
    assert not any(solutions.is_seen(fault) for fault in harmless)


def test_an_answer_as_it_is_is_right():
    """Else every fault would be seen, whatever the check does."""
    for check, imports, answer, cell in solutions.solutions():
        assert not solutions.is_seen(solutions.Fault(check, "none", f"{imports}\n{answer}\n{cell}")), check
