"""Descriptors of every kind are found, with path, mode, offset, flags and locks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.handle import FileLock, HandleKind, LockKind
from tests.kernel.users.programs import handles_of, only, point, users_at

__all__ = ["point"]


def test_a_file_with_offset_mode_and_flags(point: Path) -> None:
    handle = only(
        handles_of(
            "os.mkdir(point + '/d')\n"
            "f = os.open(point + '/d/f', os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)\n"
            "os.write(f, b'12345')",
            point,
        )
    )
    assert handle.kind is HandleKind.FILE
    assert (handle.path, handle.inside) == (f"{point}/d/f", "d/f")
    assert (handle.mode, handle.offset) == ("rw", 5)
    assert handle.flags & os.O_APPEND
    assert handle.flags & os.O_CLOEXEC
    assert handle.inode == (point / "d/f").stat().st_ino
    assert not handle.deleted
    assert handle.thread_id is None


KINDS = {
    "os.open(point, os.O_RDONLY)": (HandleKind.DIRECTORY, "r"),
    "os.open(point, os.O_RDONLY | os.O_DIRECTORY)": (HandleKind.DIRECTORY, "r"),
    "os.open(point, os.O_PATH)": (HandleKind.PATH, ""),
    "os.mkfifo(point + '/x'); os.open(point + '/x', os.O_RDWR)": (HandleKind.FIFO, "rw"),
    "os.mknod(point + '/x', 0o20600, os.makedev(1, 3)); os.open(point + '/x', os.O_WRONLY)": (
        HandleKind.DEVICE,
        "w",
    ),
    "os.open(point + '/x', os.O_CREAT | os.O_WRONLY)": (HandleKind.FILE, "w"),
}


@pytest.mark.parametrize("source", KINDS)
def test_kind_and_mode(source: str, point: Path) -> None:
    handle = only(handles_of(source, point))
    assert (handle.kind, handle.mode) == KINDS[source]
    assert handle.number is not None


LOCKS = {
    "fcntl.flock(f, fcntl.LOCK_EX)": FileLock(LockKind.FLOCK, "write"),
    "fcntl.lockf(f, fcntl.LOCK_SH, 10, 5)": FileLock(LockKind.POSIX, "read", 5, 14),
    "fcntl.fcntl(f, 37, __import__('struct').pack('hhqqixxxx', 1, 0, 7, 0, 0))": FileLock(
        LockKind.OPEN_FILE, "write", 7
    ),
    "fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)": FileLock(LockKind.LEASE, "write"),
}


@pytest.mark.parametrize("source", LOCKS)
def test_locks(source: str, point: Path) -> None:
    opened = "f = os.open(point + '/f', os.O_CREAT | os.O_RDWR)\n"
    handle = only(handles_of(opened + source, point))
    holder = 0 if LOCKS[source].kind is LockKind.OPEN_FILE else handle.pid
    assert handle.locks == (replace(LOCKS[source], holder_pid=holder),)


def test_nobody_is_found_on_an_idle_mount(point: Path) -> None:
    assert users_at(point) == {}


def test_a_descriptor_of_another_mount_is_not_listed(point: Path) -> None:
    source = "f = open(point + '/f', 'w'); g = open('/dev/null'); h = os.open('/', os.O_RDONLY)"
    assert only(handles_of(source, point)).inside == "f"
