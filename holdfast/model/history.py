"""Where every write of a volume is kept, for how long, and what of it can be reached. Values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from holdfast.model.bounded import MOST_NUMBER, whole

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

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `history_place` reads."""
        return asdict(self)


def history_place(values: object) -> HistoryPlace:
    """What a descriptor, or whoever asks, says. Raises ValueError."""
    if not isinstance(values, dict) or values.keys() != {
        "directory",
        "keep_seconds",
        "limit_bytes",
    }:
        raise ValueError("it names no history")
    directory = values["directory"]
    if not isinstance(directory, str) or not directory.startswith("/") or "\0" in directory:
        raise ValueError("a history is in a directory with an absolute path")
    for name in ("keep_seconds", "limit_bytes"):
        whole(values[name], name, 0, MOST_NUMBER)
    return HistoryPlace(**values)


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


@dataclass(frozen=True)
class HistoryReport:
    """`holdfast history NAME --json`."""

    volume: str
    state: str
    """off · written · fails · resting (the volume is detached)."""
    directory: str = ""
    keep_seconds: int = 0
    limit_bytes: int = 0
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
    findings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
