"""A program of the administrator's is run; the message is on its standard input, as JSON."""

from __future__ import annotations

import json

from holdfast.policy.message import Message
from holdfast.policy.notifications.program import run_program
from holdfast.system.files.programs import words_of


class CommandNotification:
    """`command:/usr/local/bin/page --team storage`: no shell, a short environment."""

    scheme = "command"
    example = "command:/usr/local/bin/page"

    def check(self, rest: str) -> None:
        """Raise InvalidOption unless it is an absolute path, with arguments perhaps."""
        words_of(rest, self.example)

    def place(self, rest: str) -> str:
        """The program; its arguments may be secrets."""
        return words_of(rest, self.example)[0]

    def send(self, rest: str, message: Message) -> None:
        """Run it; it has taken the message when it ends with status 0.

        Only a program that is root's, as everything above it, is run: it runs as root.
        """
        run_program(
            words_of(rest, self.example),
            json.dumps(message.as_json()).encode(),
            HOLDFAST_ALERT_KIND=message.kind,
            HOLDFAST_ALERT_VOLUME=message.volume,
            HOLDFAST_ALERT_SUBJECT=message.subject,
        )
