"""Which calls that failed with a dead mount are made again."""

from __future__ import annotations

import errno

import pytest

from holdfast.applications.rebind.stopping.failed_calls import (
    flush_that_failed,
    is_to_be_made_again,
)

READ, FSYNC, OPENAT, SENDTO = 0, 74, 257, 44
HANDLES = {5}


@pytest.mark.parametrize(
    ("call", "error", "descriptor", "again"),
    [
        (READ, errno.EIO, 5, True),
        (READ, errno.EIO, 6, False),
        (OPENAT, errno.ENOTCONN, 0, True),
        (OPENAT, errno.EIO, 0, False),
        (SENDTO, errno.ENOTCONN, 5, False),
        (FSYNC, errno.EIO, 5, False),
    ],
)
def test_made_again(call: int, error: int, descriptor: int, again: bool) -> None:
    assert is_to_be_made_again(call, error, descriptor, HANDLES) is again


def test_a_flush_tells_of_lost_writes_unless_none_is_lost() -> None:
    assert flush_that_failed(FSYNC, 5, HANDLES) == "fsync"
    assert flush_that_failed(FSYNC, 6, HANDLES) == ""
    assert flush_that_failed(READ, 5, HANDLES) == ""
    assert is_to_be_made_again(FSYNC, errno.ENOTCONN, 5, HANDLES, written_through=True)
