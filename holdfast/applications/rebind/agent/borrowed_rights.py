"""Calls by a child or a thread with a right that the process does not have, or has put aside.

prctl(2) for one that has no right:

The child shares the memory (CLONE_VM) and lives in a user namespace of its own, where it may do
what concerns that memory. It makes one call, writes the result to memory, and ends; its parent
waits in the kernel until then (CLONE_VFORK). When we die in between, the child goes on by itself
and the parent waits in the harbour.

chroot(2) for one that may take CAP_SYS_CHROOT (it is permitted) and has not: a thread of it, which
shares its directories (CLONE_FS), takes the right for itself alone. Nobody has to wait for one, so
our death leaves neither a right nor a dead child behind. x86-64 only.
"""

from __future__ import annotations

import errno
import os
import struct

from holdfast.applications.rebind.agent.calls import LEAST_RESULT
from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.applications.rebind.agent.x86_64 import CHILD, THREAD_IN_ROOT
from holdfast.system.processes.ptrace import status_fields

# <linux/sched.h>. No signal is sent when the child ends, so the process is not told of it.
_CLONE_VM, _CLONE_FS, _CLONE_FILES, _CLONE_VFORK = 0x100, 0x200, 0x400, 0x4000
_CLONE_SIGNALS, _CLONE_THREAD, _CLONE_NEWUSER = 0x800, 0x10000, 0x10000000
_SYS_CHROOT = 1 << 18  # linux/capability.h
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_HEADER = struct.Struct("<Ii")
"""struct __user_cap_header_struct: version, process (0: who calls)."""
_WALL = 0x40000000  # <linux/wait.h>: also for children that end without a signal


def prctl_with_every_right(tracee: Tracee, arguments: tuple[int, ...]) -> None:
    """Make the call. Raises OSError: EPERM where such children are not allowed, or its errno."""
    option, second, third, fourth, fifth = arguments
    result = tracee.scratch + 1024
    code = CHILD.with_values(
        {
            **{"option": option, "second": second, "third": third},
            **{"fourth": fourth, "fifth": fifth},
            **{"result": result, "wait": tracee.wait_address},
        }
    )
    child = _begin(tracee, code, result, _CLONE_NEWUSER)
    tracee.call("wait4", child, 0, _WALL, 0)
    _check(tracee, result)


def may_chroot(tracee: Tracee) -> bool:
    """Whether the thread that makes our calls has CAP_SYS_CHROOT now."""
    return bool(int(status_fields(tracee.executor, ["CapEff"])["CapEff"], 16) & _SYS_CHROOT)


def chroot_with_permitted_right(tracee: Tracee, directory: int, path: bytes = b".") -> None:
    """Let the process stand in a directory (a descriptor of it), and make `path` its root.

    Raises OSError: EPERM where the right is not permitted, or a filter would meet the thread (it
    might end the process); or the errno of what failed; it may stand there then.
    """
    fields = ("CapEff", "CapPrm", "CapInh")
    found = status_fields(tracee.executor, (*fields, "Seccomp"))
    if found.pop("Seccomp") not in ("", "0"):
        raise OSError(errno.EPERM, "a filter is set (seccomp)", f"/proc/{tracee.pid}")
    effective, permitted, inheritable = (int(found[name], 16) for name in fields)
    effective |= _SYS_CHROOT
    assert len(path) < 64
    header, dot, result = (tracee.scratch + 1024 + offset for offset in (0, 64, 128))
    sets = header + _HEADER.size
    halves = [each >> shift & 0xFFFFFFFF for shift in (0, 32)
              for each in (effective, permitted, inheritable)]  # fmt: skip
    tracee.write(header, _HEADER.pack(_CAPABILITY_VERSION, 0) + struct.pack("<6I", *halves))
    tracee.write(dot, path + b"\0")
    code = THREAD_IN_ROOT.with_values(
        {
            **{"header": header, "sets": sets, "directory": directory, "dot": dot},
            **{"result": result, "wait": tracee.wait_address},
        }
    )
    _begin(tracee, code, result, _CLONE_FS | _CLONE_SIGNALS | _CLONE_THREAD)
    _check(tracee, result)


def _begin(tracee: Tracee, code: bytes, result: int, flags: int) -> int:
    """Let a child or thread that shares the memory run this; its number. Raises OSError.

    It has ended, as far as the memory is concerned, when this returns.
    """
    tracee.write(result, struct.pack("<q", -errno.EPERM))
    flags |= _CLONE_VM | _CLONE_FILES | _CLONE_VFORK
    return tracee.call_with_code(code, "clone", flags, 0, 0, 0, 0)


def _check(tracee: Tracee, result: int) -> None:
    """Raise the OSError that it has written down."""
    answer = struct.unpack("<q", tracee.read(result, 8))[0]
    if answer < LEAST_RESULT:
        raise tracee.give_up("say what became of a system call")
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer), f"/proc/{tracee.pid}")
