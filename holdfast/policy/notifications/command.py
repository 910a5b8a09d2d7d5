"""A program of the administrator's is run; the message is on its standard input, as JSON."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess

from holdfast.errors import InvalidOption, NotDelivered
from holdfast.policy.message import Message
from holdfast.policy.notifications.protocol import SECONDS
from holdfast.system.files.trusted import open_file

_WORDS_CHARACTERS = 300
"""Of what a program said when it failed."""


class CommandNotification:
    """`command:/usr/local/bin/page --team storage`: no shell, a short environment."""

    scheme = "command"
    example = "command:/usr/local/bin/page"

    def check(self, rest: str) -> None:
        """Raise InvalidOption unless it is an absolute path, with arguments perhaps."""
        words = _words(rest)
        if not words or not words[0].startswith("/"):
            raise InvalidOption(
                f"{rest!r} is no program", "Write its absolute path: command:/usr/local/bin/page."
            )

    def send(self, rest: str, message: Message) -> None:
        """Run it; it has taken the message when it ends with status 0.

        Only a program that is root's, as everything above it, is run: it runs as root.
        """
        words = _words(rest)
        os.close(open_file(words[0], os.O_RDONLY))
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOLDFAST_ALERT_KIND": message.kind,
            "HOLDFAST_ALERT_VOLUME": message.volume,
            "HOLDFAST_ALERT_SUBJECT": message.subject,
        }
        text = json.dumps(message.as_json()).encode()
        with subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(text, SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise NotDelivered(f"{words[0]} did not end in {SECONDS:g} s", "") from None
        if process.returncode:
            told = said.decode(errors="replace").strip()[-_WORDS_CHARACTERS:]
            how = f"{words[0]} ended with status {process.returncode}"
            raise NotDelivered(f"{how}: {told}" if told else how, "Run it by hand.")


def _words(rest: str) -> list[str]:
    try:
        return shlex.split(rest)
    except ValueError as error:
        raise InvalidOption(f"{rest!r}: {error}", "Close the quotation.") from error
