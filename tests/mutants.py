"""Break the method on purpose and see that the tests notice: make mutants.

Each mutant is one replaced line in a copy of the library; a test of its group must fail on the copy: of the method's
for `MUTANTS`; for `FAULTS`, what a GPU would trip over, of the module of tests/device that is named with it (these
alone: python tests/mutants.py device); for `PLANTED`, attacks that flatter themselves, of the module that is named with
it (python tests/mutants.py attacks). The group `checks` spoils our answers to the exercises instead: their
checks must not say "Right." (tests/solutions.py). Exits with 1 if a mutant survives, or if the tests fail on an
unchanged copy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT), str(ROOT / "tests" / "device"), str(ROOT / "tests" / "attacks")]

import solutions  # noqa: E402
from faults import FAULTS  # noqa: E402
from planted import PLANTED  # noqa: E402

NAMES = (
    *(
        "test_targets",
        "test_losses",
        "test_variants",
        "closed_form/test_edit",
        "test_unlearning",
        "attacks/test_attacks",
    ),
    *("closed_form/test_forget_list", "session/test_at_once", "inversion/test_optimise", "inversion/test_pivotal"),
    *("metrics/test_identity", "metrics/test_distribution", "metrics/test_forgetting"),
)
TESTS = tuple(f"tests/{name}.py" for name in NAMES)
IN_A_COPY = ("method", "attacks", "device")  # of the library
GROUPS = (*IN_A_COPY, "checks")

MUTANTS = {
    "the local loss is zero": (
        "losses.py",
        "student.synthesis(w_u, view)), target).sum()",
        "student.synthesis(w_u, view)), target).sum() * 0",
    ),
    "the adjacency loss is zero": (
        "losses.py",
        "student.synthesis(w_u + delta, view)), target).sum()",
        "student.synthesis(w_u + delta, view)), target).sum() * 0",
    ),
    "the global loss is zero": (
        "losses.py",
        "perceptual(student.picture(ws, view), kept).sum()",
        "perceptual(student.picture(ws, view), kept).sum() * 0",
    ),
    "UFO's sign is flipped": ("targets.py", "w_avg - scale_to_rows", "w_avg + scale_to_rows"),
    "teacher and student are swapped in the loop": (
        "unlearning/objective.py",
        "adjacency_loss(student, self.teacher,",
        "adjacency_loss(self.teacher, student,",
    ),
    "teacher and student are swapped in the global loss": (
        "losses.py",
        "kept = teacher.picture(ws, view)",
        "student, teacher = teacher, student; kept = teacher.picture(ws, view)",
    ),
    "the offset is added to the source only": (
        "losses.py",
        "observe_teacher(teacher, w_t + delta, view, distance)",
        "observe_teacher(teacher, w_t + 0 * delta, view, distance)",
    ),
    "the adjacency loss is a mean": (
        "losses.py",
        "student.synthesis(w_u + delta, view)), target).sum()",
        "student.synthesis(w_u + delta, view)), target).mean()",
    ),
    "alpha is not scaled to the rows": ("losses.py", "scale_to_rows(1.0, w_u.shape[1]) * alpha", "alpha"),
    "a resumed run forgets Adam's moments": (
        "checkpoint.py",
        '_MOMENTS = ("exp_avg", "exp_avg_sq", "step")',
        '_MOMENTS = ("step",)',
    ),
    "the whole student is trained": (
        "generators/base.py",
        "for parameter in student.trainable_parameters().values():",
        "for parameter in student.parameters():",
    ),
    "the target does not walk": (
        "unlearning/settings.py",
        "return min(1.0, index / (self.walk * self.steps)) if self.walk else 1.0",
        "return 1.0",
    ),
    "style layers learn no faster": ("unlearning/loop.py", '"speed": settings.style_rate', '"speed": 1.0'),
    "erasures do not compose": ("closed_form/edit.py", 'torch.einsum("krd,lrd,lre->kre", move, readers, moves)', "0"),
    "a target keeps the way back": ("closed_form/edit.py", "if not way_back:", "if False:"),
    "a style layer's bias forgets its gain": ("closed_form/edit.py", "layer.gain * changed", "changed"),
    "LoRA forgets what W was": ("variants.py", "self.originals[name] + update", "weight + update"),
    "Euler's method takes one step": ("generators/adapters.py", "for _ in range(EULER_STEPS):", "for _ in range(1):"),
    "the inversion's anchor in W+ is the mean": (
        "inversion/optimise.py",
        "code, anchor, steps, rate = ws, ws,",
        "code, anchor, steps, rate = ws, generator.w_avg,",
    ),
    "the inversion looks for a stranger": ("inversion/optimise.py", "s.identity * (1 - cosine)", "s.identity * cosine"),
    "pivotal tuning forgets locality": ("inversion/pivotal.py", "locality: float = 0.1", "locality: float = 0.0"),
    "the erased person counts among the others": ("metrics/identity.py", "kept = cosines[seen:]", "kept = cosines"),
    "FID forgets the factor of the root": ("metrics/distribution.py", "spread - 2 * root", "spread - root"),
    "KID keeps the diagonals": ("metrics/distribution.py", "(k.sum() - k.trace())", "k.sum()"),
    "both generators are drawn with one seed for all": (
        "metrics/distribution.py",
        "step_rng(seed, k)",
        "step_rng(seed, 0)",
    ),
    "a resumed collection starts anew": (
        "metrics/distribution.py",
        "for images in batches(have):",
        "for images in batches(0):",
    ),
    "views turn one way only": (
        "metrics/forgetting.py",
        "YAWS = tuple(range(-15, 16, 3))",
        "YAWS = tuple(range(0, 33, 3))",
    ),
    "the threshold lets one more in": ("metrics/forgetting.py", "highest[kept]", "highest[kept + 1]"),
    "the same person counts as an impostor": (
        "metrics/forgetting.py",
        "people[first] != people[second]",
        "first != second",
    ),
    "neighbours are compared with themselves": (
        "attacks/neighbours.py",
        "person = render(generator, w_u).expand",
        "person = render(student, w_u).expand",
    ),
    "a tie is a find": (
        "attacks/fingerprints.py",
        "(self.scores >= self.scores[index]).sum()) - 1",
        "(self.scores > self.scores[index]).sum())",
    ),
    "relearning never looks": (
        "attacks/relearning.py",
        "if accepted is None and curve[-1][1] >= threshold:",
        "if accepted is None and curve[-1][1] >= 2:",
    ),
    "the attacker keeps the worst": (
        "attacks/reinversion.py",
        "return self.cosines.max().item()",
        "return self.cosines.min().item()",
    ),
}


@dataclass(frozen=True)
class Mutant:
    """A piece of a line in a file of the library, what takes its place, and the tests of which one must fail."""

    name: str
    file: str
    line: str
    mutated: str
    tests: tuple[str, ...]


def mutants_of(group: str) -> list[Mutant]:
    """group: "method", "attacks" or "device"."""
    if group == "method":
        return [Mutant(name, *change, TESTS) for name, change in MUTANTS.items()]
    if group == "attacks":
        return [Mutant(name, *change, (f"tests/{test}.py",)) for name, (*change, test) in PLANTED.items()]
    return [Mutant(name, *change, (f"tests/device/{test}.py",)) for name, (*change, test) in FAULTS.items()]


def failures(folder: Path, tests: Iterable[str], *options: str) -> list[str]:
    """The names of the tests that fail in this copy of the project."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=no", *options]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    output = subprocess.run([*command, *tests], cwd=folder, env=environment, capture_output=True, text=True).stdout
    if "passed" not in output and "failed" not in output:
        raise SystemExit(f"the tests did not run:\n{output}")
    return re.findall(r"^(?:FAILED|ERROR) tests/[^:]*::([^\s\[]+)", output, re.MULTILINE)


