"""What the daemon knows between two looks and two lives: troubles, messages on their way, to whom.

Owns the files in the state directory. Invariant: a message and that it was told are written in one
piece, before it is sent; it is taken out after it has arrived: killed anywhere, it arrives, and in
the worst case twice, with the same id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from holdfast.late_dataclass import dataclass
from holdfast.model.evidence import Evidence
from holdfast.policy.alerting import KnownTrouble
from holdfast.policy.message import Message
from holdfast.system.files.own_document import read_document, write_document

_Kind = TypeVar("_Kind")

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 10.0, 900.0
"""Between attempts: doubled each time, up to a quarter of an hour."""

GIVEN_UP_SECONDS = 7 * 86400.0
"""A message that could not be delivered in a week is told to nobody any more."""

MOST_LETTERS = 1000
"""On their way at once, to all destinations: troubles that come and go while nobody takes them."""

_MOST_ERROR = 500
"""Characters of why an attempt failed: a server may say anything."""

_MOST_BYTES = 32 << 20
"""So many letters of so many characters (`message.cut`), each escaped, have 30 MB."""


@dataclass(frozen=True)
class Letter:
    """A message on its way to one destination."""

    message: Message
    url: str
    tries: int = 0
    due: float = 0.0
    """Unix time in seconds before which it is not tried again."""
    error: str = ""
    """Why the last attempt failed."""
    quiet_about: str = ""
    """The cause of a trouble that may wait until the quiet hours of its volume end; empty: it does
    not wait for them."""

    def failed(self, error: str, now: float) -> Letter:
        """The same after another attempt that failed at `now`."""
        wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(self.tries, 30))
        return replace(self, tries=self.tries + 1, due=now + wait, error=error[:_MOST_ERROR])


def at_once(letters: Iterable[Letter], volume: str, about: str) -> tuple[Letter, ...]:
    """The same, where those of this cause do not wait for the end of quiet hours any more: it is
    grave now, and they arrive before what says so. Pure."""
    return tuple(
        replace(each, quiet_about="")
        if each.quiet_about == about and each.message.volume == volume
        else each
        for each in letters
    )


@dataclass(frozen=True)
class Post:
    """Troubles that are known, letters on their way, and what the daemon's sources see now."""

    standing: tuple[KnownTrouble, ...] = ()
    letters: tuple[Letter, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class _Destinations:
    urls: tuple[str, ...] = ()


def folder_of(state_directory: Path) -> Path:
    """Where both files are."""
    return state_directory / "alerts"


def read_destinations(state_directory: Path) -> tuple[str, ...]:
    """URLs, in the order in which they were added. Raises OSError, ValueError, Untrusted."""
    try:
        return _read(folder_of(state_directory) / "destinations.json", _Destinations).urls
    except FileNotFoundError:
        return ()


def write_destinations(state_directory: Path, urls: tuple[str, ...]) -> None:
    """Durable on return; nobody but root can read it. Raises OSError, Untrusted."""
    write_document(folder_of(state_directory) / "destinations.json", _Destinations(urls))


def read_post(state_directory: Path) -> Post:
    """What is known and on its way. Raises OSError, ValueError, Untrusted."""
    try:
        return _read(folder_of(state_directory) / "post.json", Post)
    except FileNotFoundError:
        return Post()


def write_post(state_directory: Path, post: Post) -> None:
    """Durable on return. Raises OSError, Untrusted."""
    write_document(folder_of(state_directory) / "post.json", post)


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    return read_document(path, kind, _MOST_BYTES, "what is known of alerts")
