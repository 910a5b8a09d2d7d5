"""What a way of telling somebody has to offer."""

from __future__ import annotations

from typing import Protocol

from holdfast.policy.message import Message

SECONDS = 20.0
"""For one attempt: a mail server that asks others first takes some seconds. Who waits longer is
ended (`deliver` in the package)."""


class Notification(Protocol):
    """One way, told by the scheme of a URL: `SCHEME:REST`."""

    scheme: str
    example: str
    """A URL, for people."""

    def check(self, rest: str) -> None:
        """Raise InvalidOption unless this can be a destination. Asks nobody."""

    def place(self, rest: str) -> str:
        """Where that is, for whoever may not know its secrets."""

    def send(self, rest: str, message: Message) -> None:
        """Tell it; returns when whoever takes it over has it. In a child that may be killed.

        Raises OSError, or NotDelivered.
        """
