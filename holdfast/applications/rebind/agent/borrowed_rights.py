"""prctl(2) by a child with every right, for a process that has none.

The child shares the memory (CLONE_VM) and lives in a user namespace of its own, where it may do
what concerns that memory. It makes one call, writes the result to memory, and ends; its parent
waits in the kernel until then (CLONE_VFORK). When we die in between, the child goes on by itself
and the parent waits in the harbour. x86-64 only.
"""

from __future__ import annotations

import errno
import os
import struct

from holdfast.applications.rebind.agent.calls import LEAST_RESULT
from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.applications.rebind.agent.x86_64 import CHILD

# <linux/sched.h>. No signal is sent when the child ends, so the process is not told of it.
_CLONE_VM, _CLONE_FILES, _CLONE_VFORK, _CLONE_NEWUSER = 0x100, 0x400, 0x4000, 0x10000000
_WALL = 0x40000000  # <linux/wait.h>: also for children that end without a signal


def prctl_with_every_right(tracee: Tracee, arguments: tuple[int, ...]) -> None:
    """Make the call. Raises OSError: EPERM where such children are not allowed, or its errno."""
    option, second, third, fourth, fifth = arguments
    result = tracee.scratch + 1024
    tracee.write(result, struct.pack("<q", -errno.EPERM))
    code = CHILD.with_values(
        {
            **{"option": option, "second": second, "third": third},
            **{"fourth": fourth, "fifth": fifth},
            **{"result": result, "wait": tracee.wait_address},
        }
    )
    flags = _CLONE_VM | _CLONE_FILES | _CLONE_VFORK | _CLONE_NEWUSER
    child = tracee.call_with_code(code, "clone", flags, 0, 0, 0, 0)
    tracee.call("wait4", child, 0, _WALL, 0)
    answer = struct.unpack("<q", tracee.read(result, 8))[0]
    if answer < LEAST_RESULT:
        raise tracee.give_up("say what became of a system call")
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
