"""Buffers and forks: a child gets none of their pages, and loses none of its own memory by them."""

from __future__ import annotations

import mmap
from resource import RUSAGE_THREAD, getrusage

from holdfast.system.resources.memory import aligned_buffer
from tests.forked import in_fork

SIZE_BYTES = 1 << 20
MANY = 64
"""Every gap between maps is filled, those first that buffers would have left."""


def test_a_child_that_drops_them_keeps_what_it_mapped_itself() -> None:
    buffers = [aligned_buffer(SIZE_BYTES) for _ in range(8)]

    def work() -> None:
        own = [mmap.mmap(-1, SIZE_BYTES) for _ in range(MANY)]
        buffers.clear()
        for memory in own:
            memory[:] = bytes(SIZE_BYTES)

    ended = in_fork(work)
    assert ended.code == 0, str(ended)


def test_a_child_sees_zeros_and_changes_nothing() -> None:
    buffer = aligned_buffer(SIZE_BYTES)
    buffer[:6] = b"parent"

    def look() -> None:
        assert not any(buffer[:])
        buffer[:5] = b"child"

    ended = in_fork(look)
    assert ended.code == 0, str(ended)
    assert buffer[:6] == b"parent"


def test_a_fork_protects_none_of_their_pages() -> None:
    buffer = aligned_buffer(SIZE_BYTES)
    content = b"x" * SIZE_BYTES
    assert in_fork(lambda: None).code == 0
    before = getrusage(RUSAGE_THREAD).ru_minflt
    buffer[:] = content
    assert getrusage(RUSAGE_THREAD).ru_minflt - before < SIZE_BYTES // mmap.PAGESIZE // 2
