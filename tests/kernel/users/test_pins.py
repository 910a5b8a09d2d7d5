"""Instances that pin a volume without a descriptor on it are found."""

from __future__ import annotations

from pathlib import Path

from holdfast.model.handle import HandleKind
from tests.kernel.users.programs import handles_of, only, point

__all__ = ["point"]


def test_io_uring_registered_files(point: Path) -> None:
    source = """
u = libc.syscall(425, 8, ctypes.create_string_buffer(120))
f = os.open(point + '/f', os.O_CREAT | os.O_RDWR)
assert libc.syscall(427, u, 2, (ctypes.c_int * 1)(f), 1) == 0
os.close(f)
"""
    handle = only(handles_of(source, point))
    assert (handle.kind, handle.start) == (HandleKind.REGISTERED, 0)
    assert handle.path == f"slot 0 of io_uring ring {handle.number}: {point}/f"


def test_fanotify_marks(point: Path) -> None:
    source = """
f = libc.fanotify_init(0, 0)
assert libc.fanotify_mark(f, 1 | 0x10, ctypes.c_uint64(2), -100, os.fsencode(point)) == 0
"""
    handle = only(handles_of(source, point))
    assert (handle.kind, handle.mode, handle.path) == (HandleKind.FANOTIFY, "mount", str(point))


WAITING = """
os.mkfifo(point + '/p')
f = os.open(point + '/p', os.O_RDWR)
e = select.epoll()
e.register(f)
"""


def test_an_epoll_instance_that_waits_for_a_fifo(point: Path) -> None:
    """It is registered again with the FIFO that takes its place."""
    assert only(handles_of(WAITING, point)).kind is HandleKind.FIFO


def test_an_epoll_instance_that_waits_for_a_number_that_was_closed(point: Path) -> None:
    handles = handles_of(WAITING + "g = os.dup(f); os.close(f)", point)
    assert sorted(each.kind for each in handles) == [HandleKind.FIFO, HandleKind.OTHER]
    assert any(each.path.startswith("epoll instance that waits for desc") for each in handles)
