"""The tables of a process: most have one of descriptors and one pair of directories.

A thread may have its own (unshare(2) with CLONE_FILES or CLONE_FS); kcmp(2) tells. Must never
leave a thread out that differs: what it holds keeps the volume busy like anything else.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.system.mounts.namespace import mount_namespace
from holdfast.system.proc import ProcessFacts, link, names
from holdfast.system.processes.kcmp import Shared, is_shared


@dataclass(frozen=True)
class Table:
    """The folder of /proc in which to read the table of a process, or of a thread that differs."""

    pid: int
    thread_id: int | None
    """None: the process's own."""
    folder: str
    """/proc/PID or /proc/PID/task/TID."""
    namespace: int
    """Mount namespace."""
    descriptors: bool = True
    """Whether its descriptors are not another table's."""
    directories: bool = True


def thread_ids(pid: int) -> list[int]:
    """The threads of a process, the main one first; empty when it has ended."""
    with suppress(OSError):
        return sorted(
            (int(name) for name in names(f"/proc/{pid}/task")), key=lambda t: (t != pid, t)
        )
    return []


def tables(facts: ProcessFacts) -> list[Table]:
    """The tables of a process, none twice; empty when it has ended. Raises OSError likewise."""
    pid = facts.pid
    if facts.threads == 1 and facts.state != "Z":
        return [Table(pid, None, f"/proc/{pid}", mount_namespace(pid))]
    found: list[Table] = []
    for thread in thread_ids(pid):
        with suppress(OSError):
            folder = f"/proc/{pid}/task/{thread}"
            _check_directories(folder)
            table = Table(
                pid=pid,
                thread_id=None if thread == pid else thread,
                folder=folder,
                namespace=mount_namespace(thread),
                descriptors=_is_new(thread, Shared.DESCRIPTORS, found, lambda t: t.descriptors),
                directories=_is_new(thread, Shared.DIRECTORIES, found, lambda t: t.directories),
            )
            if table.descriptors or table.directories:
                found.append(table)
    return found


def _check_directories(folder: str) -> None:
    """Raise OSError for a main thread that has ended while others go on: it has no directories."""
    try:
        link(f"{folder}/cwd")
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise


def _is_new(thread: int, what: Shared, found: list[Table], has: Callable[[Table], bool]) -> bool:
    """Whether a thread's table is none of those that were found."""
    for table in found:
        if has(table):
            try:
                if is_shared(what, thread, table.thread_id or table.pid):
                    return False
            except OSError as error:
                if error.errno != errno.ESRCH:
                    return False  # not told (no kcmp, no right): threads share, nearly always
    return True
