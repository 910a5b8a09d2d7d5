"""Tables of system calls, and the code that goes through them."""

from __future__ import annotations

import struct

from holdfast.applications.rebind.agent.batch import (
    MOST_CALLS,
    batch_code,
    closing,
    is_done,
    results_of,
    table_bytes,
    table_of,
)
from holdfast.applications.rebind.agent.harbour import ROOM_BYTES, SCRATCH_BYTES


def test_a_table_has_what_the_code_reads() -> None:
    table = table_of([(292, (3, 4, 0)), (9, (-1, 2, 3, 4, 5, 6))])
    assert len(table) == table_bytes(2)
    assert not is_done(table[:8])
    first = struct.unpack_from("<8Q", table, 64)
    second = struct.unpack_from("<8Q", table, 128)
    end = struct.unpack_from("<q", table, 192)
    assert first == (292, 3, 4, 0, 0, 0, 0, 0)
    assert second == (9, (1 << 64) - 1, 2, 3, 4, 5, 6, 0)
    assert end == (-1,)


def test_results_are_signed() -> None:
    table = bytearray(table_of([(1, ()), (2, ())]))
    struct.pack_into("<q", table, 64 + 56, 7)
    struct.pack_into("<q", table, 128 + 56, -9)
    assert results_of(bytes(table)) == [7, -9]


def test_there_is_room() -> None:
    assert table_bytes(MOST_CALLS) <= SCRATCH_BYTES * 3 // 4
    assert len(batch_code(1 << 46, 1 << 45)) <= ROOM_BYTES


def test_descriptors_in_a_row_are_closed_with_one_call() -> None:
    rows = [("close_range", (3, 5, 0)), ("close", (7,)), ("close_range", (9, 10, 0))]
    assert closing([10, 4, 3, 5, 9, 7]) == rows
    assert closing([]) == []
