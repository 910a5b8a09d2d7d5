"""Which mounts of a file system are written down, so that they can be made again later.

Others may bind a volume's file system in mount namespaces of their own, as often and as deep as
they like. Invariant: the mounts of others that are chosen here can be written and read again, and
made again within seconds, whatever they do; the volume's own administrator is never kept from
anything by their number or length, and his own are never left out. What is left out is the
`surplus`: it is dismounted with the rest, and lost to its owner when the volume is mounted again.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict

from holdfast.model.bounded import MOST_BYTES
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint, crowd_in_words
from holdfast.mountpoints.surplus.strangers import strangers
from holdfast.system.mounts.visitor import Owner

ROOM_BYTES = MOST_BYTES // 4
"""Of all points as JSON: the record of a restoration has them up to four times."""

STRANGERS_BYTES = 1 << 20
"""Of those in user namespaces of strangers, of all users: some two thousand."""

USERS_BYTES = STRANGERS_BYTES // 4
"""Of one user's: no one alone takes the others' room."""

STRANGERS_LINES = 100_000
"""Of mount tables, which are read some ten times for each mount there: 10 us a line in all."""

USERS_LINES = STRANGERS_LINES // 4
"""Of one user's: 150 mounts where there are no others, 25 among 1000; a container has a few."""


class _Room:
    """What there is room for, in bytes written and lines of mount tables read."""

    def __init__(self, room_bytes: int, lines: int) -> None:
        self.bytes, self.lines = room_bytes, lines

    def take(self, cost: tuple[int, int]) -> bool:
        """Whether there was room for it."""
        if cost[0] > self.bytes or cost[1] > self.lines:
            return False
        self.bytes, self.lines = self.bytes - cost[0], self.lines - cost[1]
        return True


def recordable(
    points: Sequence[MountPoint], room_bytes: int = ROOM_BYTES
) -> tuple[MountPoint, ...]:
    """The mounts that can be made again by what is written of them, in the same order.

    Left out is what no path leads to, and what there is no room or time for in user namespaces of
    others: those who have the least are served first. Where it is not known whose a mount is, it
    stays. Blocks a few seconds at most.
    """
    within = [point for point in points if point.is_within_reach]
    theirs = strangers(within)
    chosen = {point.id for point in within if point.namespace not in theirs}
    ours_bytes = sum(_bytes_of(point) for point in within if point.id in chosen)
    by_owner: dict[Owner, list[tuple[int, tuple[int, int]]]] = defaultdict(list)
    for point in reversed(within):  # what others are mounted on comes first
        if point.namespace in theirs:
            stranger = theirs[point.namespace]
            cost = _bytes_of(point), stranger.table_length
            by_owner[stranger.owner].append((point.id, cost))
    left = _Room(min(room_bytes - ours_bytes, STRANGERS_BYTES), STRANGERS_LINES)
    for mounts in sorted(by_owner.values(), key=_share):
        own = _Room(min(left.bytes, USERS_BYTES), min(left.lines, USERS_LINES))
        for number, cost in mounts:
            if not own.take(cost):
                break
            left.take(cost)
            chosen.add(number)
    return tuple(point for point in within if point.id in chosen)


def _share(mounts: Sequence[tuple[int, tuple[int, int]]]) -> float:
    """How much of what one user may have these take."""
    return max(
        sum(cost[0] for _, cost in mounts) / USERS_BYTES,
        sum(cost[1] for _, cost in mounts) / USERS_LINES,
    )


def surplus(points: Sequence[MountPoint], kept: Sequence[MountPoint]) -> tuple[MountPoint, ...]:
    """Those of these mounts that are left out of `kept`, and can be dismounted. Pure."""
    numbers = {point.id for point in kept}
    return tuple(each for each in points if each.id not in numbers and each.is_within_reach)


def about_recording(points: Sequence[MountPoint]) -> list[Finding]:
    """Whose mounts are left out, and whose are too many; empty: all will be made again.

    Blocks as `recordable`.
    """
    kept = recordable(points)
    found = about_surplus(surplus(points, kept))
    if sum(map(_bytes_of, kept)) > ROOM_BYTES:
        found.append(
            Finding(
                "mounts without end",
                Verdict.BLOCKS,
                f"its {len(kept)} mounts are more than can be written down{crowd_in_words(kept)}",
                "Nobody could mount them again after our death.",
                "Dismount what is there, or end that process, then try again.",
            )
        )
    return found


def about_surplus(beyond: Sequence[MountPoint]) -> list[Finding]:
    """Whose these mounts are, which are left out: one finding for each mount namespace. Pure."""
    counts = Counter((each.namespace, each.witness_pid) for each in beyond).most_common()
    return [
        Finding(
            "mounts left out",
            Verdict.LIMITED,
            f"{count} mounts of it in the mount namespace of process {pid}, which belongs to"
            " another user namespace, are more than are made again of one user's",
            "They are dismounted with the others, and not mounted again: lost to their owner.",
            f"End process {pid}, or let it dismount what it does not need.",
        )
        for (_, pid), count in counts
    ]


def _bytes_of(point: MountPoint) -> int:
    return len(json.dumps(asdict(point)))
