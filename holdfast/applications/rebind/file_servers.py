"""Users of a volume that serve file systems to others: they are stopped when those stand.

A thread that waits for a FUSE server does not stop before it is answered. Reads /proc only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from holdfast.model.handle import User
from holdfast.system.proc import link, names

_CONNECTION = "/dev/fuse"


def serving(users: Sequence[User]) -> set[int]:
    """Those that have a connection to a FUSE file system open."""
    return {user.pid for user in users if _serves(user.pid)}


def clients_first(users: Sequence[User], servers: Collection[int]) -> list[list[User]]:
    """The same users in the turns in which they are stopped; no turn is empty."""
    turns = [
        [user for user in users if user.pid not in servers],
        [user for user in users if user.pid in servers],
    ]
    return [turn for turn in turns if turn]


def _serves(pid: int) -> bool:
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in names(folder):
            with suppress(FileNotFoundError):
                if link(f"{folder}/{name}") == _CONNECTION:
                    return True
    return False
