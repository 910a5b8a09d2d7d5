"""When a trouble becomes a message: told once, repeated by a rule, and its end told as well. Pure.

Invariants: what has stood for `SETTLE_SECONDS` is told; nothing is told twice but as a reminder;
one trouble makes two messages in `QUIET_SECONDS` at most, however often it comes and goes, and a
third when it has become worse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from holdfast.late_dataclass import dataclass
from holdfast.model.trouble import Trouble
from holdfast.policy.message import ENDED, RAISED, REMINDED

SETTLE_SECONDS = 3.0
"""What is over before is in a receipt: a failover to a spare, a move. Nobody wakes up faster."""

QUIET_SECONDS = 600.0
"""A leg on a bad cable comes and goes every few seconds."""

REMIND_SECONDS = 24 * 3600.0
"""Once a day, as long as nobody has mended it."""


URGENT = ("policy", "looking")
"""Causes of which somebody is told at any hour, though nothing fails: a volume was restored by
itself, or could not be; volumes cannot be looked at."""


@dataclass(frozen=True)
class KnownTrouble:
    """A trouble that was seen, and what was said of it. Times are Unix seconds; 0: not (yet)."""

    volume: str
    about: str
    words: str
    mend: str
    since: float
    told: float = 0.0
    """The last time that it was told or reminded of; of one that is over, when that was told."""
    over: float = 0.0
    """Since when it has not been seen."""
    is_told: bool = False
    """Whoever is told knows of it, and is to be told its end."""
    grave: bool = True
    """As of the trouble now."""
    told_grave: bool = True
    """Whoever was told knows how grave it is."""


@dataclass(frozen=True)
class Saying:
    """What is to be said now of a trouble."""

    kind: str
    standing: KnownTrouble

    @property
    def may_wait(self) -> bool:
        """Whether it can be told after the volume's quiet hours: it was never more than a sign. Not
        what a policy did, or could not do."""
        return not self.standing.told_grave and self.standing.about not in URGENT


def decide(
    known: Iterable[KnownTrouble], troubles: Iterable[Trouble], now: float
) -> tuple[tuple[KnownTrouble, ...], tuple[Saying, ...]]:
    """What is known after this look, and what is to be said. `now`: Unix seconds.

    A clock that was set back makes nothing wait longer than its rule says, counted from now.
    """
    seen = {(each.volume, each.about): each for each in troubles}
    kept: list[KnownTrouble] = []
    said: list[Saying] = []
    for before in known:
        trouble = seen.pop((before.volume, before.about), None)
        standing = _no_later(before, now)
        after, kind = _absent(standing, now) if trouble is None else _there(standing, trouble, now)
        if kind:
            said.append(Saying(kind, after))
        if not _is_forgotten(after, now):
            kept.append(after)
    for trouble in seen.values():
        known_now = KnownTrouble(trouble.volume, trouble.about, trouble.words, trouble.mend, now)
        kept.append(replace(known_now, grave=trouble.grave, told_grave=trouble.grave))
    return tuple(kept), tuple(said)


def _no_later(standing: KnownTrouble, now: float) -> KnownTrouble:
    since, told, over = (min(each, now) for each in (standing.since, standing.told, standing.over))
    return replace(standing, since=since, told=told, over=over)


def _there(before: KnownTrouble, trouble: Trouble, now: float) -> tuple[KnownTrouble, str]:
    since = now if before.over and not before.is_told else before.since
    now_is = replace(
        before, words=trouble.words, mend=trouble.mend, since=since, over=0.0, grave=trouble.grave
    )
    if now_is.is_told and trouble.grave and not before.told_grave:
        return replace(now_is, told=now, told_grave=True), RAISED
    if now_is.is_told:
        is_due = now - now_is.told >= REMIND_SECONDS
        return (replace(now_is, told=now), REMINDED) if is_due else (now_is, "")
    has_settled = now - since >= SETTLE_SECONDS
    if has_settled and (not now_is.told or now - now_is.told >= QUIET_SECONDS):
        return replace(now_is, told=now, is_told=True, told_grave=trouble.grave), RAISED
    return now_is, ""


def _absent(before: KnownTrouble, now: float) -> tuple[KnownTrouble, str]:
    gone = before if before.over else replace(before, over=now)
    if gone.is_told and now - gone.over >= SETTLE_SECONDS:
        return replace(gone, is_told=False, told=now), ENDED
    return gone, ""


def _is_forgotten(standing: KnownTrouble, now: float) -> bool:
    """Nobody was told of it lately, and it is over."""
    if not standing.over or standing.is_told:
        return False
    return not standing.told or now - standing.told >= QUIET_SECONDS
