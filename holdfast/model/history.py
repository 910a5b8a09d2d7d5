"""Where every write of a volume is kept, for how long, and what of it can be reached. Values."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_NUMBER, whole
from holdfast.model.volume import JournalFailurePolicy

LEAST_LIMIT_BYTES = 256 << 20
"""Four segments: less would be removed again before anybody could use it."""

LEAST_KEEP_SECONDS = 60


@dataclass(frozen=True)
class HistoryPlace:
    """What was asked for. It stands in the descriptor of superblocks, as JSON."""

    directory: str
    keep_seconds: int = 0
    """How long writes are kept; 0: as long as there is room."""
    limit_bytes: int = 0
    """What all of it may take; 0: no limit."""
    on_failure: JournalFailurePolicy = JournalFailurePolicy.DEGRADE
    """What flushes do while it cannot be written: go on without it, or wait."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `history_place` reads."""
        return asdict(self)


def history_place(values: object) -> HistoryPlace:
    """What a descriptor, or whoever asks, says. Raises ValueError."""
    names = {field.name for field in fields(HistoryPlace)}
    if not isinstance(values, dict) or values.keys() != names:
        raise ValueError("it names no history")
    directory = values["directory"]
    if not isinstance(directory, str) or not directory.startswith("/") or "\0" in directory:
        raise ValueError("a history is in a directory with an absolute path")
    for name in ("keep_seconds", "limit_bytes"):
        whole(values[name], name, 0, MOST_NUMBER)
    return HistoryPlace(**values | {"on_failure": JournalFailurePolicy(values["on_failure"])})


@dataclass(frozen=True)
class HistoryAnew:
    """Written down before a volume is restored: the history that begins when it is."""

    id: str
    volume: str
    made: float
    """Unix time in seconds."""
    volume_id: str
    """That of the volume before: it has another one when it is restored."""
    directory: str
    keep_seconds: int
    limit_bytes: int
    on_failure: JournalFailurePolicy

    @property
    def place(self) -> HistoryPlace:
        """Where, and for how long."""
        return HistoryPlace(self.directory, self.keep_seconds, self.limit_bytes, self.on_failure)


@dataclass(frozen=True)
class HistoryStretch:
    """Positions that can be reached one from another; times in seconds since 1970 UTC."""

    position: int
    end: int | None
    """None: nobody knows without reading it."""
    begun: float
    ended: float | None
    """Of the last record that is known to be in it; None: it goes on."""
    reason: str = ""
    """Why it ended, which is a gap; empty: it goes on."""
    is_damaged: bool = False
    """Whether that is because files were damaged or removed. Damage within a file is found only
    where all of it was read."""


@dataclass(frozen=True)
class HistoryReport:
    """`holdfast history NAME --json`."""

    volume: str
    state: str
    """off · written · behind (flushes do not wait for it) · fails · resting (the volume is
    detached)."""
    directory: str = ""
    keep_seconds: int = 0
    limit_bytes: int = 0
    on_failure: str = ""
    """degrade · hold."""
    used_bytes: int = 0
    """What its files take, or have reserved."""
    position: int = 0
    """Up to which it is durable."""
    behind_bytes: int = 0
    """In the ring, and not yet there."""
    base_position: int = 0
    """A copy of a leg that is begun now is good from that position on."""
    reason: str = ""
    """Why it fails, or cannot be looked at."""
    stretches: tuple[HistoryStretch, ...] = ()
    """Oldest first."""
    is_read: bool = False
    """Whether the directory was looked at; else `stretches` is what the gate remembers."""
    findings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def with_shown(report: HistoryReport, shown: dict[str, object]) -> HistoryReport:
    """What a running gate says of it."""
    if "history_state" not in shown:
        return replace(report, state="fails", reason="it could not be opened")

    def number(key: str) -> int:
        found = shown.get(key)
        return found if isinstance(found, int) else 0

    kept = shown["history_stretches"]
    return replace(
        report,
        state=str(shown["history_state"]),
        reason=str(shown["history_reason"]),
        used_bytes=number("history_bytes"),
        position=number("history_position"),
        behind_bytes=number("history_behind_bytes"),
        base_position=number("recorded"),
        stretches=tuple(HistoryStretch(**each) for each in kept) if isinstance(kept, list) else (),
    )
