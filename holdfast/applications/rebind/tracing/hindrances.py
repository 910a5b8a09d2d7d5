"""Why a thread cannot be stopped, or does not run when it is asked to: in plain words, with a mend.

Reads /proc, /sys and control groups only. Invariant: nothing is asked of storage, and whatever is
read here is data from a stranger: it is shown, never followed.
"""

from __future__ import annotations

import os
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.system.mounts.mount_table import mounts
from holdfast.system.proc import link, read_record
from holdfast.system.processes.calls_of_32_bits import has_32_bits, number_for_64_bits
from holdfast.system.processes.kcmp import Shared, is_shared
from holdfast.system.processes.process_state import read_state
from holdfast.system.resources.cgroup import frozen_by

_DISTURBED = "See what it waits for, or end it, then try again."

_BIRTHS, _PROGRAMS = frozenset({56, 58, 435}), frozenset({59, 322})
"""clone, vfork, clone3; execve, execveat (asm/unistd_64.h)."""
_PROGRAMS_OF_32_BITS = frozenset({11, 358})
"""execve, execveat (asm/unistd_32.h)."""

_CLONE, _CLONE_VFORK = 56, 0x4000
"""asm/unistd_64.h, linux/sched.h: a flag in the first argument."""

_BIRTH = (b"kernel_clone", b"wait_for_vfork_done", b"0")
"""Where kernel/fork.c lets those wait that called vfork; 0: it is not told."""

_BY_DESCRIPTOR = frozenset({0, 1, 17, 18, 19, 20, 74, 75, 77, 285, 295, 296, 327, 328})
"""read, write, pread64, …, fsync, ftruncate, fallocate, preadv, …: of their first argument."""

_FROZEN_FILE_SYSTEM = (b"percpu_rwsem_wait", b"sb_start_write", b"__sb_start_write")
"""Where fs/super.c lets those wait that write to a file system which is frozen (FIFREEZE)."""

_FUSE = (b"request_wait_answer", b"fuse_")

_OURS = "holdfast"
"""The name of our commands; of others who call themselves so, root's are believed."""


@dataclass(frozen=True)
class Hindrance:
    """What is in the way, as the end of a sentence about a process, and what to do about it."""

    words: str
    mend: str


def frozen(pid: int, thread_id: int | None = None) -> Hindrance | None:
    """The frozen control group that a process (or one thread of it) is in."""
    group = frozen_by(pid, thread_id)
    if group is None:
        return None
    return Hindrance(
        f"its control group {group} is frozen",
        f"Let it run: docker unpause, systemctl thaw, or whatever froze {group}.",
    )


def traced(tracer: int) -> Hindrance:
    """That a process is traced by that one: by a debugger, or by a command of ours at another
    volume that it uses, too."""
    name = _record(f"/proc/{tracer}/comm").strip().decode(errors="replace")
    with suppress(OSError):
        if name == _OURS and os.stat(f"/proc/{tracer}").st_uid == 0:  # noqa: PTH116
            return Hindrance(
                f"{name} (process {tracer}) is moving it now, as a user of another volume",
                "Wait until that has ended, then try again.",
            )
    return Hindrance(
        f"process {tracer}{name and f' ({name})'} traces it",
        "End the debugger or strace that is attached to it.",
    )


def hindrance(pid: int, thread_id: int) -> Hindrance:
    """What keeps this thread from standing still, or from running, now."""
    found = frozen(pid, thread_id)
    if found is not None:
        return found
    call, descriptor = call_of(thread_id)
    if call in _PROGRAMS:
        return Hindrance(
            "it is about to run another program, whose storage does not answer", _DISTURBED
        )
    state = read_state(pid, thread_id)
    if state is None or state.state != "D":
        return Hindrance("it does not come to a stop", _DISTURBED)
    where = _where(pid, thread_id)
    if child := unborn_child(pid, thread_id):
        return Hindrance(
            f"it waits (vfork) for its child {child}, which has not run a program of its own yet",
            f"Let process {child} go on, or end it: {_doing(child)}.",
        )
    place = _place(thread_id, descriptor) if call in _BY_DESCRIPTOR else ""
    of_place = f" of {place}" if place else ""
    if where.startswith(_FROZEN_FILE_SYSTEM):
        return Hindrance(
            f"it writes to a file system that is frozen{of_place and f': that{of_place}'}",
            "Let the backup that froze it end, or: fsfreeze --unfreeze PATH.",
        )
    if where.startswith(_FUSE):
        waiting = ", ".join(_unanswered()) or place
        return Hindrance(
            "it waits for a FUSE server that does not answer" + (f": {waiting}" if waiting else ""),
            "Let that server go on, or unmount what it serves, then try again.",
        )
    word = where.decode(errors="replace")
    return Hindrance(
        "it is inside a system call that cannot be interrupted"
        + (f" ({word})" if word.isidentifier() else "") + of_place,
        "See what its storage is waiting for, then try again.",
    )  # fmt: skip


