"""How long each leg takes for what it is asked, as compiled code counts it: histograms.

Counted are writes and flushes of every leg, and reads of the one that is read; of short writes and
reads one of eight. What Python carries out is not counted: it is out of the ordinary. Each worker
begins anew, so who compares two looks compares them only where every count has grown.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

from holdfast.model.leg_times import STEPS

KINDS = ("short-write", "long-write", "flush", "read")
"""As in c/pace.h (`enum work`) and c/times.h; a write is long from 64 KiB on."""

ROWS = 16
"""Legs at a time, as many as compiled code takes. One more is not counted."""

NO_ROW = 255


class LegTimes:
    """Of one worker; several threads use it, and compiled code writes the cells."""

    def __init__(self) -> None:
        self.cells = memoryview(bytearray(8 * ROWS * len(KINDS) * STEPS)).cast("Q")
        self._rows: dict[int, int] = {}
        self._lock = threading.Lock()

    def row(self, number: int, present: Collection[int]) -> int:
        """The row of that leg; NO_ROW: all belong to legs that are `present`, too.

        A row that a leg had which left is emptied; one of its requests that is still under way may
        be counted for its successor.
        """
        with self._lock:
            for gone in self._rows.keys() - {number, *present}:
                del self._rows[gone]
            if number not in self._rows:
                free = set(range(ROWS)) - set(self._rows.values())
                if not free:
                    return NO_ROW
                row = self._rows[number] = min(free)
                begin = row * len(KINDS) * STEPS
                for cell in range(begin, begin + len(KINDS) * STEPS):
                    self.cells[cell] = 0
            return self._rows[number]

    def of(self, number: int) -> dict[str, tuple[int, ...]]:
        """How many requests of each kind took how long; empty: nothing was counted.

        Count `n` is of those that took less than 2^n times 1.024 microseconds, and no less than
        half of that; the last one is of all that took longer.
        """
        with self._lock:
            row = self._rows.get(number)
        if row is None:
            return {}
        begin = row * len(KINDS) * STEPS
        return {
            kind: tuple(self.cells[begin + at * STEPS : begin + (at + 1) * STEPS])
            for at, kind in enumerate(KINDS)
        }
