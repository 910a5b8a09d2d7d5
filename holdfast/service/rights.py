"""Who may ask: everything that changes or looks into other users' things belongs to root."""

from __future__ import annotations

import os

from holdfast.errors import MissingRights


def need_root() -> None:
    """Raise MissingRights unless the caller is root."""
    if os.geteuid() != 0:
        raise MissingRights(
            "mounts, loop devices, gates and other users' processes belong to root",
            "Run the command with sudo.",
        )
