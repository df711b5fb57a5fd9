"""A GPU beside this machine's CPU: does it compute the same, how fast, with how much memory (`guide doctor --gpu`)."""

from guide_lib.gpu.report import examine, table, write_examination

__all__ = ["examine", "table", "write_examination"]
