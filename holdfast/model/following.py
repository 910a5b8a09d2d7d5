"""A copy that is brought on by itself, and how far behind it is. Values."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Any

from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import whole

LEAST_LAG_SECONDS = 10.0
"""Two looks of a daemon: less cannot be promised."""
LONGEST_LAG_SECONDS = 366 * 86400.0


@dataclass(frozen=True)
class Following:
    """What was asked for, and how the last attempt ended."""

    id: str
    """Of the copy."""
    volume: str
    lag_seconds: float
    """How long it may lack what was written."""
    made: float
    """When it was asked for. Unix time in seconds, as the others."""
    current: float = 0.0
    """When it was last seen to lack nothing, if that was later than it was brought on; 0: never."""
    failures: int = 0
    """Attempts since the last one that succeeded."""
    words: str = ""
    """Why the last one failed; empty: it did not."""
    mend: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that none has."""
        if not LEAST_LAG_SECONDS <= self.lag_seconds <= LONGEST_LAG_SECONDS:
            raise ValueError("lag_seconds is out of bounds")
        whole(self.failures, "failures")


class FollowState(StrEnum):
    """How well a copy follows."""

    FOLLOWING = "following"
    BEHIND = "behind"
    """It has lacked for too long what was written; it may be catching up."""
    CANNOT = "cannot"
    """It was tried and failed, or nothing leads on from it, or nobody is there who would do it."""


@dataclass(frozen=True)
class FollowingReport:
    """A part of `copy list --json`, and `copies` of `status --json`."""

    copy: str
    """Its id."""
    url: str
    lag_seconds: float
    """As asked for."""
    state: FollowState
    behind_bytes: int
    """Of history that it lacks."""
    behind_seconds: float
    """For how long it has lacked something, at most; 0: it lacks nothing."""
    reason: str = ""
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def checked_lag(seconds: float) -> float:
    """Raises InvalidOption."""
    if not LEAST_LAG_SECONDS <= seconds <= LONGEST_LAG_SECONDS:
        raise InvalidOption(
            f"a copy cannot follow within {seconds:g} s",
            f"Allow {LEAST_LAG_SECONDS:g} s at least: --lag 5m; off ends it.",
        )
    return seconds
