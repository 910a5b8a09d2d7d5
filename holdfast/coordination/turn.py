"""One changing command at a time on each volume.

Owns the lock files in the run directory. Invariant: whoever is inside `turn` is the only process
there for that volume; the kernel gives the lock back when that process dies. Must never be held
while waiting for a resynchronisation, and never be asked for by `release`, which must get through
while another command waits for the held volume.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import AtWork
from holdfast.system.files.named_lock import holder_of, take_lock, write_holder
from holdfast.system.files.trusted import mount_behind, open_file, own_directory
from holdfast.system.proc import read

WAIT_SECONDS = 15.0
"""Longer than any command takes on storage that answers; creating a large volume may exceed it."""

_LOCKS = "/proc/locks"

_RETRY_SECONDS = (0.01, 0.1)
"""Bounds of the random pause between attempts: waiting commands do not move in step."""


def at_work(run_directory: Path) -> frozenset[str]:
    """The volumes on which a command is at work now. Takes no turn, and keeps nobody waiting."""
    directory = run_directory / "locks"
    try:
        held = {line.split()[-3] for line in read(_LOCKS).split(b"\n") if b" FLOCK " in line}
        if not held:
            return frozenset()
        files = {each.name.removesuffix(".lock"): each.stat() for each in directory.glob("*.lock")}
        device = _device_of(directory)
    except OSError:  # there are none yet; or one was removed meanwhile, with its volume
        return frozenset()
    return frozenset(
        name for name, status in files.items() if b"%s:%d" % (device, status.st_ino) in held
    )


def _device_of(directory: Path) -> bytes:
    """As in `fe:00:131085` (fs/locks.c, lock_get_status()): that of the file system, of which
    stat(2) says another one on btrfs. Never by the inode alone: anybody may have a lock on a file
    of his own with that number. Raises OSError."""
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount = mount_behind(place)
        number = os.fstat(place).st_dev
    finally:
        os.close(place)
    major, minor = os.major(number), os.minor(number)
    if mount is not None:
        major, minor = map(int, mount.device_number.split(":"))
    return b"%02x:%02x" % (major, minor)


@contextmanager
def turn(run_directory: Path, volume: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Be the only changing command on this volume; waits for another one up to a limit.

    Raises AtWork, naming the process that is at work, when it does not end in time.
    """
    directory = run_directory / "locks"
    for place in (run_directory, directory):
        own_directory(place)
    descriptor = open_file(directory / f"{volume}.lock", os.O_RDWR | os.O_CREAT)
    try:
        deadline = time.monotonic() + wait_seconds
        while not take_lock(descriptor):
            if time.monotonic() >= deadline:
                pid = holder_of(descriptor) or "unknown"
                raise AtWork(
                    f"another command (process {pid}) is at work on {volume}",
                    "Wait until it has ended, then try again.",
                )
            time.sleep(random.uniform(*_RETRY_SECONDS))
        write_holder(descriptor)
        yield
    finally:
        os.close(descriptor)
