"""Make a generator forget one person: the settings of a run, and its steps."""

from guide_lib.unlearning.loop import Step, unlearn
from guide_lib.unlearning.settings import UnlearningSettings

__all__ = ["Step", "UnlearningSettings", "unlearn"]
