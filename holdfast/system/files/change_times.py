"""What a change time (st_ctime) tells: whether a later change is certain to show in it. Pure, but
for the clock."""

from __future__ import annotations

import time

SETTLE_NS = 50_000_000
"""Change times come from a clock that ticks every 1 to 10 ms (CONFIG_HZ) on kernels before 6.13."""

COARSE_SETTLE_NS = 3_000_000_000
"""FAT counts in steps of 2 s, ext4 with inodes of 128 bytes and HFS+ in seconds, exFAT in 10 ms."""

_COARSE_STEP_NS = 10_000_000
"""A change time without a remainder is taken for one of those: at worst a file is read again."""


def now_ns() -> int:
    """The clock that change times are taken from."""
    return time.time_ns()


def is_settled(changed_ns: int, at_ns: int) -> bool:
    """Whether a change from `at_ns` on is certain to give another change time than this one."""
    is_coarse = changed_ns % _COARSE_STEP_NS == 0
    return changed_ns < at_ns - (COARSE_SETTLE_NS if is_coarse else SETTLE_NS)
