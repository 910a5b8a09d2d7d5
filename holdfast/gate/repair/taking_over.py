"""How a worker goes on where another one was killed.

With the legs that its predecessor had: the kernel sends every unanswered request again, so nothing
is missing on them. What only the predecessor had (for bad places, for a leg that loses its cache)
is in the log; where that is gone, the legs are flushed before anybody is served.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from holdfast.errors import DeadlinePassed, HoldfastError, StorageFailed, Superseded
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.owing.owed import Owed
from holdfast.gate.data.owing.repaying import remembered_since
from holdfast.gate.data.task import LegTask
from holdfast.gate.data.write_log import WriteLog
from holdfast.gate.members.inside_leg import inside_leg
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.superblock import Superblock
from holdfast.gate.repair.opening import FIRST, Before, Opened, open_members
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.repair.settling_apart import settle_apart
from holdfast.gate.repair.start import equalise, owed_of_before
from holdfast.gate.repair.unheard import complete, complete_unheard
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import (
    EQUALISING,
    OWED_FILE,
    failed_legs,
    forget_unheard,
    remembered_container,
    take_copied,
    unheard_legs,
)
from holdfast.model.volume import LegState


def _settle(recovery: Recovery) -> None:
    """Make the epoch durable; where nobody agrees, what needs it is held."""
    if recovery.roster.unsettled:  # mostly it is durable, and a thread takes a millisecond
        with suppress(StorageFailed, Superseded):
            settle_apart(recovery.mirror)


def _find_owed(recovery: Recovery, hand: Hand, owners: Collection[str]) -> None:
    """What the predecessor kept for bad places: in the log, from a position on, or in the file."""
    mirror = recovery.mirror
    since = remembered_since(mirror.cells)
    in_log = since is not None and mirror.log.active and mirror.log.continues
    saved: Mapping[int, bytes] = {}
    if not in_log and mirror.cells[OWED_FILE]:
        saved = _saved_by_predecessor(recovery, owners)
    if not in_log and not saved:
        return

    def write(leg: Leg) -> Owed:
        if in_log and since is not None:
            return mirror.replay(hand, leg, since)[1]
        return mirror.write_owed(hand, leg, saved)

    complete(recovery, hand, recovery.roster.readers, write)


def _saved_by_predecessor(recovery: Recovery, owners: Collection[str]) -> Mapping[int, bytes]:
    """By another thread, as the state directory may hang. What cannot be read is told."""
    mirror = recovery.mirror
    task = LegTask(mirror.hands, lambda own: owed_of_before(recovery, own, owners))
    try:
        return task.result_unless_given_up()
    except (HoldfastError, OSError) as error:
        mirror.incidents.reflex("state", f"what is owed for bad places cannot be read: {error}")
        return {}


def _is_lost(log: WriteLog) -> bool:
    """Whether what the predecessor kept is gone."""
    return log.active and not log.continues and not log.has_files


def _give_up_lost_log(recovery: Recovery) -> None:
    """No leg is there that could be flushed: the log goes on from nothing at the next takeover."""
    log = recovery.mirror.log
    if _is_lost(log):
        log.fail("what was kept is gone")


def _begin_log_anew(recovery: Recovery, hand: Hand, above: int) -> None:
    """The log of the predecessor is gone, and what it had that no leg has flushed: flush it now."""
    mirror = recovery.mirror
    for leg in recovery.roster.readers:
        with inside_leg(recovery.roster, hand, leg, "takeover: flush"):
            leg.flush()
    mirror.journalling.begin_at_takeover(hand, above)
    if mirror.owed:
        mirror.repaying.carry(hand)


def _go_on_with_log(recovery: Recovery, hand: Hand, superblocks: Sequence[Superblock]) -> None:
    """Whatever the predecessor kept is here, or on the legs, before anybody is served."""
    roster, mirror = recovery.roster, recovery.mirror
    complete_unheard(recovery, hand)
    _find_owed(recovery, hand, {superblock.owner for superblock in superblocks})
    if _is_lost(mirror.log):
        above = max((superblock.position for superblock in superblocks), default=0)
        _begin_log_anew(recovery, hand, max(above, roster.configuration.recorded_position))
    _settle(recovery)
    if not roster.unsettled:
        mirror.log.goes_on()
    if mirror.owed:
        with suppress(DeadlinePassed, HoldExpired):  # upkeep tries again
            LegTask(mirror.hands, mirror.repaying.pay).result_unless_given_up()


def _leave_out_others(recovery: Recovery, opened: dict[int, Opened]) -> None:
    """Close what is not the container that the predecessor used: it is away.

    What lies there now under its name can be an older copy, or a server that came back without its
    cache: like any leg that returns, it is probed, judged and brought up to date.
    """
    roster, cells = recovery.roster, recovery.mirror.cells
    for number, (leg, superblock) in list(opened.items()):
        entry = roster.entry(number)
        reason = ""
        if leg.identity != remembered_container(cells, number):
            reason = f"{leg.url} is another container than before"
        elif superblock is None:
            roster.unsettled = True  # somebody wrote over it while it was in use: it gets a new one
        else:
            try:
                recovery.check_identity(entry, superblock)
            except HoldfastError as error:
                reason = error.message
            if roster.is_stranger(superblock):
                reason = f"{leg.url} was used elsewhere meanwhile ({superblock.owner})"
        if reason:
            roster.note(number, entry.state, reason)
            del opened[number]
            leg.discard()


def take_over(recovery: Recovery, hand: Hand, before: Before = FIRST) -> None:
    """Go on with the predecessor's legs; what is away is held for, excluded, or probed later.

    A worker that cannot end this is succeeded by one that begins it again: so this hand never goes
    where the state directory may hang, and goes into legs only, which fail for it.
    """
    roster, mirror = recovery.roster, recovery.mirror
    failed = failed_legs(mirror.cells)
    begun, first_missing = take_copied(mirror.cells)
    members = roster.configuration.legs
    usable = [
        entry
        for entry in members
        if entry.state in (LegState.IN_SYNC, LegState.RESYNCING) and entry.number not in failed
    ]
    if roster.superseded:
        mirror.hold.lose_storage(roster.superseded)
        return
    if mirror.hold.storage_lost and not (mirror.hold.for_room or mirror.reflexes.unremembered):
        _give_up_lost_log(recovery)
        return  # nobody was left: whoever comes back is judged and brought up to date first
    opened = open_members(recovery, usable, before)
    _leave_out_others(recovery, opened)
    for entry in usable:
        if entry.number not in opened or entry.state is not LegState.IN_SYNC:
            continue
        leg, superblock = opened[entry.number]
        roster.start_with(leg)
        if superblock is not None:
            roster.rise_above(superblock.epoch)
            mirror.settling.go_on_with(superblock)
    grown = max((leg.size_bytes for leg in roster.readers), default=0)
    if grown > roster.configuration.size_bytes:  # the predecessor died while it moved the tails
        recovery.grow_to(hand, grown)
    for leg in roster.readers:
        try:
            recovery.fit(hand, leg)
            recovery.take_bits(hand, leg)
        except OSError as error:
            roster.fail(leg, f"takeover: {error.strerror}")
    if not roster.readers:
        mirror.hold.lose_storage("no leg can be opened")
        _give_up_lost_log(recovery)
        for leg, _ in opened.values():
            leg.discard()
        return
    roster.exclude_absent()
    roster.rise_above_unfinished()
    _go_on_with_log(recovery, hand, [found for _, found in opened.values() if found])
    if mirror.cells[EQUALISING]:
        equalise(recovery)
    for entry in usable:
        if entry.state is LegState.RESYNCING and entry.number in opened:
            leg, _ = opened[entry.number]
            heard = entry.number not in unheard_legs(mirror.cells)
            first = first_missing if heard and entry.number == begun else 0
            try:
                recovery.join(hand, leg, entry, first_region=first)
            except (HoldfastError, OSError):  # it has failed, and is probed
                leg.discard()  # does nothing when it was taken in
    forget_unheard(mirror.cells)
