"""How long applications will wait: from what was counted, by figures that were measured.

Pure. The figures are of a host with two cores under load; `docs/restoration.md` says how they were
measured. A prediction is for people and for the pause budget, never a reason to cut anything short.
"""

from __future__ import annotations

BASE_SECONDS = 0.15
"""Looking for users, the record of each step, a dismount and a mount."""
PROCESS_SECONDS = 0.006
"""Seizing and releasing one process."""
HANDLE_SECONDS = 0.0002
"""Parking and moving one descriptor, directory or map."""
MOUNT_POINT_SECONDS = 0.01
GATE_SECONDS = 1.5
"""Stopping the old gate and starting the new one, which is a new Python."""
ENTRY_SECONDS = 0.00002
"""Comparing one name of the copy with its source, after the dismount."""


def pause_seconds(
    processes: int,
    handles: int,
    mount_points: int,
    *,
    gate: bool = False,
    final_pass_seconds: float = 0.0,
    entries: int = 0,
) -> float:
    """Predicted time from the first process that stops to the last that goes on, in seconds."""
    return (
        BASE_SECONDS
        + processes * PROCESS_SECONDS
        + handles * HANDLE_SECONDS
        + mount_points * MOUNT_POINT_SECONDS
        + (GATE_SECONDS if gate else 0.0)
        + final_pass_seconds
        + entries * ENTRY_SECONDS
    )
