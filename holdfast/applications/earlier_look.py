"""What a second look for users may take over from the first one, and which processes it looks at.

Invariant: a look finds what is there. A value of the earlier look is used again only when it equals
what was read just now; that saves making and settling it once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from holdfast.applications.fdinfo import Information
from holdfast.applications.places import DELETED
from holdfast.model.handle import Handle, User
from holdfast.system.proc import ProcessFacts

_Number = tuple[int, int | None, int]
"""Process, thread with a table of its own, descriptor."""


@dataclass(frozen=True)
class _Look:
    users: Mapping[int, User]
    known: Mapping[_Number, Handle]
    remainders: Collection[int]
    parts: int


_NO_LOOK = _Look({}, {}, (0,), 1)
_look = ContextVar("look", default=_NO_LOOK)


@contextmanager
def looking_after(known: Sequence[User], remainders: Collection[int], parts: int) -> Iterator[None]:
    """Inside the context, look only at processes whose pid, modulo `parts`, is one of these
    remainders. `known`: the users that were found before."""
    handles = {
        (each.pid, each.thread_id, each.number): each
        for user in known
        for each in user.handles
        if each.number is not None and not each.deleted
    }
    users = {user.pid: user for user in known}
    token = _look.set(_Look(users, handles, remainders, parts))
    try:
        yield
    finally:
        _look.reset(token)


def is_looked_at(pid: int) -> bool:
    """Whether this look is at that process."""
    look = _look.get()
    return pid % look.parts in look.remainders


def known_user(facts: ProcessFacts) -> User | None:
    """Who the earlier look found under this number, if it is that process still, and runs the same
    program with as many threads; with its handles of then."""
    user = _look.get().users.get(facts.pid)
    if user is None:
        return None
    now = (facts.start_time, facts.name, facts.threads)
    is_same = now == (user.start_time, user.name, len(user.threads))
    return replace(user, state=facts.state) if is_same else None


def known_handle(
    pid: int, thread_id: int | None, number: int, target: str, information: Information
) -> Handle | None:
    """The handle that the earlier look settled, if everything read of it is unchanged. Its inode
    could be another one of the same number and another type: whoever uses it checks that."""
    handle = _look.get().known.get((pid, thread_id, number))
    if handle is None or target.endswith(DELETED):
        return None
    now = (target, *information[:5])
    was = (handle.path, handle.offset, handle.flags, handle.mount_id, handle.inode, handle.locks)
    return handle if now == was and handle.inode else None
