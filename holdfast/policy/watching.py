"""That one daemon watches, and who it is: a lock in the run directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import AtWork
from holdfast.system.files.trusted import open_file, own_directory

_LOCK = "daemon.lock"


@contextmanager
def only_one(run_directory: Path) -> Iterator[None]:
    """Be the only daemon of this run directory. Raises AtWork, naming the other one."""
    own_directory(run_directory)
    descriptor = open_file(run_directory / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        if not _take(descriptor):
            pid = _named(descriptor)
            raise AtWork(f"a daemon watches already: process {pid or 'unknown'}", "Let it.")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def watcher(run_directory: Path) -> int:
    """The process that watches, 0 when none does. Raises OSError, Untrusted."""
    try:
        descriptor = open_file(run_directory / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        return 0 if _take(descriptor) else _named(descriptor)
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _named(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0)
    return int(text) if text.isdigit() else 0
