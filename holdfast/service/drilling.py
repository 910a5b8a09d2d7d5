"""What a drill is asked for: whether a volume could be restored; how it takes failures in use."""

from __future__ import annotations

from holdfast.errors import InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.model.receipt import Receipt
from holdfast.model.volume import check_name
from holdfast.service.requests import DEADLINE_SECONDS, OperationRequest
from holdfast.system.files.programs import words_of

CHECK_SECONDS = 600.0
"""For a command that looks at the contents: a database replays its log in that time."""

LONGEST_CHECK_SECONDS = 86400.0

EXAMPLE = "/usr/local/bin/check-shop"


@dataclass(frozen=True)
class DrillRequest(OperationRequest[Receipt]):
    """A volume of which somebody wants to know whether it could be restored now.

    The receipt says whether; the volume is not touched.
    """

    volume: str
    at: str = ""
    """The moment, as `clone` takes it, of a gated one; empty: now."""
    contents: str = ""
    """Directory or container, as `restore --from` takes it; empty: its history, or what its policy
    names."""
    to: str = ""
    """Where a restoration would put them; empty: as `restore`, or the policy, has it."""
    check: str = ""
    """A program of root's that looks at the contents, with arguments; empty: none."""
    check_seconds: float = CHECK_SECONDS
    image: str = ""
    """URL of the image that is made meanwhile; empty: beside what it is made from."""

    def __post_init__(self) -> None:
        """Raise BadInput for what cannot be."""
        check_name(self.volume)
        if self.at and self.contents:
            raise InvalidOption(
                "a moment and other contents were named", "Give one of --at WHEN and --from SOURCE."
            )
        if not 0 < self.check_seconds <= LONGEST_CHECK_SECONDS:
            raise InvalidOption(
                f"a check cannot have {self.check_seconds:g} s", "Give it a second to a day."
            )
        _ = self.check_words

    @property
    def check_words(self) -> list[str]:
        """The program and its arguments; none: nothing is to be run. Raises InvalidOption."""
        return words_of(self.check, EXAMPLE) if self.check else []


@dataclass(frozen=True)
class LiveDrillRequest(OperationRequest[Receipt]):
    """A volume in use, on which something is to be rehearsed that nothing is lost by: failures of a
    gate; an adopted one is mounted anew from its own storage, under its users."""

    volume: str
    down_to_one_leg: bool = False
    """Whether one of two legs is failed, too: the other one is alone until it is back."""
    deadline_seconds: float = DEADLINE_SECONDS
    """When every process of an adopted one runs again, whatever has happened."""


@dataclass(frozen=True)
class AlertDrillRequest(OperationRequest[Receipt]):
    """A trouble that is made up, to see whether everybody is told, and how fast."""

    volume: str
    """Of which it is told."""
