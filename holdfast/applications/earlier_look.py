"""What a second look for users may take over from the first one, and which processes it looks at.

Invariant: a look finds what is there. A value of the earlier look is used again only when it equals
what was read just now; that saves making and settling it once more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from holdfast.applications.fdinfo import common_lines, parse_information
from holdfast.applications.places import DELETED
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import Handle, User
from holdfast.system.proc import ProcessFacts

_Number = tuple[int, int | None, int]
"""Process, thread with a table of its own, descriptor."""


class EarlierLook:
    """What a look found, made ready to be compared, as long as nobody stands still for that."""

    def __init__(self, users: Sequence[User]) -> None:
        self.users = {user.pid: user for user in users}
        self.handles: dict[_Number, tuple[Handle, bytes]] = {
            (each.pid, each.thread_id, each.number): (each, common_lines(each))
            for user in users
            for each in user.handles
            if each.number is not None and each.inode and not each.deleted
        }
        """Those that were settled, and how their fdinfo begins while they are unchanged."""


@dataclass(frozen=True)
class _Look:
    earlier: EarlierLook
    remainders: Collection[int]
    parts: int


_NO_LOOK = _Look(EarlierLook(()), (0,), 1)
_look = ContextVar("look", default=_NO_LOOK)


@contextmanager
def looking_after(earlier: EarlierLook, remainders: Collection[int], parts: int) -> Iterator[None]:
    """Inside the context, look only at processes whose pid, modulo `parts`, is one of these
    remainders."""
    token = _look.set(_Look(earlier, remainders, parts))
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
    user = _look.get().earlier.users.get(facts.pid)
    if user is None:
        return None
    now = (facts.start_time, facts.name, facts.threads)
    is_same = now == (user.start_time, user.name, len(user.threads))
    return replace(user, state=facts.state) if is_same else None


def known_handle(
    pid: int, thread_id: int | None, number: int, target: str, text: bytes
) -> Handle | None:
    """The handle that the earlier look settled, if everything read of it is unchanged: the link,
    and the text of its fdinfo. Its inode could be another one of the same number and another type:
    whoever uses it checks that."""
    handle, lines = _look.get().earlier.handles.get((pid, thread_id, number), _NOTHING)
    if handle is None or target != handle.path or not text.startswith(lines):
        return None
    locks = parse_information(text).locks if len(text) > len(lines) else ()
    return handle if locks == handle.locks and not target.endswith(DELETED) else None


_NOTHING = None, b""
