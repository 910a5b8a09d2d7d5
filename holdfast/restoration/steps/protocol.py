"""What every step has in common, and what it is given to work with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from holdfast.config import Settings
from holdfast.containers import image_behind
from holdfast.model.plan import StepName
from holdfast.model.restoration import Restoration
from holdfast.model.volume import Volume
from holdfast.restoration.storage import volume_from_json

LONGEST_RESERVE_SECONDS = 10.0
_RESERVE_SHARE = 0.25
"""How much of the time until the deadline is kept back for undoing."""

_WAY_BACK = 1.5
_LARGEST_SHARE = 0.5
"""The way back has the steps of the way there; what is copied is not copied back."""


class Ledger(Protocol):
    """Where it is written, durably, how far a restoration has come (catalog.restorations)."""

    def note(
        self,
        identifier: str,
        stage: Any = None,
        facts: Any = None,
        deadline_ns: int | None = None,
    ) -> None:
        """Change what is known of it."""

    def record(self, identifier: str, step: Any) -> None:
        """Write what became of a step."""


@dataclass
class Work:
    """One restoration at work in this process."""

    settings: Settings
    ledger: Ledger
    restoration: Restoration
    say: Callable[[str], None] = lambda words: None
    percent: Callable[[float], None] = lambda percent: None
    live: dict[str, Any] = field(default_factory=dict)
    """What cannot be written down: descriptors, stopped processes, the process that copies."""

    @property
    def facts(self) -> dict[str, Any]:
        """What has been found out and must survive us; change it with `remember` only."""
        return self.restoration.facts

    def remember(self, **facts: Any) -> None:
        """Make facts durable; they are there when this returns."""
        self.ledger.note(self.restoration.id, facts=facts)
        self.restoration.facts.update(facts)

    def begin_waiting(self, deadline_ns: int, **facts: Any) -> None:
        """Make it known, durably, until when processes may be stopped from now on."""
        self.ledger.note(self.restoration.id, facts=facts, deadline_ns=deadline_ns)
        self.restoration.facts.update(facts)
        self.restoration = replace(self.restoration, deadline_ns=deadline_ns)

    def seconds_left(self) -> float:
        """Until undoing must begin, so that it ends before processes run by themselves; infinite
        while nobody is stopped."""
        if not self.restoration.deadline_ns:
            return float("inf")
        whole_seconds = float(self.facts.get("deadline_seconds", 0.0))
        reserve_seconds = min(LONGEST_RESERVE_SECONDS, whole_seconds * _RESERVE_SHARE)
        way_seconds = float(self.live.get("way_seconds", 0.0))
        way_back_seconds = min(way_seconds * _WAY_BACK, whole_seconds * _LARGEST_SHARE)
        return self._until_deadline_seconds() - max(reserve_seconds, way_back_seconds)

    def note_the_way(self) -> None:
        """The volume is away: how long that took tells how long undoing takes on this host now."""
        if self.restoration.deadline_ns:
            whole_seconds = float(self.facts.get("deadline_seconds", 0.0))
            self.live["way_seconds"] = max(0.0, whole_seconds - self._until_deadline_seconds())

    def _until_deadline_seconds(self) -> float:
        return (self.restoration.deadline_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) / 1e9

    @property
    def old(self) -> Volume:
        """The volume as it was before."""
        return volume_from_json(self.facts["old"])

    @property
    def new(self) -> Volume | None:
        """The volume as it will be on other storage; None: it stays on its own."""
        values = self.facts.get("new")
        return None if values is None else volume_from_json(values)

    @property
    def own_pids(self) -> frozenset[int]:
        """Processes of ours that may be seen on the volume, and must not be stopped."""
        copying = self.live.get("copying")
        return frozenset({copying.pid} if copying is not None else ())

    def image_urls(self) -> list[str]:
        """The containers of both sides that are images, without repetition."""
        found: list[str] = []
        for volume in (self.old, self.new):
            if volume is None:
                continue
            source = volume.adoption.source if volume.adoption else ""
            found += [url for url in (*volume.leg_urls, source) if image_behind(url)]
        return list(dict.fromkeys(found))


class Step(Protocol):
    """One step: what it does, how it is seen that it was done, and how it is taken back.

    Each may be run by another process than the one that began; each may find half of its work done.
    """

    @property
    def name(self) -> StepName:
        """Its place in the order."""

    def is_done(self, work: Work) -> bool:
        """Whether its effect is there, judged by the world and not by the record."""

    def do(self, work: Work) -> str:
        """Do it, or the rest of it; what came of it, in words. Idempotent. Raises HoldfastError."""

    def undo(self, work: Work) -> str:
        """Take it back, also when it was half done; what was done, in words. Idempotent."""
