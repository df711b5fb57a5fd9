"""Checks of the exercises of notebooks 01, 03, 04, 05, 06 and 10, with `guide_lib.checks.compare`.

    verdict = check_truncate(my_truncate)                    # "Right.", or a sentence that says what is wrong

Each calls the reader's function on random inputs. Errors inside it are left to Python, which points at the line.
"""

from guide_lib.exercises.assignment import check_forgetting, check_partial_target, check_summary
from guide_lib.exercises.identity import check_cosines, check_rates
from guide_lib.exercises.latents import check_mix, check_person_distance, check_target, check_truncate
from guide_lib.exercises.training import check_distance, check_loop, check_losses, check_offsets, check_rate

__all__ = [
    "check_cosines",
    "check_distance",
    "check_forgetting",
    "check_loop",
    "check_losses",
    "check_mix",
    "check_offsets",
    "check_partial_target",
    "check_person_distance",
    "check_rate",
    "check_rates",
    "check_summary",
    "check_target",
    "check_truncate",
]
