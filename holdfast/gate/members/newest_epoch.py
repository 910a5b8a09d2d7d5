"""Which epoch of a volume counts, and which legs it names as in sync, proved from host and legs
together.

Pure. The statements and rules it rests on are in `membership`, which judges single legs by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.gate.members.superblock import Member, Settled, Superblock
from holdfast.late_dataclass import dataclass
from holdfast.model.volume import LegState


@dataclass(frozen=True)
class NewestEpoch:
    """The newest epoch that counts, as far as it can be known."""

    number: int
    in_sync: frozenset[str]
    """Ids of the legs that it names; empty when there is a problem."""
    problem: str
    """Why it proves nothing."""
    settled: Settled
    """The newest epoch that is known to have been remembered, and the ids of all legs that somebody
    may have gone on with since."""
    counting: tuple[Superblock, ...]
    """All superblocks, but for those of abandoned raises."""


def newest_epoch(
    host_epoch: int | None,
    host_members: Sequence[Member],
    ours: Sequence[Superblock],
    twice: set[str],
) -> NewestEpoch:
    """The newest epoch by what the host remembers and these superblocks of one volume say.

    `host_epoch` None: the host remembers nothing. `twice`: ids that several legs carry.
    """
    settled = max([host_epoch or 0, *(_settled_epoch(superblock) for superblock in ours)])
    remembers = host_epoch == settled
    counting = _counting(ours, settled, remembers=remembers)
    number = max([settled, *(superblock.epoch for superblock in counting)])
    going_on = in_sync_ids(host_members) if remembers else _going_on(counting, settled)

    def result(in_sync: Iterable[str] = (), problem: str = "") -> NewestEpoch:
        base = Settled(settled, tuple(sorted(going_on)))
        return NewestEpoch(number, frozenset(in_sync), problem, base, counting)

    if not ours:
        return result(problem="none of the containers carries a superblock of this volume")
    newest = [superblock for superblock in counting if superblock.epoch == number]
    if not newest:
        return result(problem=_not_here(number, host_members, ours))
    if host_epoch == number:
        return result(going_on)
    sets = {frozenset(in_sync_ids(superblock.members)) for superblock in newest}
    if len(sets) > 1:
        return result(
            problem=f"the legs have two histories since epoch {number - 1}: they were used apart"
            " from each other"
        )
    in_sync = sets.pop()
    needed = in_sync if remembers else in_sync | going_on
    absent = needed - ({superblock.leg_id for superblock in ours} - twice)
    return result(in_sync, _may_be_newer(absent, [*host_members, *_members(ours)]))


def in_sync_ids(members: Iterable[Member]) -> set[str]:
    """Ids of the legs in sync among them."""
    return {member.id for member in members if member.state is LegState.IN_SYNC}


def _settled_epoch(superblock: Superblock) -> int:
    raised_from = superblock.raised_from
    return superblock.epoch if raised_from is None else raised_from.epoch


def _counting(
    ours: Sequence[Superblock], settled: int, *, remembers: bool
) -> tuple[Superblock, ...]:
    """All but those of raises that were abandoned: others went on from an epoch before them."""
    ended = {
        frozenset(in_sync_ids(superblock.members))
        for superblock in ours
        if superblock.raised_from is None and superblock.epoch == settled
    }
    return tuple(
        superblock
        for superblock in ours
        if _settled_epoch(superblock) in (superblock.epoch, settled)
        or (
            superblock.epoch == settled
            and (remembers or frozenset(in_sync_ids(superblock.members)) in ended)
        )
    )


def _going_on(counting: Iterable[Superblock], settled: int) -> set[str]:
    """Ids of the legs that somebody may have gone on with: from the newest settled epoch, or from
    a raise beyond it that may have ended."""
    ids: set[str] = set()
    for superblock in counting:
        if superblock.epoch >= settled:
            ids |= in_sync_ids(superblock.members)
        if superblock.raised_from is not None and superblock.raised_from.epoch == settled:
            ids |= set(superblock.raised_from.in_sync)
    return ids


def _members(ours: Iterable[Superblock]) -> list[Member]:
    return [member for superblock in ours for member in superblock.members]


def _not_here(number: int, host_members: Iterable[Member], ours: Iterable[Superblock]) -> str:
    urls = ", ".join(m.url for m in host_members if m.state is LegState.IN_SYNC)
    found_epoch = max(_settled_epoch(superblock) for superblock in ours)
    return (
        f"the newest data is of epoch {number}, the legs found are of epoch {found_epoch} at"
        f" most; it is on {urls or 'legs that are not here'}"
    )


def _may_be_newer(absent: Iterable[str], known: Iterable[Member]) -> str:
    """Why nothing is proven without these legs; empty when none is absent."""
    urls = {member.id: member.url for member in known}
    away = sorted(urls.get(each, f"the leg with id {each}") for each in absent)
    if not away:
        return ""
    return (
        "this host does not remember the volume's newest epoch, and it cannot be proven from"
        f" the legs that are here: {', '.join(away)} may be newer"
    )
