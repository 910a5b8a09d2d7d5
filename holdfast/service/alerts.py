"""Who is told when something is wrong with a volume. Reached through `Holdfast.alerts`.

Owns the list of destinations; the daemon reads it at every look. Must never send anything but what
is asked for.
"""

from __future__ import annotations

import socket
import time
import uuid

from holdfast.errors import AlreadyExists, CommandFailed, HoldfastError, InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.policy.memory import Letter, Post, read_destinations, read_post, write_destinations
from holdfast.policy.message import TEST, Message
from holdfast.policy.notifications import check_destination, deliver
from holdfast.service.host import Host
from holdfast.service.rights import need_root

MOST_DESTINATIONS = 20
"""Each is told of each trouble, one after the other."""


@dataclass(frozen=True)
class Destination:
    """Somebody who is told, and what could not be delivered yet."""

    url: str
    waiting: int = 0
    """Messages that the daemon tries to deliver."""
    error: str = ""
    """Why the last attempt of one of them failed."""


@dataclass(frozen=True)
class Tried:
    """How a test message went."""

    url: str
    seconds: float
    error: str = ""
    """Empty: it was taken."""


class Alerts:
    """Destinations of messages on this host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def destinations(self) -> list[Destination]:
        """In the order in which they were added. Raises CommandFailed when the list is damaged."""
        urls, post = self.known()
        return [_destination(url, post.letters) for url in urls]

    def known(self) -> tuple[tuple[str, ...], Post]:
        """Who is told; troubles that the daemon knows of, and messages on their way: none where
        that cannot be read. Raises CommandFailed when the list is damaged."""
        need_root()
        urls = self._urls()
        try:
            return urls, read_post(self._host.settings.state_directory)
        except (OSError, ValueError):
            return urls, Post()

    def add(self, url: str) -> None:
        """Tell this one, too, from the daemon's next look on; durable on return. Asks nobody.

        Raises InvalidOption, AlreadyExists.
        """
        need_root()
        check_destination(url)
        urls = self._urls()
        if url in urls:
            raise AlreadyExists(f"{url} is told already", "holdfast alert list")
        if len(urls) >= MOST_DESTINATIONS:
            words = f"{MOST_DESTINATIONS} destinations are told already"
            raise InvalidOption(words, "Take one away: holdfast alert remove URL.")
        write_destinations(self._host.settings.state_directory, (*urls, url))

    def remove(self, url: str) -> None:
        """Tell this one nothing more; durable on return. Raises InvalidOption: it is not told."""
        need_root()
        urls = self._urls()
        if url not in urls:
            raise InvalidOption(f"{url} is not told", "holdfast alert list names who is.")
        left = tuple(each for each in urls if each != url)
        write_destinations(self._host.settings.state_directory, left)

    def test(self) -> list[Tried]:
        """Send each destination a test message now, one after the other, and say how it went.

        Blocks for 25 s at most for each. Raises InvalidOption when there is none.
        """
        need_root()
        urls = self._urls()
        if not urls:
            raise InvalidOption(
                "nobody is told when something is wrong",
                "holdfast alert add command:/PATH, webhook:URL or mail:ADDRESS.",
            )
        now = time.time()
        host = socket.gethostname()
        message = Message(str(uuid.uuid4()), TEST, "", "a test", "", now, now, host)
        return [_try(url, message) for url in urls]

    def _urls(self) -> tuple[str, ...]:
        try:
            return read_destinations(self._host.settings.state_directory)
        except (OSError, ValueError) as error:
            raise CommandFailed(
                f"the list of those who are told cannot be read: {error}",
                "Remove alerts/destinations.json in the state directory, then: holdfast alert add.",
            ) from error


def _destination(url: str, letters: tuple[Letter, ...]) -> Destination:
    own = [each for each in letters if each.url == url]
    return Destination(url, len(own), next((each.error for each in own if each.error), ""))


def _try(url: str, message: Message) -> Tried:
    began = time.monotonic()
    error = ""
    try:
        deliver(url, message)
    except HoldfastError as found:
        error = found.message
    return Tried(url, time.monotonic() - began, error)
