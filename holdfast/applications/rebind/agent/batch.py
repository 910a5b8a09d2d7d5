"""Many system calls with one stop: a loop in the harbour's room goes through a table of them.

The table lies in the scratch memory: a head whose first word becomes 1 at the end, then one entry
for each call: its number, six arguments, its result; a number of -1 ends it. Then the thread goes
to the wait loop of the harbour, like after any call. x86-64 only. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from holdfast.applications.rebind.agent.x86_64 import BATCH

MOST_CALLS = 500
"""What 48 KiB of scratch memory hold, with room to spare."""

Call = tuple[str, tuple[int, ...]]
"""The name of a system call, and its arguments."""

_WORD = (1 << 64) - 1
_HEAD = struct.Struct("<8Q")
_ENTRY = struct.Struct("<7Qq")
_REST = [(0,) * (6 - count) for count in range(7)]
"""The arguments that a call does not have, by how many it has."""


def table_bytes(count: int) -> int:
    """Size of a table of so many calls."""
    return _HEAD.size + _ENTRY.size * (count + 1)


def table_of(calls: Sequence[tuple[int, tuple[int, ...]]]) -> bytes:
    """The table of these calls, by number and arguments."""
    parts = [_HEAD.pack(*(0,) * 8)]
    for number, arguments in calls:
        values = [value & _WORD for value in arguments]
        parts.append(_ENTRY.pack(number, *values, *_REST[len(values)], 0))
    parts.append(_ENTRY.pack(_WORD, *(0,) * 7))
    return b"".join(parts)


def results_of(table: bytes) -> list[int]:
    """The results in a table whose calls were made."""
    entries = list(_ENTRY.iter_unpack(table[_HEAD.size :]))
    return [entry[7] for entry in entries[:-1]]


def closing(numbers: Iterable[int]) -> list[Call]:
    """The calls that close descriptors inside a process; those in a row with one."""
    return [
        ("close", (first,)) if first == last else ("close_range", (first, last, 0))
        for first, last in _rows(sorted(numbers))
    ]


def _rows(numbers: Sequence[int]) -> list[tuple[int, int]]:
    rows: list[tuple[int, int]] = []
    for number in numbers:
        if rows and rows[-1][1] == number - 1:
            rows[-1] = (rows[-1][0], number)
        else:
            rows.append((number, number))
    return rows


def is_done(head: bytes) -> bool:
    """Whether all calls of the table have been made, by its first word."""
    return head != bytes(8)


def batch_code(table: int, wait: int) -> bytes:
    """Code that goes through the table at this address and then to the wait loop."""
    return BATCH.with_values({"first_entry": table + _HEAD.size, "table": table, "wait": wait})
