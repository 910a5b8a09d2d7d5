"""The FUSE leg injector does what tests rely on."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import FuseLeg
from tests.leftovers import process_state

BLOCK = 4096


@pytest.fixture
def leg(ram_directory: Path) -> Iterator[FuseLeg]:
    with FuseLeg(ram_directory / "leg.img", ram_directory / "served.img", 8 << 20) as leg:
        yield leg


def direct(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)


def page(character: bytes, blocks: int = 1) -> mmap.mmap:
    memory = mmap.mmap(-1, BLOCK * blocks)
    memory.write(character * BLOCK * blocks)
    return memory


def errno_of(action: Callable[[], object]) -> int:
    with pytest.raises(OSError) as caught:
        action()
    return caught.value.errno or 0


def close_dead(descriptor: int) -> None:
    """close(2) itself reports ENOTCONN on a dead connection; the descriptor is closed then."""
    assert errno_of(lambda: os.close(descriptor)) == errno.ENOTCONN


def test_it_serves_direct_io_sizes_locks_and_holes(leg: FuseLeg) -> None:
    descriptor = direct(leg.path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.pwrite(descriptor, page(b"a", 512), BLOCK) == 512 * BLOCK
        os.fdatasync(descriptor)
        into = page(b"\0")
        assert os.preadv(descriptor, [into], BLOCK) == BLOCK
        assert into[:] == b"a" * BLOCK
        assert os.fstat(descriptor).st_size == 8 << 20
        other = direct(leg.path)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
        os.truncate(leg.path, 16 << 20)
        assert leg.image.stat().st_size == 16 << 20
    finally:
        os.close(descriptor)


def test_selected_requests_fail_until_served_again(leg: FuseLeg) -> None:
    descriptor = direct(leg.path)
    try:
        leg.error(errno.EIO, on=("write",))
        assert errno_of(lambda: os.pwrite(descriptor, page(b"a"), 0)) == errno.EIO
        assert os.preadv(descriptor, [page(b"\0")], 0) == BLOCK
        leg.error(errno.EREMOTEIO, on=("flush",))
        os.pwrite(descriptor, page(b"b"), 0)
        assert errno_of(lambda: os.fdatasync(descriptor)) == errno.EREMOTEIO
        leg.error(on=("read",), byte_range=(BLOCK, 2 * BLOCK))
        assert os.preadv(descriptor, [page(b"\0")], 0) == BLOCK
        assert errno_of(lambda: os.preadv(descriptor, [page(b"\0")], BLOCK)) == errno.EIO
        leg.read_only()
        assert errno_of(lambda: os.pwrite(descriptor, page(b"a"), 0)) == errno.EROFS
        leg.serve()
        assert os.pwrite(descriptor, page(b"c"), 0) == BLOCK
    finally:
        os.close(descriptor)


def test_full_after_counts_bytes_and_short_halves_transfers(leg: FuseLeg) -> None:
    descriptor = direct(leg.path)
    try:
        leg.full_after(2 * BLOCK)
        assert os.pwrite(descriptor, page(b"a", 2), 0) == 2 * BLOCK
        assert errno_of(lambda: os.pwrite(descriptor, page(b"a"), 0)) == errno.ENOSPC
        leg.short()
        assert os.pwrite(descriptor, page(b"a", 4), 0) == 2 * BLOCK
        assert os.preadv(descriptor, [page(b"\0", 4)], 0) == 2 * BLOCK
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("by_signal", [True, False])
def test_a_hang_ends_when_the_server_continues(leg: FuseLeg, by_signal: bool) -> None:
    descriptor = direct(leg.path)
    if by_signal:
        leg.stop()
        assert process_state(leg.process_id) == "T"
    else:
        leg.hang()
    writer = threading.Thread(target=os.pwrite, args=(descriptor, page(b"z"), 0))
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()
    if by_signal:
        leg.resume()
    else:
        assert leg.waiting() == 1
        leg.serve()
    writer.join(5)
    assert not writer.is_alive()
    assert leg.image.read_bytes()[:BLOCK] == b"z" * BLOCK
    os.close(descriptor)


def test_a_killed_server_leaves_enotconn_and_comes_back(leg: FuseLeg) -> None:
    descriptor = direct(leg.path)
    leg.kill()
    into = page(b"\0")
    assert errno_of(lambda: os.preadv(descriptor, [into], 0)) == errno.ENOTCONN
    assert errno_of(lambda: direct(leg.path)) == errno.ENOTCONN
    leg.start()
    assert errno_of(lambda: os.preadv(descriptor, [into], 0)) == errno.ENOTCONN
    close_dead(descriptor)
    again = direct(leg.path)
    assert os.preadv(again, [into], 0) == BLOCK
    os.close(again)


def test_a_crash_loses_exactly_what_was_not_flushed(leg: FuseLeg) -> None:
    leg.volatile()
    descriptor = direct(leg.path)
    os.pwrite(descriptor, page(b"f"), 0)
    os.fdatasync(descriptor)
    os.pwrite(descriptor, page(b"u"), BLOCK)
    os.pwrite(descriptor, page(b"u"), 0)
    into = page(b"\0", 2)
    os.preadv(descriptor, [into], 0)
    assert into[:] == b"u" * 2 * BLOCK
    assert leg.unflushed_blocks() == 2
    leg.crash()
    close_dead(descriptor)
    leg.start()
    assert leg.path.read_bytes()[: 2 * BLOCK] == b"f" * BLOCK + bytes(BLOCK)
