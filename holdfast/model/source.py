"""What is known of contents before they are looked at. Values."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding


@dataclass(frozen=True)
class Source:
    """Contents that are to take the place of a volume's present ones, beside where they lie."""

    words: str = ""
    """What they are, for people; empty: where they lie says it."""
    is_to_come: bool = False
    """They are not there yet: what is named stands in for them, and has a log to be replayed."""
    findings: tuple[Finding, ...] = ()
    """What is to be told of them, before and afterwards."""
    stamp: tuple[int, int, int] | None = None
    """Of an image that was made for this: inode, size in bytes, time of change in ns. None: they
    are taken as they are found."""
    history: str = ""
    """Where a history is begun afterwards; empty: nowhere."""


NOTHING_KNOWN = Source()
