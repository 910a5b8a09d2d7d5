"""Who may be a source: pure rules over what the host remembers and what the legs say.

Owns the decision, does no I/O. Invariant: a leg that lacks an acknowledged write is never named as
a source, unless `force` says that the loss is accepted. Must never guess: what cannot be proven is
refused with a reason in words.

What the gate does, and the rules rest on
  1. An epoch is raised whenever the set of in-sync legs changes (a leg fails, leaves, joins, or is
     absent at the start), and at a start with a journal after a crash: legs may hold what it lost
     in a power cut, so that a copy of before does not become current by it. Order: superblocks of
     all legs in the new set, then gate.json, then the next answer to a request. So a write that
     only some legs have is acknowledged only when these legs and the host carry an epoch that the
     others do not have. Between gate.json and the answer the legs are told that it has it, the
     mark: until then a superblock says from which epoch it is being raised, and who was in sync in
     that one (`raised_from`).
  2. An epoch number stands for one set of in-sync legs, unless raises to it did not end: each uses
     a higher number than any that the host and the legs at hand know of; others may carry it.
  3. A leg that is being resynchronised says `resyncing` in its own superblock before its first byte
     is overwritten, and `in-sync` only in the epoch in which it joins.
  4. A superblock's position is written after the leg and the journal are durable up to there;
     `recorded_position` is raised after all in-sync legs have theirs, the journal trimmed after it.
  5. A start whose judgement did not use the journal (`Judgement.journal_used`) begins it anew above
     every leg's position, durably, before it raises the epoch: what the journal held belongs to
     another history of the volume (somebody else used it meanwhile), never to be replayed over it.

The rules (the first five in `newest_epoch`)
  * The highest epoch known anywhere (host included) names the in-sync legs. A leg is current if it
    carries that epoch and is one of them. Every other leg is stale: by 1 it may lack writes.
  * Of an epoch without a mark is known only that the one before it was settled. Where a newer one
    is known to be settled (the host remembers it, a leg has its mark, or was raised from it), the
    raise was abandoned, whatever its number is: nothing was answered in it (1), its leg is stale.
  * The host remembers that epoch: it is the authority. No leg can be newer (1), so absent ones do
    not matter, and a superblock of an abandoned raise with the same number does not count (2).
  * The host remembers a higher epoch than any leg found: the newest data is not here. No source.
  * The host remembers nothing, or less than the legs (its state was lost, or another host used the
    volume): an in-sync leg that is absent may carry a still higher epoch. Only when every in-sync
    leg of the highest epoch is here is it proven that there is none. Two different sets for the
    same epoch are two histories (split brain). No source.
  * And when that epoch has no mark, every in-sync leg of the epoch from which it is raised has to
    be here, too, and of every other raise from there: the host may have gone on with any of these.
    Not those that had failed before: nobody can. Nor when the host remembers the epoch before: then
    it has not gone on. Who starts without a mark raises the epoch once more, and gets one.
  * Two containers with one leg id: one is a copy, and nothing tells which. Neither is used.
  * A current leg can still be a copy taken earlier in this epoch, or have lost its volatile cache.
    With a journal that belongs to this epoch, replaying it from the leg's position makes it current
    (4); if the journal begins later, the leg is stale. Without one, a leg that is behind the
    recorded position, or behind another current leg, is stale.

What no rule can see: without a journal, a copy taken after the last recorded position; a copy whose
superblock was read later than its data (copy the tail first, or at one instant); a newest leg that
was overwritten with an old copy *and* a host that lost its memory; a state directory put back from
a backup of the same epoch; on a host that remembers it, a leg that another host left out when it
went on from a raise that had died halfway. docs/semantics.md names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from holdfast.errors import NoSource
from holdfast.gate.members.newest_epoch import NewestEpoch, newest_epoch
from holdfast.gate.members.superblock import Member, Settled, Superblock
from holdfast.late_dataclass import dataclass
from holdfast.model.volume import JournalMode, LegState


class Standing(StrEnum):
    """What a leg may be used for."""

    SOURCE = "source"
    """Current as it is."""
    REPLAYABLE = "replayable"
    """Current after the journal was replayed from its position."""
    STALE = "stale"
    """Of this volume, to be resynchronised from a source before it is used."""
    FOREIGN = "foreign"
    """Not to be touched: of another volume, or one of two with the same leg id."""
    MISSING = "missing"
    """Not found, or without a valid superblock."""


@dataclass(frozen=True)
class HostMemory:
    """What gate.json and the journal say. `epoch` None: gate.json was lost."""

    volume_id: str | None = None
    epoch: int | None = None
    members: tuple[Member, ...] = ()
    recorded_position: int = 0
    journal: JournalMode = JournalMode.NONE
    journal_begin: int | None = None
    """None: the journal is not there or cannot be read (as for `journal_end`)."""
    journal_end: int | None = None


@dataclass(frozen=True)
class FoundLeg:
    """A container that was looked at, with its newest superblock if it has one."""

    url: str
    superblock: Superblock | None


@dataclass(frozen=True)
class LegJudgement:
    """The judgement on one leg, found or remembered."""

    leg_id: str
    url: str
    standing: Standing
    reason: str = ""
    number: int | None = None
    position: int = 0
    """Where a replay starts."""


@dataclass(frozen=True)
class Judgement:
    """The judgement on a volume."""

    volume_id: str | None
    epoch: int
    """The highest epoch known anywhere; the next raise uses a higher one."""
    settled: Settled
    """What may be gone on from: the next raise says so until it has ended."""
    legs: tuple[LegJudgement, ...]
    reason: str = ""
    """Why there is no source, or what was accepted by force."""
    forced: bool = False
    journal_used: bool = False
    """The journal that the host has belongs to what the legs hold: whoever is behind is replayed
    from it. Else it is of another time, whatever its positions are."""
    unsettled: bool = False
    """A current leg does not know that the raise to its epoch has ended."""
    forcible: bool = False
    """There is no source, and force would make one."""

    @property
    def start_from(self) -> tuple[LegJudgement, ...]:
        """The legs the volume may start from, the best one first. Empty: it may not start."""
        usable = [leg for leg in self.legs if leg.standing in _USABLE]
        return tuple(sorted(usable, key=lambda leg: (_USABLE.index(leg.standing), -leg.position)))

    @property
    def may_start(self) -> bool:
        """Whether there is a source."""
        return bool(self.start_from)

    def check(self) -> None:
        """Raise NoSource with the reason unless the volume may start."""
        if not self.may_start:
            raise NoSource(
                self.reason or "no leg is current",
                "Bring the missing leg back, or accept the loss of what it alone holds: --force."
                if self.forcible
                else "Bring the missing leg back: none that is here was ever complete.",
            )


_USABLE = (Standing.SOURCE, Standing.REPLAYABLE)

_Stands = Callable[[Superblock], tuple[Standing, str]]

_NOT_IN_SYNC = {
    LegState.RESYNCING: "its resynchronisation had not ended",
    LegState.SPARE: "it is a spare and holds no data yet",
}


def judge(memory: HostMemory, found: Sequence[FoundLeg], force: bool = False) -> Judgement:
    """The standing of every leg found or remembered, and whether the volume may start.

    With `force`, when there is no source, the one best leg that once was in sync becomes it.
    """
    volume_id, ambiguous = _volume_id(memory, found)
    ours = [
        leg.superblock for leg in found if leg.superblock and leg.superblock.volume_id == volume_id
    ]
    twice = {leg_id for leg_id, count in Counter(sb.leg_id for sb in ours).items() if count > 1}
    highest = max([sb.epoch for sb in ours] + [memory.epoch or 0])
    newest = newest_epoch(memory.epoch, memory.members, ours, twice)
    epoch, problem = newest.number, ambiguous or newest.problem
    current = [
        superblock
        for superblock in newest.counting
        if superblock.epoch == epoch
        and superblock.leg_id in newest.in_sync - twice
        and superblock.state is LegState.IN_SYNC
    ]
    newest_position = max((sb.position for sb in current), default=0)

    def stands(superblock: Superblock) -> tuple[Standing, str]:
        if superblock.leg_id in twice:
            return Standing.FOREIGN, "another container carries the same leg id: one is a copy"
        if problem:
            return Standing.STALE, problem
        if superblock in current:
            return _by_position(memory, epoch, newest_position, superblock)
        if superblock not in newest.counting:
            return Standing.STALE, (
                f"its epoch {superblock.epoch} never came to be: others went on without it"
            )
        if superblock.epoch < epoch:
            return Standing.STALE, f"it is of epoch {superblock.epoch}, the newest is {epoch}"
        why = _NOT_IN_SYNC.get(superblock.state, f"it was not in sync in epoch {epoch}")
        return Standing.STALE, why

    legs = [_judged_leg(leg, volume_id, stands) for leg in found]
    legs += _missing(memory, newest, {sb.leg_id for sb in ours})
    judgement = Judgement(
        volume_id,
        highest,
        newest.settled,
        tuple(legs),
        problem,
        journal_used=not problem and _journal_counts(memory, epoch, newest_position),
        unsettled=any(superblock.raised_from is not None for superblock in current),
    )
    if judgement.may_start:
        return judgement
    reason = problem or "no leg that is here is current: " + "; ".join(
        f"{leg.url}: {leg.reason or leg.standing}" for leg in legs
    )
    once_in_sync = [] if ambiguous else _once_in_sync(newest.counting or ours, twice)
    judgement = replace(judgement, reason=reason, journal_used=False, forcible=bool(once_in_sync))
    return _forced(memory, judgement, once_in_sync) if force and once_in_sync else judgement


def start_begins_epoch(
    judgement: Judgement,
    epoch: int,
    *,
    arbitrated: bool,
    journalled: bool,
    has_siblings: bool,
    has_bits: bool,
) -> bool:
    """Whether a start raises the epoch it would go on with, though no member is absent (rule 1).

    `arbitrated`: a coordinator may have given the volume away meanwhile. `journalled`: the journal
    is used. `has_siblings`: more than one leg belongs to it. `has_bits`: regions may differ.
    """
    if judgement.epoch > epoch or judgement.forced or judgement.unsettled or arbitrated:
        return True
    may_have_crashed = has_bits or not has_siblings  # one leg alone has no bits that would tell
    return journalled and may_have_crashed


def _volume_id(memory: HostMemory, found: Sequence[FoundLeg]) -> tuple[str | None, str]:
    """The volume meant, and a problem when the legs found do not agree on it."""
    if memory.volume_id is not None:
        return memory.volume_id, ""
    named = sorted({leg.superblock.volume_id for leg in found if leg.superblock})
    if len(named) > 1:
        return None, f"the legs belong to {len(named)} different volumes: {', '.join(named)}"
    return (named[0] if named else None), ""


def _by_position(
    memory: HostMemory, epoch: int, newest_position: int, superblock: Superblock
) -> tuple[Standing, str]:
    """The standing of a current leg: is it perhaps an older copy of itself?"""
    position = superblock.position
    floor = max(memory.recorded_position, newest_position)
    begin, end = memory.journal_begin, memory.journal_end
    if _journal_counts(memory, epoch, newest_position):
        assert begin is not None
        if position < begin:
            return Standing.STALE, (
                f"it is an older copy: it ends at {position}, the journal begins at {begin}"
            )
        return (Standing.SOURCE if position == end else Standing.REPLAYABLE), ""
    if position < floor:
        return Standing.STALE, (
            f"it is an older copy: it ends at position {position}, {floor} was recorded"
        )
    return Standing.SOURCE, ""


def _journal_counts(memory: HostMemory, epoch: int, newest_position: int) -> bool:
    """Whether the host's journal belongs to this epoch and reaches up to every position."""
    return (
        memory.journal is not JournalMode.NONE
        and memory.epoch == epoch
        and memory.journal_begin is not None
        and memory.journal_end is not None
        and max(memory.recorded_position, newest_position) <= memory.journal_end
    )


