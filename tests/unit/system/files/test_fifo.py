"""What is in a pipe, in another one: the same bytes, the same borders, and no less room."""

from __future__ import annotations

import fcntl
import os
import random
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.system.files.fifo import Fifo, contents

_PAGE = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def pipe(capacity: int) -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, capacity)
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def filled(tmp_path: Path, reading: int) -> Iterator[int]:
    """An end, for both directions, of a FIFO that has what is in this pipe."""
    os.mkfifo(tmp_path / "x")
    place = os.open(tmp_path / "x", os.O_PATH)
    fifo = Fifo(place)
    fifo.fill(reading, fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ))
    end = fifo.open(os.O_RDWR | os.O_NONBLOCK, hung_up=False)
    fifo.close()
    os.close(place)
    yield end
    os.close(end)


def bytes_until_full(end: int) -> int:
    count = 0
    while True:
        try:
            count += os.write(end, b"x")
        except BlockingIOError:
            return count


def packets(end: int) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(os.read(end, 1 << 21))
        except BlockingIOError:
            return found


def written(writing: int, sizes: list[int], flags: list[int]) -> None:
    for size, flag in zip(sizes, flags, strict=True):
        fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK | flag)
        try:
            os.write(writing, os.urandom(size))
        except BlockingIOError:
            break
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)


@pytest.mark.parametrize("pages", [1, 2, 16, 256])
@pytest.mark.parametrize("size", [1, 5000, 16 * _PAGE - 6, 16 * _PAGE])
def test_who_has_both_ends_finds_no_less_room(tmp_path: Path, pages: int, size: int) -> None:
    with pipe(pages * _PAGE) as (reading, writing):
        written(writing, [size], [0])
        before = contents(reading)
        with filled(tmp_path, reading) as end:
            assert contents(end) == contents(reading) == before
            assert bytes_until_full(end) == bytes_until_full(writing)


@pytest.mark.parametrize("seed", range(20))
def test_borders_of_packets_stay_where_they_are(tmp_path: Path, seed: int) -> None:
    numbers = random.Random(seed)
    sizes = numbers.choices([1, 5, _PAGE, _PAGE - 1, _PAGE + 900, 100], k=numbers.randrange(1, 40))
    flags = numbers.choices([0, os.O_DIRECT], k=len(sizes))
    with pipe(numbers.choice([1, 2, 16, 256]) * _PAGE) as (reading, writing):
        written(writing, sizes, flags)
        with filled(tmp_path, reading) as end:
            for each in (end, writing):
                fcntl.fcntl(each, fcntl.F_SETFL, os.O_NONBLOCK)
                assert bytes_until_full(each) >= 0
            mine, theirs = packets(end), packets(reading)
    assert [each.rstrip(b"x") for each in mine] == [each.rstrip(b"x") for each in theirs]


@pytest.mark.parametrize("size", range(5_000, 40_000, 2_500))
def test_buffers_larger_than_a_page(tmp_path: Path, size: int) -> None:
    """What came from a TCP socket by splice(2) has such: a full pipe of them has no room for one
    more buffer, which its last bytes would take if they were written."""
    with pipe(16 * _PAGE) as (reading, writing), connected() as (sends, receives):
        while not is_full(writing):
            left = size
            sends.sendall(bytes(left))
            while left and not is_full(writing):
                left -= os.splice(receives.fileno(), writing, left)
        assert len(contents(reading)) > 16 * _PAGE
        with filled(tmp_path, reading) as end:
            assert contents(end) == contents(reading)


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sends,
        server.accept()[0] as receives,
    ):
        yield sends, receives


def is_full(writing: int) -> bool:
    poller = select.poll()
    poller.register(writing, select.POLLOUT)
    return not poller.poll(0)
