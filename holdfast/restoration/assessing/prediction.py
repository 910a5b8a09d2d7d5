"""How long applications will wait: from what was counted and what was just measured.

Pure. Looking for users and judging their handles is what a pause consists of for the most part, and
assessing has just done it, so the time that took says how fast this host is now. The factors come
from receipts; `docs/restoration.md` says how. A prediction is for people and for the pause budget,
never a reason to cut anything short.
"""

from __future__ import annotations

LOOKS = 3.5
"""A pause without any copying or gate takes as long as so many looks at the users."""
PROCESS_SECONDS = 0.004
"""Seizing and releasing one process."""
HANDLE_SECONDS = 0.0002
"""Parking and moving one descriptor, directory or map."""
MOUNT_POINT_SECONDS = 0.01
GATE_SECONDS = 1.5
"""Stopping the old gate and starting the new one, which is a new Python."""
ENTRY_SECONDS = 0.00002
"""Comparing one name of the copy with its source, after the dismount."""

CARRIED_BYTES_PER_SECOND = 200 << 20
"""Contents without a name, which are read, written to our state, read again and written."""


def pause_seconds(
    processes: int,
    handles: int,
    mount_points: int,
    look_seconds: float,
    *,
    gate: bool = False,
    final_pass_seconds: float = 0.0,
    entries: int = 0,
    carried_bytes: int = 0,
) -> float:
    """Predicted time from the first process that stops to the last that goes on, in seconds."""
    return (
        LOOKS * look_seconds
        + processes * PROCESS_SECONDS
        + handles * HANDLE_SECONDS
        + mount_points * MOUNT_POINT_SECONDS
        + (GATE_SECONDS if gate else 0.0)
        + final_pass_seconds
        + entries * ENTRY_SECONDS
        + carried_bytes / CARRIED_BYTES_PER_SECOND
    )