def runs_program(thread_id: int) -> bool:
    """Whether a thread waits within execve(2), before anything of its process has changed."""
    if _told_call(thread_id)[0] not in _PROGRAMS | _PROGRAMS_OF_32_BITS:
        return False  # as nearly always, with one look
    return call_of(thread_id)[0] in _PROGRAMS


def call_of(thread_id: int) -> tuple[int, int]:
    """The number of the system call that a thread is in, as a program of 64 bits would call it, and
    its first argument; -1: none."""
    number, argument = _told_call(thread_id)
    with suppress(OSError):
        if number >= 0 and has_32_bits(thread_id):
            return number_for_64_bits(number), argument
    return number, argument


def _told_call(thread_id: int) -> tuple[int, int]:
    """The same by the number that its own program has for the call."""
    words = _record(f"/proc/{thread_id}/syscall").split()
    with suppress(ValueError, IndexError):
        return int(words[0]), int(words[1], 16)
    return -1, -1


def unborn_child(pid: int, thread_id: int) -> int:
    """The child that a thread waits for in vfork(2), which nothing can interrupt: the one that
    borrows its memory, or the last one.

    0: it does not wait for any (proc_pid_task_children(5)).
    """
    state = read_state(pid, thread_id)
    call, argument = call_of(thread_id)
    if state is None or state.state != "D" or call not in _BIRTHS:
        return 0
    if not _where(pid, thread_id).startswith(_BIRTH) or (
        call == _CLONE and not argument & _CLONE_VFORK
    ):
        return 0
    children = _record(f"/proc/{pid}/task/{thread_id}/children").split()
    for word in children:
        with suppress(OSError):
            if is_shared(Shared.MEMORY, pid, int(word)):
                return int(word)
    return int(children[-1]) if children else 0


def _where(pid: int, thread_id: int) -> bytes:
    """The function of the kernel that a thread waits in (proc_pid_wchan(5))."""
    return _record(f"/proc/{pid}/task/{thread_id}/wchan").strip() or b"0"


_DOES = {
    "T": "it was stopped (SIGSTOP)",
    "t": "a debugger has stopped it",
    "R": "it runs",
    "Z": "it has ended",
}


def _doing(child: int) -> str:
    """What a process that runs no program of its own yet does, in words."""
    state = read_state(child)
    if state is None:
        return "it has ended"
    if state.state == "D":
        return hindrance(child, child).words
    if state.state in _DOES:
        return _DOES[state.state]
    word = _where(child, child).decode(errors="replace")
    call, descriptor = call_of(child)
    place = _place(child, descriptor) if call in _BY_DESCRIPTOR else ""
    return f"it waits ({word if word.isidentifier() else 'in the kernel'}{place and f', {place}'})"


def _place(thread_id: int, descriptor: int) -> str:
    with suppress(OSError):
        return link(f"/proc/{thread_id}/fd/{descriptor & 0xFFFFFFFF}")
    return ""


def _unanswered() -> list[str]:
    """The mount points of FUSE file systems that have requests without an answer."""
    found = []
    for mount in mounts():
        if mount.filesystem.partition(".")[0] in ("fuse", "fuseblk"):
            number = mount.device_number.partition(":")[2]
            waiting = _record(f"/sys/fs/fuse/connections/{number}/waiting").strip()
            if waiting not in (b"", b"0"):
                found.append(mount.path)
    return found


def _record(path: str) -> bytes:
    with suppress(OSError):
        return read_record(path)
    return b""
