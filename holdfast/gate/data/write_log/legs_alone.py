"""What a log says of a history where none is kept: the legs are all that there is."""

from __future__ import annotations


class LegsAlone:
    """Nobody waits for anything but the legs."""

    @property
    def shown(self) -> dict[str, object]:
        """Nothing besides."""
        return {}

    def ask_kept(self) -> int:
        """Nothing but the legs."""
        return 0

    def wait_kept(self, position: int, seconds: float) -> bool:
        """At once."""
        return True

    def is_late(self) -> None:
        """Never."""

    def has_kept(self, position: int) -> bool:
        """Nothing but the legs."""
        return True
