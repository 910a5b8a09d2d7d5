"""That one daemon watches, and who it is: a lock in the run directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import AtWork
from holdfast.system.files.named_lock import holder_of, take_lock, write_holder
from holdfast.system.files.trusted import open_file, own_directory

_LOCK = "daemon.lock"


@contextmanager
def only_one(run_directory: Path) -> Iterator[None]:
    """Be the only daemon of this run directory. Raises AtWork, naming the other one."""
    own_directory(run_directory)
    descriptor = open_file(run_directory / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        if not take_lock(descriptor):
            pid = holder_of(descriptor) or "unknown"
            raise AtWork(f"a daemon watches already: process {pid}", "Let it.")
        write_holder(descriptor)
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
        return 0 if take_lock(descriptor) else holder_of(descriptor)
    finally:
        os.close(descriptor)
