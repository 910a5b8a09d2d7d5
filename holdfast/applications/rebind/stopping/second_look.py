"""The second look for users, once all known ones are stopped: what they had was seen while they
ran.

A stopped process changes nothing any more, so a child can look while the caller brings them into
their harbours; after that the caller looks at some of them, too. The child answers only with what
differs from the first look: to pass on ten thousands of handles takes longer than to find them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from holdfast.applications.earlier_look import EarlierLook, looking_after
from holdfast.errors import StorageFailed
from holdfast.model.handle import Handle, User
from holdfast.system.children.expendable import begun_in_expendable_child

Find = Callable[[], Sequence[User]]

_MANY = 8
"""Number of processes below which all harbours are entered before a child has begun to look."""

_PARTS, _OURS = 3, 2
"""With many handles, the child looks at two of three processes. The caller, which has harbours to
enter first, looks at those whose pid leaves this remainder."""

_MANY_HANDLES = 3000
"""Fixed cost of a look (mounts, sockets, the list of processes), as a number of handles that take
as long."""

_LOOK_SECONDS = 60.0
"""A look gives up what hangs by itself, long before."""


@contextmanager
def looking_again(
    find: Find, earlier: EarlierLook, standing: int
) -> Iterator[Callable[[], list[User]]]:
    """Look for the users again; calling what this gives looks, and waits for the child, once.

    `earlier`: as they were found before. `standing`: how many of them are brought into the harbour
    meanwhile. Whatever `find` raises is raised when the answer is asked for.
    """
    if standing < _MANY:
        yield lambda: list(find())
        return
    count = sum(len(user.handles) for user in earlier.users.values())
    ours = {_OURS} if count >= _MANY_HANDLES else set()
    look = partial(_differences, find, earlier, set(range(_PARTS)) - ours)
    with begun_in_expendable_child(look, _LOOK_SECONDS, "/proc") as answer:

        def users() -> list[User]:
            seen: list[User] = []
            if ours:
                with looking_after(earlier, ours, _PARTS):
                    seen = list(find())
            try:
                seen += _users(answer(), earlier)
            except StorageFailed:  # somebody has killed it
                return list(find())
            found = {user.pid: user for user in seen}
            return [found[pid] for pid in sorted(found)]

        yield users


_Difference = tuple[User, list[Handle | None]]
"""A user without its handles, and its handles; None: unchanged, the one at the same place
before."""


def _differences(
    find: Find, earlier: EarlierLook, remainders: Collection[int]
) -> list[_Difference]:
    """Runs in the child."""
    with looking_after(earlier, remainders, _PARTS):
        return [_difference(user, _before(user, earlier)) for user in find()]


def _before(user: User, earlier: EarlierLook) -> Sequence[Handle]:
    known = earlier.users.get(user.pid)
    return () if known is None else known.handles


def _difference(user: User, before: Sequence[Handle]) -> _Difference:
    found: list[Handle | None] = list(user.handles)
    if len(found) == len(before):
        pairs = zip(found, before, strict=True)
        found = [None if new is old or new == old else new for new, old in pairs]
    return replace(user, handles=()), found


def _users(differences: Sequence[_Difference], earlier: EarlierLook) -> list[User]:
    """The opposite of `_differences`."""
    return [
        replace(user, handles=tuple(_handles(found, _before(user, earlier))))
        for user, found in differences
    ]


def _handles(found: Sequence[Handle | None], before: Sequence[Handle]) -> Iterator[Handle]:
    for place, handle in enumerate(found):
        yield before[place] if handle is None else handle
