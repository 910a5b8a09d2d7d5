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
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import AtWork
from holdfast.system.files.named_lock import holder_of, take_lock, write_holder
from holdfast.system.files.trusted import open_file, own_directory
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
    except OSError:  # there are none yet; or one was removed meanwhile, with its volume
        return frozenset()
    return frozenset(name for name, status in files.items() if _is_held(status, held))


def _is_held(status: os.stat_result, held: Collection[bytes]) -> bool:
    """`fe:00:131085` in fs/locks.c, lock_get_status(); stat(2) says another device on btrfs."""
    major, minor = os.major(status.st_dev), os.minor(status.st_dev)
    if b"%02x:%02x:%d" % (major, minor, status.st_ino) in held:
        return True
    end = b":%d" % status.st_ino
    return major == 0 and any(each.startswith(b"00:") and each.endswith(end) for each in held)


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
