"""How urgent a thread is: policy, real-time priority, nice value and priority of its I/O.

Values are read and set per thread, as the kernel keeps them. A custom time slice (Linux 6.12) and
utilisation clamps survive, because sched_setscheduler(2) leaves both alone. Must never be used on
a SCHED_DEADLINE thread: its bandwidth may be given to somebody else meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import platform

from holdfast.late_dataclass import dataclass
from holdfast.system.raw_call import raw_call

_NUMBERS = {"x86_64": (251, 252), "aarch64": (30, 31)}
"""ioprio_set, ioprio_get: asm/unistd_64.h; asm-generic/unistd.h."""

_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_SHIFT = 13
_IOPRIO_CLASS_IDLE = 3  # <linux/ioprio.h>

SCHED_DEADLINE = 6  # <linux/sched.h>
SCHED_IDLE = 5
RESET_ON_FORK = 0x40000000


@dataclass(frozen=True)
class Urgency:
    """Everything that is taken from a thread and given back."""

    policy: int
    """sched_getscheduler(2), with SCHED_RESET_ON_FORK where it is set."""
    priority: int
    """Of a real-time policy; 0 otherwise."""
    nice: int
    io_priority: int
    """ioprio_get(2): class and level as one number; 0: follows the nice value."""

    @property
    def is_idle(self) -> bool:
        """Whether it is as idle as `as_idle` makes it."""
        return self.policy & ~RESET_ON_FORK == SCHED_IDLE and (self.nice, self.io_priority) == (
            19,
            _IDLE_IO,
        )

    def as_idle(self) -> Urgency:
        """The least urgent there is: runs, and does I/O, when nobody else wants to."""
        return Urgency(self.policy & RESET_ON_FORK | SCHED_IDLE, 0, 19, _IDLE_IO)


_IDLE_IO = _IOPRIO_CLASS_IDLE << _IOPRIO_CLASS_SHIFT


def io_priority_known() -> bool:
    """Whether the numbers of ioprio_get and ioprio_set are known for this machine."""
    return platform.machine() in _NUMBERS


def read_urgency(thread_id: int) -> Urgency:
    """How urgent a thread is. Raises ProcessLookupError when it is gone."""
    return Urgency(
        policy=os.sched_getscheduler(thread_id),
        priority=os.sched_getparam(thread_id).sched_priority,
        nice=os.getpriority(os.PRIO_PROCESS, thread_id),
        io_priority=_ioprio(1, thread_id),
    )


def set_urgency(thread_id: int, urgency: Urgency) -> None:
    """Make a thread that urgent; idempotent. Raises ProcessLookupError, PermissionError."""
    parameters = os.sched_param(urgency.priority)
    os.sched_setscheduler(thread_id, urgency.policy, parameters)
    os.setpriority(os.PRIO_PROCESS, thread_id, urgency.nice)
    # Without a class there is no level: what older kernels report there cannot be set.
    unset = urgency.io_priority >> _IOPRIO_CLASS_SHIFT == 0
    _ioprio(0, thread_id, 0 if unset else urgency.io_priority)


def _ioprio(which: int, thread_id: int, *value: int) -> int:
    number = _NUMBERS[platform.machine()][which]
    arguments = [ctypes.c_long(each) for each in (_IOPRIO_WHO_PROCESS, thread_id, *value)]
    return raw_call(number, *arguments, about=f"I/O priority of thread {thread_id}")
