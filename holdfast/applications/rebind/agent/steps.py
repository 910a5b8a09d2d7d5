"""Work inside stopped processes in steps, so that several of them make calls at the same time.

To let a thread make a call, and to wait until it has, takes much longer than both sides compute.
Work in steps yields where a process was let go on, before it is waited for; others go on meanwhile.
Everything is still done by one thread of ours, as ptrace(2) wants it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work in steps, and its result."""

_AT_ONCE = 16
"""Processes: enough that each has made its call when its turn comes again."""


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

    They begin in order, and the next one only while there is room, or when no other is going on.
    When one fails no other is begun, those that were are finished, and its error is raised.
    """
    results: dict[int, T] = {}
    failed: list[BaseException] = []
    waiting = enumerate(works)
    going: deque[tuple[int, Steps[T]]] = deque()

    def advance(number: int, steps: Steps[T]) -> None:
        try:
            next(steps)
        except StopIteration as end:
            results[number] = end.value
        except BaseException as error:
            failed.append(error)
        else:
            going.append((number, steps))

    while True:
        if not failed and len(going) < _AT_ONCE and (has_room() or not going):
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
