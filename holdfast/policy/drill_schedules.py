"""Which volumes have a drill by themselves, how often, and whether one is due.

Owns its file in the state directory. Deciding is pure. Must never begin anything.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.system.files.own_document import read_document, write_document

SHORTEST_SECONDS = 3600.0
"""A drill reads all there is: more often it is a load, and says nothing new."""

LATE_SHARE = 0.25
"""Of its interval, for which one that is due waits for a quiet time; then it is begun."""

UNREADABLE_MEND = (
    "Move drills/schedules.json in the state directory away, and say again:"
    " holdfast drill NAME --every TIME"
)

_MOST_BYTES = 4 << 20
"""A thousand volumes with a command of a page each."""


@dataclass(frozen=True)
class DrillSchedule:
    """Of one volume. The other fields are those of a `DrillRequest`."""

    volume: str
    every_seconds: float
    set_at: float
    """Unix time, seconds."""
    contents: str = ""
    to: str = ""
    check: str = ""
    check_seconds: float = 600.0
    image: str = ""

    def __post_init__(self) -> None:
        """Raise InvalidOption for an interval that cannot be."""
        if not SHORTEST_SECONDS <= self.every_seconds <= 366 * 86400.0:
            raise InvalidOption(
                f"--every cannot be {self.every_seconds:g} s",
                "Write 1h to 366d, e.g. --every 7d, or --every off.",
            )


def is_due(schedule: DrillSchedule, last: float | None, now: float, *, quiet: bool) -> bool:
    """Whether it is to be begun now. `last`: when the last one of that volume ended, Unix seconds.

    The first one is due at once, as is one whose last is yet to come: the clock was set back since.
    """
    waited = now - due_at(schedule, last, now)
    return waited >= (0.0 if quiet else schedule.every_seconds * LATE_SHARE)


def due_at(schedule: DrillSchedule, last: float | None, now: float) -> float:
    """When it is due, Unix seconds; then it waits for a quiet time."""
    if last is not None and last <= now:
        return last + schedule.every_seconds
    return min(schedule.set_at, now)


def read_schedules(state_directory: Path) -> tuple[DrillSchedule, ...]:
    """By volume. Raises OSError, ValueError, Untrusted."""
    path = _path(state_directory)
    try:
        known = read_document(path, _Schedules, _MOST_BYTES, "what is known of schedules")
    except FileNotFoundError:
        return ()
    return known.schedules


def set_schedule(state_directory: Path, volume: str, schedule: DrillSchedule | None) -> None:
    """Durable on return; None: no more. Raises OSError, ValueError, Untrusted."""
    others = [each for each in read_schedules(state_directory) if each.volume != volume]
    kept = sorted([*others, *([schedule] if schedule else [])], key=lambda each: each.volume)
    write_document(_path(state_directory), _Schedules(tuple(kept)))


@dataclass(frozen=True)
class _Schedules:
    schedules: tuple[DrillSchedule, ...] = ()


def _path(state_directory: Path) -> Path:
    return state_directory / "drills" / "schedules.json"
