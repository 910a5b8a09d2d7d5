"""What one can ask of Holdfast so that applications stand still for a while, and go on.

Owns what such a request may say. Changes nothing; gates and watchdogs do it, and end it by
themselves at its deadline, whatever becomes of whoever asked.
"""

from __future__ import annotations

from holdfast.applications.freezers.freezing import Frozen
from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.model.receipt import Receipt
from holdfast.model.volume import VolumeReport, check_name
from holdfast.service.requests import OperationRequest

MOST_REASON_CHARACTERS = 200
"""Two lines of a terminal; status shows it on one."""


@dataclass(frozen=True)
class HoldRequest(OperationRequest[VolumeReport]):
    """A volume whose requests are to wait, so that its applications do, and get no error."""

    volume: str
    seconds: float | None = None
    """Released by itself after that time; None: after the volume's hold time-out."""
    reason: str = "asked for by the administrator"

    def __post_init__(self) -> None:
        """Raise InvalidName, InvalidOption."""
        check_name(self.volume)
        _check_seconds(self.seconds)
        if len(self.reason) > MOST_REASON_CHARACTERS or not self.reason.isprintable():
            raise InvalidOption(
                "the reason is no line of text",
                f"Write {MOST_REASON_CHARACTERS} characters at most, without control characters.",
            )


@dataclass(frozen=True)
class ReleaseRequest(OperationRequest[VolumeReport]):
    """A volume whose withheld requests are to go on."""

    volume: str

    def __post_init__(self) -> None:
        """Raise InvalidName."""
        check_name(self.volume)


@dataclass(frozen=True)
class FreezeRequest(OperationRequest[Frozen]):
    """A volume whose users are to stand still, until a deadline at the latest."""

    volume: str
    seconds: float | None = None
    """None: 60."""
    by: str | None = None
    """hold, cgroup, signal, priority or page-out; None: what fits."""

    def __post_init__(self) -> None:
        """Raise InvalidName, InvalidOption."""
        check_name(self.volume)
        _check_seconds(self.seconds)


@dataclass(frozen=True)
class ThawRequest(OperationRequest[Receipt | None]):
    """A volume whose users are to go on, exactly as they were."""

    volume: str

    def __post_init__(self) -> None:
        """Raise InvalidName."""
        check_name(self.volume)


def _check_seconds(seconds: float | None) -> None:
    if seconds is not None and not seconds > 0:
        raise InvalidOption(f"{seconds:g} s is not longer than zero", "Name a time above zero.")
