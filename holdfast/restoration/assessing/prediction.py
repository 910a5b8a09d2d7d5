"""How long applications will wait: from what was counted and what was just measured.

Pure. Looking for users and judging their handles is what a pause consists of for the most part, and
assessing has just done it, so the time that took says how fast this host is now. The factors come
from receipts; `docs/restoration.md` says how. A prediction is for people and for the pause budget,
never a reason to cut anything short.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from holdfast.model.handle import User

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


def who_has_most(users: Sequence[User]) -> str:
    """Whose handles a pause is for, above all, in words: anybody may have very many. Empty: nobody
    has any."""
    by_owner: dict[int, list[User]] = defaultdict(list)
    for user in users:
        by_owner[user.user_id].append(user)
    counts = {
        owner: sum(len(each.handles) for each in theirs) for owner, theirs in by_owner.items()
    }
    owner = max(counts, key=lambda each: counts[each], default=0)
    if not counts.get(owner):
        return ""
    most = max(by_owner[owner], key=lambda each: len(each.handles))
    return (
        f"user {owner} has {counts[owner]} of {sum(counts.values())} handles,"
        f" {len(most.handles)} of them in {most.name} (process {most.pid})"
    )
