"""Programs of the administrator's that are run before and after a point is taken. Values."""

from __future__ import annotations

from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass

LEAST_SECONDS = 1.0
LONGEST_SECONDS = 3600.0
"""A database may be told to flush all it has; who waits longer has forgotten it."""


@dataclass(frozen=True)
class PointHooks:
    """What is run around one point; empty: nothing."""

    before: str = ""
    """A program by its absolute path, with arguments perhaps; no shell."""
    after: str = ""
    seconds: float = 60.0
    """How long each may take."""
    ignores_before: bool = False
    """Whether the point is taken though the one before failed."""

    def __post_init__(self) -> None:
        """Raise InvalidOption for a time that nobody means."""
        if not LEAST_SECONDS <= self.seconds <= LONGEST_SECONDS:
            raise InvalidOption(
                f"a hook cannot be given {self.seconds:g} s",
                f"Give it {LEAST_SECONDS:g} s to {LONGEST_SECONDS:g} s.",
            )


NO_HOOKS = PointHooks()


@dataclass(frozen=True)
class BegunHook:
    """Written down before anything is run: the hook after is owed."""

    id: str
    volume: str
    made: float
    """Unix time in seconds."""
    point: str
    hook: str
    """The one after."""
    seconds: float
