"""Which mounts of a file system are written down, so that they can be made again later.

Others may bind a volume's file system in mount namespaces of their own, as often and as deep as
they like. Invariant: what is chosen here can be written to the catalog and read again, whatever
they do; the volume's own administrator is never kept from anything by it. What is left out is lost
to its owner when the volume is mounted again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from holdfast.model.bounded import MOST_BYTES
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import foreign_namespaces

ROOM_BYTES = MOST_BYTES // 4
"""Of all points as JSON: the record of a restoration has them up to three times."""


def recordable(
    points: Sequence[MountPoint], room_bytes: int = ROOM_BYTES
) -> tuple[MountPoint, ...]:
    """The mounts that can be made again by what is written of them, in the same order.

    Left out is what no path leads to, and what there is no room for: of user namespaces first, and
    our own mounts last of all. Does not block.
    """
    within = [point for point in points if point.is_within_reach]
    if _bytes_of(within) <= room_bytes:
        return tuple(within)
    foreign = foreign_namespaces(within)
    chosen, left_bytes = set(), room_bytes
    ours_first = within[::-1]  # the order of dismounting has our own namespace last
    for point in sorted(ours_first, key=lambda each: each.namespace in foreign):
        left_bytes -= _bytes_of([point])
        if left_bytes < 0:
            break
        chosen.add(point)
    return tuple(point for point in within if point in chosen)


def _bytes_of(points: Sequence[MountPoint]) -> int:
    return len(json.dumps([asdict(point) for point in points]))
