"""Spares that take a failed leg's place, and legs that leave when their successor is in sync.

Invariant: one spare at a time, and a failed leg gets one only. Used by the worker's main thread,
which never touches a leg: whatever does is a LegTask.
"""

from __future__ import annotations

from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegTask
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.repair.changes import Changes
from holdfast.model.volume import LegState


class Replacing:
    """The replacements of one worker."""

    def __init__(self, mirror: Mirror, changes: Changes) -> None:
        self._mirror = mirror
        self._roster = mirror.roster
        self._changes = changes
        self._leaving: LegTask[None] | None = None
        self.taking: tuple[LegTask[None], str] | None = None
        """Who puts a spare in a leg's place, and its URL."""

    def tick(self) -> float:
        """Do what is due; seconds until something is due again."""
        self._tend_spares()
        return self._tend_replacements()

    def _tend_replacements(self) -> float:
        """Let legs go whose successor is in sync, whichever worker it was that filled it."""
        replaced = self._roster.replaced()
        if replaced and (self._leaving is None or not self._leaving.at_work):
            number = replaced[0]
            self._leaving = LegTask(
                self._mirror.hands,
                lambda hand: self._changes.finish_replacement(hand, number),
                awaited=False,
            )
        return 1.0 if replaced else 60.0

    def _tend_spares(self) -> None:
        """Put a spare in the place of a failed leg, one after the other: it has joined then."""
        if self.taking is not None and not self._took_spare(*self.taking):
            return
        configuration = self._roster.configuration
        taken = {entry.replaces for entry in configuration.legs}
        failed = [
            entry.number
            for entry in configuration.legs
            if entry.number not in taken
            and (
                entry.number in self._roster.nameless
                or (_has_failed(entry) and entry.number not in self._roster.present)
            )
        ]
        if failed and configuration.spare_urls and self._roster.readers:
            url = configuration.spare_urls[0]
            self._roster.use_spare(url)
            task = LegTask(
                self._mirror.hands,
                lambda hand: self._changes.take_spare(hand, url, failed[0]),
                awaited=False,
            )
            self.taking = task, url

    def _took_spare(self, task: LegTask[None], url: str) -> bool:
        """Whether that is over; one whose storage hangs is used up, which a receipt says."""
        if task.at_work:
            return False
        self.taking = None
        joined = any(entry.url == url for entry in self._roster.configuration.legs)
        if task.hand.given_up and not joined:
            incident = self._mirror.incidents.begin("replacement", f"spare {url}")
            incident.resolve("the spare cannot be used: its storage does not answer")
        return True


def _has_failed(entry: LegEntry) -> bool:
    """Whether a leg that is away is to be replaced by a spare: not one that is just joining."""
    filling = entry.state is LegState.RESYNCING and bool(entry.reason)
    return entry.state in (LegState.FAILED, LegState.STALE) or filling
