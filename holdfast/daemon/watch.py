"""The loop: look at every volume, decide what is to be said, write it down, deliver it.

Owns that nothing which is hung stops it: each look at a volume and each delivery has its own limit.
Killed anywhere, the next one goes on.
"""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

from holdfast.errors import HoldfastError
from holdfast.model.trouble import Trouble, troubles_of
from holdfast.policy.alerting import Saying, decide
from holdfast.policy.memory import (
    GIVEN_UP_SECONDS,
    LONGEST_WAIT_SECONDS,
    Letter,
    Post,
    read_destinations,
    read_post,
    write_post,
)
from holdfast.policy.message import Message
from holdfast.policy.notifications import deliver
from holdfast.service import Holdfast

_log = logging.getLogger(__name__)


class Watch:
    """One daemon's life; for one thread."""

    def __init__(self, holdfast: Holdfast) -> None:
        self._holdfast = holdfast
        self._state = holdfast.settings.state_directory
        self._host = socket.gethostname()
        self._post = self._last_post()
        self._failed = ""

    def go_on(self, interval_seconds: float) -> None:
        """Look again and again; returns never, but for KeyboardInterrupt."""
        while True:
            began = time.monotonic()
            try:
                self.look()
            except (HoldfastError, OSError, ValueError) as error:
                self._say_once(f"nobody was told anything: {error}")
            time.sleep(max(0.0, began + interval_seconds - time.monotonic()))

    def look(self) -> None:
        """Look at every volume once, and deliver what is due.

        What is decided is durable before it is sent. Raises HoldfastError, OSError, ValueError when
        it cannot be read who is to be told.
        """
        troubles = self._troubles()
        urls = read_destinations(self._state)
        now = time.time()
        standing, said = decide(self._post.standing, troubles, now)
        for saying in said:
            _log.warning("%s: %s: %s", saying.standing.volume, saying.kind, saying.standing.words)
        fresh = [Letter(self._message(saying, now), url) for saying in said for url in urls]
        waiting = [each for each in self._post.letters if each.url in urls]
        self._keep(Post(standing, (*waiting, *fresh)))
        self._deliver()

    def _troubles(self) -> list[Trouble]:
        """What is wrong now; where that cannot be found out, what was, and that."""
        try:
            reports = self._holdfast.status()
        except (HoldfastError, OSError) as error:
            known = (each for each in self._post.standing if each.volume and not each.over)
            before = [Trouble(each.volume, each.words, each.mend, each.about) for each in known]
            words = f"its volumes cannot be looked at: {error}"
            return [*before, Trouble("", words, "holdfast doctor", "looking")]
        return [trouble for report in reports for trouble in troubles_of(report)]

    def _message(self, saying: Saying, now: float) -> Message:
        about = saying.standing
        return Message(
            str(uuid.uuid4()),
            saying.kind,
            about.volume,
            about.words,
            about.mend,
            about.since,
            now,
            self._host,
        )

    def _deliver(self) -> None:
        """Try what is due, oldest first; while one waits, so do later ones of its destination."""
        waiting: set[str] = set()
        for letter in self._post.letters:
            now = time.time()
            if letter.url in waiting or not _is_due(letter, now):
                waiting.add(letter.url)
                continue
            if now - letter.message.at > GIVEN_UP_SECONDS:
                _log.error("%s was not told in a week: %s", letter.url, letter.message.subject)
                self._replace(letter, ())
                continue
            try:
                deliver(letter.url, letter.message)
                self._replace(letter, ())
            except HoldfastError as error:
                waiting.add(letter.url)
                _log.warning("%s: %s", letter.message.subject, error.message)
                self._replace(letter, (letter.failed(error.message, now),))

    def _replace(self, letter: Letter, by: Sequence[Letter]) -> None:
        at = self._post.letters.index(letter)
        letters = (*self._post.letters[:at], *by, *self._post.letters[at + 1 :])
        self._keep(replace(self._post, letters=letters))

    def _keep(self, post: Post) -> None:
        """Write it down; on a disk that is full somebody is told all the same, twice perhaps."""
        if post == self._post:
            return
        self._post = post
        try:
            write_post(self._state, post)
        except OSError as error:
            self._say_once(f"what is said cannot be written down: {error}")

    def _last_post(self) -> Post:
        try:
            return read_post(self._state)
        except (OSError, ValueError) as error:
            _log.error("what was said before is not known, and is said again: %s", error)
            return Post()

    def _say_once(self, words: str) -> None:
        if words != self._failed:
            _log.error("%s", words)
        self._failed = words


def _is_due(letter: Letter, now: float) -> bool:
    """Also when the clock was set back: no wait is longer than the longest."""
    return not 0 < letter.due - now <= LONGEST_WAIT_SECONDS
