"""The second look for users, once all known ones are stopped: what they had was seen while they
ran.

A stopped process changes nothing any more, so a child, begun before they stand, can look while the
caller brings them into their harbours; after that the caller looks at some of them, too. The child
answers only with what differs from the first look: to pass on ten thousands of handles takes longer
than to find them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from holdfast.applications.earlier_look import EarlierLook, looking_after
from holdfast.errors import StorageFailed
from holdfast.model.handle import Handle, User
from holdfast.system.children.expendable import begun_in_expendable_child

Find = Callable[[], Sequence[User]]

_MANY = 8
"""Number of processes below which all harbours are entered before a child has looked."""

_PARTS, _OURS = 3, 2
"""With many handles, the child looks at two of three processes. The caller, which has harbours to
enter first, looks at those whose pid leaves this remainder."""

_MANY_HANDLES = 3000
"""Fixed cost of a look (mounts, sockets, the list of processes), as a number of handles that take
as long."""

_LOOK_SECONDS = 60.0
"""A look gives up what hangs by itself, long before."""


class SecondLook:
    """One look. `begin`, then `users`, then `end`, which may come at any time."""

    def __init__(self, find: Find, earlier: EarlierLook, expected: int) -> None:
        """`earlier`: as they were found before. `expected`: how many will be brought into their
        harbours meanwhile; with many a child is begun, which waits: to fork takes some
        milliseconds. Raises OSError."""
        self._find = find
        self._earlier = earlier
        self._children = ExitStack()
        self._answer: Callable[..., list[_Difference]] | None = None
        self._is_begun = False
        count = sum(len(user.handles) for user in earlier.users.values())
        self._ours = {_OURS} if count >= _MANY_HANDLES else set[int]()
        if expected >= _MANY:
            self._begin_child()

    def _begin_child(self) -> None:
        waiting, self._starting = os.pipe2(os.O_CLOEXEC)
        self._children.callback(os.close, self._starting)
        try:
            look = partial(self._look_when_told, waiting)
            self._answer = self._children.enter_context(
                begun_in_expendable_child(look, math.inf, "/proc")
            )
        finally:
            os.close(waiting)

    def _look_when_told(self, waiting: int) -> list[_Difference]:
        """Runs in the child, which ends with us."""
        os.read(waiting, 1)
        return _differences(self._find, self._earlier, set(range(_PARTS)) - self._ours)

    def begin(self, standing: int) -> None:
        """All stand: let the child look. `standing`: how many of them are brought into the harbour
        meanwhile."""
        if self._answer is not None and standing >= _MANY:
            with suppress(OSError):  # somebody has killed it
                os.write(self._starting, b".")
            self._is_begun = True

    def users(self) -> list[User]:
        """The users, once; waits for the child. Raises what `find` raises."""
        if self._answer is None or not self._is_begun:
            return list(self._find())
        seen: list[User] = []
        if self._ours:
            with looking_after(self._earlier, self._ours, _PARTS):
                seen = list(self._find())
        try:
            seen += _users(self._answer(_LOOK_SECONDS), self._earlier)
        except StorageFailed:  # somebody has killed it
            return list(self._find())
        found = {user.pid: user for user in seen}
        return [found[pid] for pid in sorted(found)]

    def end(self) -> None:
        """Let the child end, whatever it does. Idempotent."""
        self._answer = None
        self._children.close()


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
