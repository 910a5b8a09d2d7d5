"""The two other dimensions of the fault matrix: how many legs, and what the application does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

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
) -> pytest.MarkDecorator:
    """Parametrise a test with `cell`: each number of legs with each activity."""
    table: list[Any] = [
        pytest.param(Cell(number, activity), id=str(Cell(number, activity)))
        for number in legs
        for activity in activities
    ]
    return pytest.mark.parametrize("cell", table)
