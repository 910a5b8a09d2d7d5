"""The two other dimensions of the fault matrix: how many legs, and what the application does."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from tests.soak import every_other

READING, WRITING, FLUSHING, IDLE = "reading", "writing", "flushing", "idle"
ACTIVITIES = (READING, WRITING, FLUSHING, IDLE)

ONE, TWO = 1, 2


@dataclass(frozen=True)
class Cell:
    """One column of the matrix; the rows are the files test_fault_*.py.

    `idle`: nothing asks anything of the volume until the fault is over or, with two legs, until it
    was injected; then an application starts to write.
    """

    legs: int
    activity: str

    def __str__(self) -> str:
        return f"{'one leg' if self.legs == ONE else 'two legs'}, {self.activity}"


def cells(
    legs: Sequence[int] = (ONE, TWO), activities: Sequence[str] = ACTIVITIES
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Parametrise a test with `cell`: each number of legs with each activity.

    All of them in a soak run, otherwise half where there are two numbers: each activity with one of
    them, and with the other one in other rows, by the name of the test.
    """
    table = [
        pytest.param(cell := Cell(number, activity), id=str(cell))
        for turn, number in enumerate(legs)
        for activity in activities[turn % 2 :] + activities[: turn % 2]
    ]

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        row = zlib.crc32(test.__name__.encode()) % 2
        cases = table if len(legs) == 1 else every_other(table, row)
        return pytest.mark.parametrize("cell", cases)(test)

    return mark
