"""Frees a child of ours that a stranger's FUSE server keeps waiting.

Who has a mount namespace by way of a user namespace of his own can let any path in there lead into
a FUSE file system (an overlay above it is enough), at any instant, and whoever walks there waits in
the kernel for its server, where no signal reaches him. Root can end the connection of that server:
then the walk ends with an error, which costs the stranger what is his. Invariants: it is done only
when a child of ours has waited in FUSE, in one and the same wait, for long; only to connections of
users whom that user namespace has, never of root's (gates are among those), and only to those that
have had a request without an answer all that time.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.system.fuse.connections import end_connection, unanswered
from holdfast.system.mounts.visitor import has_foreign_owner, user_namespace_of
from holdfast.system.proc_text import lines, number_of
from holdfast.system.processes.process import close_all_except, fork_bound

_LONG_SECONDS = 2.0
"""In one and the same wait: a server that is merely busy answers sooner."""

_NEXT_SECONDS = 0.1
"""For each further connection, as one user may have many."""

_BEAT_MILLISECONDS = 20

_WAITS = b"request_wait_answer"
"""The function of the kernel in which requests wait (fs/fuse/dev.c)."""


def free_if_kept_waiting(ways: Mapping[int, int]) -> None:
    """Only in an expendable child, before it enters one of these mount namespaces: another process
    looks after it until it ends. Does nothing where all belong to this process's user namespace.
    """
    spaces = set()
    for way in ways.values():
        with suppress(OSError):
            if has_foreign_owner(way):
                spaces.add(user_namespace_of(way))
    if not spaces:
        return
    visitor = os.getpid()
    with suppress(OSError):  # no room for a process: it goes without
        if fork_bound() == 0:
            try:
                close_all_except(set())
                _look_after(visitor, spaces)
            finally:
                os._exit(0)


def _look_after(visitor: int, spaces: Collection[int]) -> None:
    """Life of that process: until the visitor ends, with which it is killed."""
    ended = select.poll()
    ended.register(os.pidfd_open(visitor), select.POLLIN)
    seen, since, limit_seconds = -1, 0.0, _LONG_SECONDS
    silent: dict[int, int] | None = None
    while not ended.poll(_BEAT_MILLISECONDS):
        waits = _waits(visitor)
        if waits != seen:
            seen, since, silent = waits, time.monotonic(), None
            continue
        if not _is_in_fuse(visitor):
            continue
        found = unanswered()
        silent = {each: found[each] for each in (found if silent is None else silent)
                  if each in found}  # fmt: skip
        if time.monotonic() - since < limit_seconds:
            continue
        users = [each for space in spaces for each in _users_of(space)]
        for number, user in silent.items():
            if user and any(user in each for each in users):
                end_connection(number)
                limit_seconds = _NEXT_SECONDS
                if ended.poll(_BEAT_MILLISECONDS) or _waits(visitor) != seen:
                    break


def _waits(process: int) -> int:
    """How often it has waited so far (proc_pid_status(5))."""
    with suppress(OSError):
        text = Path(f"/proc/{process}/status").read_bytes()
        return number_of(text, b"voluntary_ctxt_switches") or 0
    return -1


def _is_in_fuse(process: int) -> bool:
    """Whether it waits for the answer of a FUSE server now (proc_pid_stack(5): root reads it)."""
    for name in ("wchan", "stack"):
        with suppress(OSError):
            if _WAITS in Path(f"/proc/{process}/{name}").read_bytes():
                return True
    return False


def _users_of(space: int) -> list[range]:
    """The users of the host that a user namespace has (user_namespaces(7)): by a process in it."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if entry.name.isdigit() and (entry / "ns/user").stat().st_ino == space:
                return [
                    range(int(first), int(first) + int(count))
                    for _, first, count in map(bytes.split, lines((entry / "uid_map").read_bytes()))
                ]
    return []
