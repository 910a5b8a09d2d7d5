"""Work on values in memory, half of it done by a forked child: nothing waits for storage here.

Invariant: the answers are those that the caller alone would have got; where the child fails, for
whatever reason, the caller does its half as well. Must never do work that changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from holdfast.errors import HoldfastError
from holdfast.system.children.expendable import begun_in_expendable_child

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHILD_SECONDS = 5.0
"""How much longer than the caller's half the child may take: beyond that, somebody has stopped
it."""


def in_halves(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The (picklable) answer for each item, in order; what `function` raises is raised here.

    For work of some milliseconds at least: to begin a child takes one or two.
    """
    middle = (len(items) + 1) // 2
    mine, its = items[:middle], items[middle:]
    work = partial(_all_of, function, its)
    with begun_in_expendable_child(work, _CHILD_SECONDS, "half of the work") as answers:
        done = _all_of(function, mine)
        try:
            return done + answers()
        except (HoldfastError, OSError):
            return done + work()


def _all_of(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(each) for each in items]
