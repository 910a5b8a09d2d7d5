"""Work inside stopped processes in steps, so that several of them make calls at the same time.

A call takes time because a thread has to be let go on and waited for; computing is little of it.
Work in steps yields after it has let a process go on and before it waits for it, and other work
goes on meanwhile. Everything is still done by one thread of ours, as ptrace(2) requires.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work in steps, and its result."""

_AT_ONCE = 4
"""How many processes make calls at the same time. Enough that each has made its call when its turn
comes again. Not more: a user who changes the code of many of his processes has this many of them
running until the first is noticed."""

_SLOW_SECONDS = 0.02
"""A step that takes longer was slowed down by somebody: usual is a fraction of a millisecond."""


def to_end(steps: Steps[T]) -> T:
    """Go through all steps at once; the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def through(work: T | Steps[T]) -> Steps[T]:
    """The result of something that may have been done in steps."""
    if isinstance(work, Generator):
        return (yield from work)
    return work


def side_by_side(works: Iterable[Steps[T]], has_room: Callable[[], bool] = lambda: True) -> list[T]:
    """Go through all of them, several at the same time; the results, in order.

    They begin in order. While others are under way, a further one begins only if `has_room` says
    so, and none after a slow step. When one fails, no other is begun, those under way are finished,
    and its error is raised.
    """
    results: dict[int, T] = {}
    failed: list[BaseException] = []
    waiting = enumerate(works)
    going: deque[tuple[int, Steps[T]]] = deque()
    is_slow = False

    def advance(number: int, steps: Steps[T]) -> None:
        nonlocal is_slow
        begun = time.monotonic()
        try:
            next(steps)
        except StopIteration as end:
            results[number] = end.value
        except BaseException as error:
            failed.append(error)
        else:
            going.append((number, steps))
        is_slow = bool(going) and (is_slow or time.monotonic() - begun > _SLOW_SECONDS)

    while True:
        may_begin = not going or (len(going) < _AT_ONCE and not is_slow and has_room())
        if may_begin and not failed:
            following = next(waiting, None)
            if following is not None:
                advance(*following)
                continue
        if not going:
            break
        advance(*going.popleft())
    if failed:
        raise failed[0]
    return [results[number] for number in sorted(results)]