def _judged_leg(leg: FoundLeg, volume_id: str | None, stands: _Stands) -> LegJudgement:
    superblock = leg.superblock
    if superblock is None:
        return LegJudgement("", leg.url, Standing.MISSING, "it carries no valid superblock")
    if superblock.volume_id != volume_id:
        standing, reason = Standing.FOREIGN, f"it belongs to volume {superblock.volume_id}"
    else:
        standing, reason = stands(superblock)
    return LegJudgement(
        superblock.leg_id, leg.url, standing, reason, superblock.leg_number, superblock.position
    )


def _missing(memory: HostMemory, newest: NewestEpoch, here: set[str]) -> list[LegJudgement]:
    """Of every member that the host or the newest superblocks name and nobody found."""
    named = {
        member.id: member
        for superblock in newest.counting
        if superblock.epoch == newest.number
        for member in superblock.members
    }
    named |= {member.id: member for member in memory.members}
    return [
        LegJudgement(member.id, member.url, Standing.MISSING, "it was not found", member.number)
        for member in named.values()
        if member.id not in here
    ]


def _once_in_sync(ours: Sequence[Superblock], twice: set[str]) -> list[Superblock]:
    """Those that force may choose from: each held everything at some time."""
    return [
        superblock
        for superblock in ours
        if superblock.leg_id not in twice and superblock.state is LegState.IN_SYNC
    ]


def _forced(
    memory: HostMemory, judgement: Judgement, candidates: Sequence[Superblock]
) -> Judgement:
    """The same with the one newest leg that was once in sync as source, however old it is."""
    best = max(candidates, key=lambda sb: (sb.epoch, sb.position, -sb.leg_number))
    begin, end = memory.journal_begin, memory.journal_end
    covered = (
        memory.epoch is not None
        and best.epoch <= memory.epoch
        and begin is not None
        and end is not None
        and begin <= best.position < end
    )
    standing = Standing.REPLAYABLE if covered else Standing.SOURCE
    legs = tuple(
        LegJudgement(leg.leg_id, leg.url, standing, "accepted by force", leg.number, best.position)
        if leg.leg_id == best.leg_id and leg.standing is not Standing.FOREIGN
        else leg
        for leg in judgement.legs
    )
    reason = (
        f"by force, from epoch {best.epoch}, position {best.position}, although {judgement.reason}"
    )
    return replace(
        judgement, legs=legs, reason=reason, forced=True, journal_used=covered, forcible=False
    )
