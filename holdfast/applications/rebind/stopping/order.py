"""In which order the users of a volume are stopped, so that no process keeps another from stopping;
and which of them may be worked in at the same time.

Parents before their children: a child that borrows its parent's memory (vfork(2), posix_spawn(3))
until it calls execve(2) lets the parent wait where nothing can stop it. Clients before servers: a
thread that waits for a FUSE server does not stop before it is answered. Reads /proc only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from holdfast.applications.rebind.noting import same_memory
from holdfast.model.handle import User
from holdfast.system.proc import link, names
from holdfast.system.processes.kcmp import Shared, is_shared
from holdfast.system.processes.process_state import read_state, threads_of

_UNINTERRUPTIBLE = "D"
"""How wait_for_vfork_done() of kernel/fork.c shows in proc_pid_stat(5)."""


def parents_first(users: Sequence[User]) -> list[User]:
    """The same users, each behind those it descends from."""
    states = {user.pid: read_state(user.pid) for user in users}

    def depth(pid: int) -> int:
        levels, state = 0, states.get(pid)
        while state is not None and levels <= len(users):
            levels, state = levels + 1, states.get(state.parent)
        return levels

    return sorted(users, key=lambda user: depth(user.pid))


def is_being_born(pid: int, others: Collection[int]) -> bool:
    """Whether one of the others waits for this process to run a program of its own, or to end.

    Ask when that one was told to stop: then it cannot begin to wait afterwards.
    """
    state = read_state(pid)
    if state is None or state.parent not in others:
        return False
    with suppress(OSError):
        if not is_shared(Shared.MEMORY, pid, state.parent):
            return False
        states = [read_state(state.parent, thread_id) for thread_id in threads_of(state.parent)]
        return any(each is not None and each.state == _UNINTERRUPTIBLE for each in states)
    return False


_CONNECTION = "/dev/fuse"


def serving(users: Sequence[User]) -> set[int]:
    """Numbers of the users that have a connection to a FUSE file system open."""
    return {user.pid for user in users if _serves(user.pid)}


def clients_first(users: Sequence[User], servers: Collection[int]) -> list[list[User]]:
    """The same users in the turns in which they are stopped; no turn is empty."""
    turns = [
        [user for user in users if user.pid not in servers],
        [user for user in users if user.pid in servers],
    ]
    return [turn for turn in turns if turn]


def by_memory(pids: Sequence[int]) -> list[list[int]]:
    """The same processes in groups: those that share memory are in one group, and keep their order.

    They share one code slot, so one after the other enters its harbour and leaves it. If a process
    has ended, which shares memory cannot be told any more, and all are in one group.
    """
    place = {pid: number for number, pid in enumerate(pids)}
    with suppress(OSError):
        groups = [sorted(group, key=place.__getitem__) for group in same_memory(pids)]
        return sorted(groups, key=lambda group: place[group[0]])
    return [list(pids)]


def _serves(pid: int) -> bool:
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in names(folder):
            with suppress(OSError):  # closed, or of a path that is too long to be told
                if link(f"{folder}/{name}") == _CONNECTION:
                    return True
    return False
