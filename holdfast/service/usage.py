"""Who uses a volume, from its catalog entry. Changes nothing, and never touches storage."""

from __future__ import annotations

import time
from collections.abc import Sequence

from holdfast.applications.kernel_users import held_by_kernel
from holdfast.applications.processes import transferred
from holdfast.applications.users import find_users
from holdfast.model.handle import User
from holdfast.model.usage import Transfer, Usage
from holdfast.model.volume import Volume
from holdfast.mountpoints.capture import mounts_of


def usage_of(volume: Volume, watch_seconds: float = 0.0) -> Usage:
    """The users of an attached volume; with `watch_seconds` also their I/O during that time.

    Blocks so long, and a few seconds more where storage hangs. Raises NotAttached.
    """
    mounts = mounts_of(volume)
    users = find_users(mounts)
    return Usage(
        volume=volume.name,
        mount=volume.mount.path,
        users=tuple(users),
        kernel=tuple(held_by_kernel(mounts)),
        transfers=_watched(users, watch_seconds) if watch_seconds else (),
        watched_seconds=watch_seconds,
    )


def _watched(users: Sequence[User], seconds: float) -> tuple[Transfer, ...]:
    """The difference of two looks at each process; those that ended meanwhile are left out."""
    before = {user.pid: transferred(user.pid) for user in users}
    begun = time.monotonic()
    time.sleep(seconds)
    transfers = []
    for pid, (read_before, written_before) in before.items():
        read_now, written_now = transferred(pid)
        passed_seconds = time.monotonic() - begun
        if None not in (read_before, written_before, read_now, written_now):
            transfers.append(
                Transfer(
                    pid,
                    ((read_now or 0) - (read_before or 0)) / passed_seconds,
                    ((written_now or 0) - (written_before or 0)) / passed_seconds,
                )
            )
    return tuple(transfers)
