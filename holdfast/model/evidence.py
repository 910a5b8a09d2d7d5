"""What a source of evidence has seen of a volume, before anybody judges it. Pure."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass


@dataclass(frozen=True)
class Evidence:
    """One thing that was seen. Strings may hold what strangers chose."""

    volume: str
    about: str
    """The cause, as of a Trouble: those with the same become one."""
    words: str
    mend: str
    grave: bool = False
    """Something fails already, rather than: it soon may."""
    source: str = ""
    """Who saw it: `canary`, `kernel log`, `mount table`."""
