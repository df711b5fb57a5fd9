"""What exercises are checked with: one sentence that says "Right.", or what is wrong.

>>> check_truncate(lambda ws, w_avg, t: t * ws)
'Not yet: the codes shrink toward zero; the middle of W is w_avg.'
>>> check_truncate(lambda ws, w_avg, t: w_avg + t * (ws - w_avg))
'Right.'

A check calls the reader's function on inputs of its own and compares the answer with the library's, and then with what
the usual mistakes would give (`guide_lib.checks.base.compare`). A number such as `d` or `t` takes more than one value,
so that it cannot be ignored; inputs must stay as they were; any kind of number is a number. Errors inside the reader's
function are left to Python, which points at the line.
"""

from guide_lib.checks.assignment import check_forgetting, check_partial_target, check_summary
from guide_lib.checks.attacks import check_cost, check_kernel_distance, check_rank
from guide_lib.checks.erasing import check_layer, check_reader
from guide_lib.checks.identity import check_cosines, check_rates
from guide_lib.checks.inversion import check_distance_from_w, check_gain, check_inversion_loss
from guide_lib.checks.latents import check_mix, check_person_distance, check_target, check_truncate
from guide_lib.checks.searching import check_gaps, check_search
from guide_lib.checks.training import check_distance, check_loop, check_losses, check_offsets, check_rate

__all__ = [
    "check_cosines",
    "check_cost",
    "check_distance",
    "check_distance_from_w",
    "check_forgetting",
    "check_gain",
    "check_gaps",
    "check_inversion_loss",
    "check_kernel_distance",
    "check_layer",
    "check_loop",
    "check_losses",
    "check_mix",
    "check_offsets",
    "check_partial_target",
    "check_person_distance",
    "check_rank",
    "check_rate",
    "check_rates",
    "check_reader",
    "check_search",
    "check_summary",
    "check_target",
    "check_truncate",
]
