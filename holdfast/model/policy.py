"""What may happen to a volume while nobody is there, and what became of it the last time.

Values only, and which of them go together.
"""

from __future__ import annotations

from enum import StrEnum

from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.model.plan import Cause
from holdfast.model.quiet_hours import QuietHours


class OnLoss(StrEnum):
    """What is done when a volume's storage is lost."""

    HOLD = "hold"
    """Nothing, but for what its gate does, if it has one: somebody is told."""
    RESTORE = "restore"
    """Contents that the policy names are put in place, under its users; where there is a gate, a
    copy takes the place of its legs."""


class OnWorse(StrEnum):
    """What is done when a leg gets worse, and serves still."""

    TELL = "tell"
    REPLACE = "replace"
    """A spare takes its place before it fails."""


LOSSES = (Cause.DEAD_MOUNT, Cause.READ_ONLY, Cause.HANG)
"""Causes that can count as a loss: each is judged by asking the mount itself, at any time."""

LONGEST_AFTER_SECONDS = 86400.0
LONGEST_DEADLINE_SECONDS = 3600.0
"""Everybody may stand still for so long. An hour is a typing mistake for nearly everybody."""


@dataclass(frozen=True)
class Policy:
    """What may happen unattended. Times in seconds."""

    on_loss: OnLoss = OnLoss.HOLD
    source: str = ""
    """Container that the contents come from; empty: none, and of a volume with a gate its newest
    copy."""
    target: str = ""
    """Container that they are copied to; empty: an image beside the present one."""
    causes: tuple[Cause, ...] = (Cause.DEAD_MOUNT, Cause.READ_ONLY)
    """What counts as a loss. Not a hang: storage that hangs mostly comes back, with everything."""
    after_seconds: float = 30.0
    """How long it must have been lost without a break: cables are plugged in again."""
    oldest_seconds: float = 48 * 3600.0
    """Age of the source beyond which it is not taken: a nightly copy that failed once. 0: any."""
    deadline_seconds: float = 60.0
    """When every process runs again, whatever has happened."""
    pause_seconds: float = 30.0
    """Longest pause that may be predicted."""
    on_worse: OnWorse = OnWorse.TELL
    """Of a volume with a gate."""
    quiet: str = ""
    """As `QuietHours.text`."""
    quiet_zone: str = ""

    def __post_init__(self) -> None:
        """Raise InvalidOption for what does not go together."""
        if self.source and self.source == self.target:
            raise InvalidOption(
                f"{self.source} cannot be both where contents come from and where they are put",
                "Name another container with --to.",
            )
        if not self.causes or not set(self.causes) <= set(LOSSES):
            raise InvalidOption(
                f"{', '.join(self.causes) or 'nothing'} cannot be what counts as a loss",
                f"Use --cause with {', '.join(LOSSES)}.",
            )
        QuietHours(self.quiet, self.quiet_zone)
        _check("--after", self.after_seconds, 0.0, LONGEST_AFTER_SECONDS)
        _check("--oldest", self.oldest_seconds, 0.0, 366 * 86400.0)
        _check("--deadline", self.deadline_seconds, 1.0, LONGEST_DEADLINE_SECONDS)
        _check("--pause", self.pause_seconds, 0.1, self.deadline_seconds)

    @property
    def quiet_hours(self) -> QuietHours:
        """In which nothing that is not urgent happens by itself, and nobody is told of it."""
        return QuietHours(self.quiet, self.quiet_zone)


def _check(option: str, seconds: float, least: float, most: float) -> None:
    if not least <= seconds <= most:
        raise InvalidOption(
            f"{option} cannot be {seconds:g} s", f"Use {least:g} s to {most:g} s for it."
        )


class AttemptState(StrEnum):
    """How far an attempt to restore a volume unattended has come."""

    RUNNING = "running"
    """It has begun. With nobody at work on the volume: whoever began it died."""
    DONE = "done"
    FAILED = "failed"
    """Refused, or undone: `words` say why."""
    DIED = "died"
    """Its process did, and what it had begun was undone."""


@dataclass(frozen=True)
class Attempt:
    """The last attempt to restore a volume unattended since its policy was set."""

    id: str
    """Of the restoration, and of its receipt."""
    number: int
    """The first one is 1."""
    began: float
    """Unix time, seconds."""
    state: AttemptState = AttemptState.RUNNING
    ended: float = 0.0
    """Unix time, seconds; 0: not yet."""
    words: str = ""
    mend: str = ""


@dataclass(frozen=True)
class PolicyStanding:
    """A volume's policy, and what came of it since it was set."""

    policy: Policy = Policy()
    attempt: Attempt | None = None