def killers(folder: Path, mutant: Mutant) -> list[str]:
    """The tests that fail once the mutant has taken its place in the copy; of one module's, up to the first."""
    path = folder / "guide_lib" / mutant.file
    original = path.read_text(encoding="utf-8")
    if original.count(mutant.line) != 1:
        raise SystemExit(f"{mutant.file} does not hold this line exactly once any more: {mutant.line}")
    path.write_text(original.replace(mutant.line, mutant.mutated), encoding="utf-8")
    found = failures(folder, mutant.tests, *["--exitfirst"] * (mutant.tests != TESTS))
    path.write_text(original, encoding="utf-8")
    return list(dict.fromkeys(found))


def survivors_in_a_copy(mutants: Sequence[Mutant]) -> list[str]:
    """The mutants that no test notices; prints what kills each."""
    survivors = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("guide_lib", "tests", "data", "docs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        if failed := failures(folder, sorted({test for mutant in mutants for test in mutant.tests})):
            raise SystemExit(f"the tests fail without any mutant: {', '.join(failed)}")
        for mutant in mutants:
            found = killers(folder, mutant)
            print(f"{'killed' if found else 'SURVIVED':8} {mutant.name}: {', '.join(found) or '-'}", flush=True)
            survivors += [] if found else [mutant.name]
    return survivors


def main(groups: Sequence[str]) -> int:
    groups = groups or GROUPS
    mutants = [mutant for group in groups if group in IN_A_COPY for mutant in mutants_of(group)]
    spoilt = solutions.faults() if "checks" in groups else []
    spoilt = [fault for fault in spoilt if fault.name not in solutions.HARMLESS]
    survivors = survivors_in_a_copy(mutants) if mutants else []
    for fault in (fault for fault in spoilt if not solutions.is_seen(fault)):
        print(f"SURVIVED {fault.name}", flush=True)
        survivors.append(fault.name)
    total = len(mutants) + len(spoilt)
    print(f"{total - len(survivors)} of {total} killed")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
