"""Every fault that `make mutants` plants has its place in the library still, and a test that is to notice it."""

import mutants
import pytest
from project import ROOT

ALL = [mutant for group in mutants.IN_A_COPY for mutant in mutants.mutants_of(group)]


@pytest.mark.parametrize("mutant", ALL, ids=[mutant.name for mutant in ALL])
def test_a_fault_has_its_line_and_its_tests(mutant):
    assert (ROOT / "guide_lib" / mutant.file).read_text(encoding="utf-8").count(mutant.line) == 1
    assert mutant.line != mutant.mutated and all((ROOT / test).exists() for test in mutant.tests)
