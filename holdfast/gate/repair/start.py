"""How the first worker of a gate finds its legs.

It judges all legs by the rules of membership, replays the journal, and makes legs that may differ
after a crash equal. A leg that hangs at the start counts as away; none keeps the others waiting for
longer than the hang time-out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from holdfast.errors import (
    DeadlinePassed,
    ForeignLeg,
    HistoryFailed,
    HoldfastError,
    NoSource,
    StorageFailed,
    Superseded,
)
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.owing.owed import Owed
from holdfast.gate.data.task import LegTask
from holdfast.gate.data.write_intent.bitmap import Bitmap
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.membership import (
    FoundLeg,
    Judgement,
    LegJudgement,
    Standing,
    judge,
    start_begins_epoch,
)
from holdfast.gate.members.superblock import Superblock
from holdfast.gate.repair.history_settling import settle_history
from holdfast.gate.repair.host_memory import host_memory
from holdfast.gate.repair.opening import FIRST, Opened, open_members
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import LegState


def start_first(recovery: Recovery, hand: Hand, *, force: bool) -> None:
    """Judge the legs and begin with those that are current.

    Nobody waits for the volume yet: when its last leg fails here, the start has failed. Raises
    NoSource, ForeignLeg when those are in other legs' places, Superseded, OSError.
    """
    hold = recovery.mirror.hold
    hold.set_timeout(0.0)
    try:
        _start_first(recovery, hand, force=force)
    except HoldExpired:
        pass
    finally:
        hold.set_timeout(recovery.roster.configuration.hold_timeout_seconds)
    if recovery.roster.superseded:
        raise Superseded(recovery.roster.superseded, "Attach it where it is in use, or later.")
    if not recovery.roster.readers or recovery.mirror.reflexes.unremembered:
        legs = recovery.roster.configuration.legs
        why = hold.reason or "; ".join(f"{leg.url}: {leg.reason}" for leg in legs if leg.reason)
        raise NoSource(
            f"it failed while the volume was started: {why}",
            "See that the storage works, then attach again.",
        )
    try:
        settle_history(recovery, hand)
        recovery.mirror.log.started(hand)
    except OSError as error:
        raise history_failed(recovery.roster.configuration.name, error) from error


def history_failed(name: str, error: OSError) -> HistoryFailed:
    """Why a volume is not attached whose history cannot be kept. Pure."""
    return HistoryFailed(
        error.strerror or str(error),
        f"Bring it back and attach again; or holdfast history {name} --off, then attach: what is"
        " written then is not in it.",
    )


def _check(judgement: Judgement, away: list[LegEntry]) -> None:
    """Raise NoSource when no leg may be started from; it names why those that are away are."""
    try:
        judgement.check()
    except NoSource as error:
        reasons = [leg.reason for leg in away if leg.reason]
        raise NoSource("; ".join((error.message, *reasons)), error.mend) from error


def _start_first(recovery: Recovery, hand: Hand, *, force: bool) -> None:
    roster, mirror = recovery.roster, recovery.mirror
    memory, known_epoch = host_memory(mirror), roster.configuration.epoch
    opened = _open_all(recovery)
    found = [FoundLeg(leg.url, superblock) for leg, superblock in opened.values()]
    judgement = judge(memory, found, force)
    newest = _newest(judgement, found)
    if newest is not None and newest.epoch > known_epoch:
        roster.adopt(newest)
        mirror.intent.bitmap = Bitmap(newest.size_bytes)
    sources = _sources_alone(recovery, opened, judgement)
    roster.rise_above(judgement.epoch)
    mirror.settling.settled = judgement.settled
    behind = judgement.epoch > known_epoch
    if not judgement.journal_used and (mirror.log.active or behind):
        # Before anything durable could make it look like ours.
        positions = [leg.superblock.position for leg in found if leg.superblock]
        mirror.journalling.begin_anew(hand, max(positions), elsewhere=behind or judgement.forced)
    owed = owed_of_before(
        recovery, hand, {sb.owner for number in sources if (sb := opened[number][1])}
    )
    for number, judged in sources.items():
        _begin_with(recovery, opened[number][0], judged, owed)
    if not roster.readers:
        return
    roster.exclude_absent()
    _note_stale(recovery, judgement)
    if start_begins_epoch(
        judgement,
        roster.configuration.epoch,
        arbitrated=mirror.memory.arbitrates,
        journalled=mirror.log.active,
        has_siblings=roster.has_siblings,
        has_bits=bool(mirror.intent.bitmap.dirty()),
    ):
        roster.configure()
    _go_on(recovery, hand)


def _open_all(recovery: Recovery) -> dict[int, Opened]:
    """Every member that can be opened, including those added by another host that went on without
    this one."""
    roster, known = recovery.roster, recovery.roster.configuration
    opened = open_members(recovery, list(known.legs), FIRST)
    ahead = [
        superblock
        for _, superblock in opened.values()
        if superblock and superblock.volume_id == known.volume_id and superblock.epoch > known.epoch
    ]
    if ahead:
        roster.adopt(max(ahead, key=lambda superblock: (superblock.epoch, superblock.position)))
        numbers = {leg.number for leg in known.legs}
        strangers = [leg for leg in roster.configuration.legs if leg.number not in numbers]
        opened |= open_members(recovery, strangers, FIRST)
    return opened


def _sources_alone(
    recovery: Recovery, opened: Mapping[int, Opened], judgement: Judgement
) -> dict[int, LegJudgement]:
    """As `_sources`; every other leg is closed. Raises NoSource, ForeignLeg when there is none."""
    sources = _sources(recovery, opened, judgement)
    for number, (leg, _) in opened.items():
        if number not in sources:
            leg.discard()
    members = recovery.roster.configuration.legs
    _check(judgement, [leg for leg in members if leg.number not in opened])
    if not sources:
        urls = ", ".join(judged.url for judged in judgement.start_from)
        raise ForeignLeg(
            f"the newest data is in {urls}, where another leg belongs: containers were exchanged",
            "Put each into its place again; block:/dev/disk/by-id/… names a disk for good.",
        )
    return sources


def _note_stale(recovery: Recovery, judgement: Judgement) -> None:
    """Remember which legs are stale, and why. A leg that was being filled is filled anew in place:
    no spare replaces it for that."""
    members = recovery.roster.configuration.legs
    numbers = {entry.number for entry in members if entry.state is not LegState.RESYNCING}
    for judged in judgement.legs:
        if judged.standing is Standing.STALE and judged.number in numbers:
            recovery.roster.note(judged.number, LegState.STALE, judged.reason)


def _go_on(recovery: Recovery, hand: Hand) -> None:
    """Make the set of legs durable with which the volume starts, and write what is still owed from
    before."""
    mirror = recovery.mirror
    mirror.intent.secure(hand)  # and whoever cannot be written fails, while the others are sources
    if not mirror.reflexes.settle(hand):
        return
    mirror.repaying.pay(hand)  # where another leg takes it
    if mirror.owed and not mirror.log.continues:
        mirror.repaying.carry(hand)  # for a worker that takes over
    equalise(recovery)
    if mirror.log.active:
        recovery.upkeep.checkpoint(hand, flush=True)
    mirror.settling.remember_places(hand)


def owed_of_before(recovery: Recovery, hand: Hand, owners: Collection[str]) -> dict[int, bytes]:
    """What no leg could take when the host went down; where the log has all records, it has these.

    `owners`: who has written the legs last. Raises OSError; StorageFailed when it is damaged.
    """
    mirror = recovery.mirror
    try:
        saved = mirror.repaying.find_saved(hand, owners)
    except ValueError as error:
        raise StorageFailed(
            f"owed.json in the state directory is damaged ({error}): flushed writes are in there",
            "Put it back from a backup; without it (remove it) these writes are lost.",
        ) from error
    return {} if mirror.log.active and mirror.log.continues else saved


def _begin_with(
    recovery: Recovery, leg: Leg, judged: LegJudgement, owed: Mapping[int, bytes]
) -> None:
    """Take a source in; one that fails or hangs at what it lacks keeps no other away."""
    task = LegTask(recovery.mirror.hands, lambda hand: _complete(recovery, hand, leg, judged, owed))
    try:
        lacking = task.result_unless_given_up()
    except (DeadlinePassed, OSError) as error:
        words = error.strerror if isinstance(error, OSError) else "no answer"
        reason = f"it failed at the start: {words or error}"
        recovery.roster.note(leg.number, recovery.roster.entry(leg.number).state, reason)
    else:
        for each in lacking:
            recovery.mirror.repaying.owe(leg, each)
        recovery.roster.start_with(leg)


def _complete(
    recovery: Recovery, hand: Hand, leg: Leg, judged: LegJudgement, owed: Mapping[int, bytes]
) -> list[Owed]:
    """Give a source what it lacks; what its bad places do not take. Raises OSError, GivenUp; it is
    closed then."""
    try:
        recovery.fit(hand, leg)
        recovery.take_bits(hand, leg)
        lacking = []
        if judged.standing is Standing.REPLAYABLE:
            lacking.append(recovery.mirror.replay(hand, leg, judged.position)[1])
        if owed:
            lacking.append(recovery.mirror.write_owed(hand, leg, owed))
        return lacking
    except BaseException:
        leg.discard()
        raise


def _newest(judgement: Judgement, found: list[FoundLeg]) -> Superblock | None:
    """The superblock that says most of the volume: of the best leg to start from."""
    best = next(iter(judgement.start_from), None)
    return next((leg.superblock for leg in found if best and leg.url == best.url), None)


def _sources(
    recovery: Recovery, opened: Mapping[int, Opened], judgement: Judgement
) -> dict[int, LegJudgement]:
    """Whom to start from, by the numbers of the places where they are.

    One that lies in another leg's place is left out, with a note: its superblock names the other,
    and whatever is written of either would be taken for the wrong one.
    """
    sources = {}
    places = {leg.url: number for number, (leg, _) in opened.items()}
    for judged in judgement.start_from:
        number = places[judged.url]
        if not recovery.roster.is_member(number):
            continue
        entry = recovery.roster.entry(number)
        try:
            recovery.check_identity(entry, opened[number][1])
        except HoldfastError as error:
            recovery.roster.note(number, entry.state, error.message)
        else:
            sources[number] = judged
    return sources


def equalise(recovery: Recovery) -> None:
    """After a crash, regions that were being written may differ between the legs in sync."""
    mirror = recovery.mirror
    if len(recovery.roster.readers) > 1:
        mirror.equalising.begin(mirror.intent.bitmap.dirty())
        mirror.equalising.tend()
