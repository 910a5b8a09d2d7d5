"""Work inside stopped processes in steps, so that several of them make calls at the same time.

To let a thread make a call, and to wait until it has, takes much longer than both sides compute.
Work in steps yields where a process was let go on, before it is waited for; others go on meanwhile.
Everything is still done by one thread of ours, as ptrace(2) wants it.
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
"""Processes: enough that each has made its call when its turn comes again. Whoever spoils the code
of many processes lets so many of them compute at the same time, until the first is found."""

_SLOW_SECONDS = 0.02
"""A step takes a fraction of a millisecond, where nobody keeps us waiting."""


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

    They begin in order, and the next one only while there is room, or when no other is going on;
    where a step was slow, those that have begun are finished before. When one fails no other is
    begun, those that were are finished, and its error is raised.
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
