"""After the host went down: the history is told what the legs have.

The legs may have writes that the history lacks, and the history some that they lack; nobody ever
heard of a flush of any of these. Regions in which that may be have bits. Their contents are
appended to the log, as one step, before anybody writes.
"""

from __future__ import annotations

import errno
from time import monotonic_ns

from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.write_log import Continuous
from holdfast.gate.log.history.layout import Mark
from holdfast.gate.log.segment import Kind
from holdfast.gate.members.superblock import REGION_BYTES
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import Hand
from holdfast.system.resources.memory import aligned_buffer

MOST_REGIONS = 1024
"""1 GiB: seconds. With more (a leg has been away for long) a gap is told of instead."""

PIECE_BYTES = 64 << 10
"""Of a region that is read and appended at once: what is zero takes no room."""


def settle_history(recovery: Recovery, hand: Hand) -> None:
    """Make the history say what the legs have, if it may not. Does nothing otherwise.

    The first worker of a gate, before it serves. Raises OSError when the history cannot be written.
    """
    mirror = recovery.mirror
    log = mirror.log
    if not isinstance(log, Continuous) or not log.unsettled:
        return
    regions = mirror.intent.bitmap.dirty()
    if len(regions) > MOST_REGIONS:
        mirror.journalling.begin_anew(hand, log.position)
        mirror.settling.settle(hand)
        return
    try:
        for region in regions:
            begin = region * REGION_BYTES
            for offset in range(begin, min(begin + REGION_BYTES, mirror.size_bytes), PIECE_BYTES):
                _append(recovery, hand, log, offset)
        while not log.append_mark(hand, Mark.SETTLED):
            mirror.journalling.make_room(hand, monotonic_ns())
        log.done(hand)
    except HoldExpired as error:
        raise OSError(errno.EIO, "legs or history failed at the start") from error
    log.await_kept(log.position)
    log.settled()


def _append(recovery: Recovery, hand: Hand, log: Continuous, offset: int) -> None:
    """What the legs have there. Raises HoldExpired, GivenUp."""
    mirror = recovery.mirror
    length = min(PIECE_BYTES, mirror.size_bytes - offset)
    view = memoryview(aligned_buffer(PIECE_BYTES))[:length]
    mirror.read(hand, view, offset)
    kind, what = (Kind.DATA, view) if any(view) else (Kind.DISCARD, length)
    while not log.append(hand, kind, offset, what):
        mirror.journalling.make_room(hand, monotonic_ns())
    log.done(hand)
