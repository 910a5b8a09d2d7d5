"""That one daemon watches, one API serves, and who it is: locks in the run directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import AtWork
from holdfast.system.files.named_lock import holder_of, take_lock, write_holder
from holdfast.system.files.trusted import open_file, own_directory

_DAEMON = "daemon"


@contextmanager
def only_one(run_directory: Path, what: str = _DAEMON) -> Iterator[None]:
    """Be the only one of this run directory. Raises AtWork, naming the other one.

    `what`: daemon, api.
    """
    own_directory(run_directory)
    descriptor = open_file(run_directory / f"{what}.lock", os.O_RDWR | os.O_CREAT)
    try:
        if not take_lock(descriptor):
            pid = holder_of(descriptor) or "unknown"
            raise AtWork(f"there is one already ({what}): process {pid}", "Let it.")
        write_holder(descriptor)
        yield
    finally:
        os.close(descriptor)


def watcher(run_directory: Path) -> int:
    """The process that watches, 0 when none does. Raises OSError, Untrusted."""
    try:
        descriptor = open_file(run_directory / f"{_DAEMON}.lock", os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        return 0 if take_lock(descriptor) else holder_of(descriptor)
    finally:
        os.close(descriptor)
