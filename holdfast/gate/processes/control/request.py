"""What a control connection may ask for: one line of JSON, bounded before any of it is used.

Whoever connects is a stranger until the kernel has said that it is root, and what it says is data
even then. Invariant: a verb gets exactly the arguments it knows, of the type and size it expects;
everything else is refused in words. Pure, except for the reading.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from holdfast.errors import InvalidOption
from holdfast.model.bounded import MOST_NUMBER, read_object
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.model.volume import JournalFailurePolicy

REQUEST_BYTES = 1 << 16
READ_SECONDS = 5.0
"""Time for the whole line, however slowly it arrives."""

LONGEST_TEXT = 4096 + 64
"""A path (PATH_MAX) with the kind of a container before it."""

LARGEST_DESCRIPTOR_BYTES = 8 << 10
"""It is repeated in every superblock, a slot of which has 16 KiB."""

LONGEST_SECONDS = 3.2e9
"""A century."""


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and "\0" not in value


def _seconds(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= LONGEST_SECONDS  # type: ignore[operator]  # NaN is neither


def _size(value: object) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAXIMUM_VOLUME_BYTES
    )


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_NUMBER


def _directory(value: object) -> bool:
    return isinstance(value, str) and _text(value) and value.startswith("/")


def _failure_policy(value: object) -> bool:
    return isinstance(value, str) and value in tuple(JournalFailurePolicy)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _descriptor(value: object) -> bool:
    return isinstance(value, dict) and len(json.dumps(value)) <= LARGEST_DESCRIPTOR_BYTES


def _or_nothing(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


VERBS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "show": {},
    "look": {},
    "describe": {},
    "hold": {"seconds": _or_nothing(_seconds), "reason": _text},
    "release": {},
    "add_leg": {"url": _text, "spare": _flag},
    "remove_leg": {"leg": _text},
    "replace_leg": {"leg": _text, "url": _text},
    "promote": {"url": _text, "position": _count},
    "join_copy": {"url": _text, "position": _count},
    "resize": {"size_bytes": _size},
    "fault": {"kind": _text, "leg": _or_nothing(_text), "seconds": _seconds},
    "configure": {
        "descriptor": _or_nothing(_descriptor),
        "hold_timeout_seconds": _or_nothing(_seconds),
    },
    "history": {
        "directory": _or_nothing(_directory),
        "keep_seconds": _count,
        "limit_bytes": _count,
        "on_failure": _failure_policy,
    },
    "stop": {},
}
"""Every verb of the gate, and what each of its arguments must be."""


def parse(line: bytes) -> tuple[str, dict[str, Any]]:
    """The verb and its arguments. Raises InvalidOption for anything else."""
    try:
        values = read_object(line, REQUEST_BYTES)
    except ValueError as error:
        raise InvalidOption(f"the gate expects an object, as one line of JSON: {error}") from error
    verb = values.pop("verb", None)
    known = VERBS.get(verb) if isinstance(verb, str) else None
    if known is None:
        raise InvalidOption("the gate does not know this verb")
    for name, value in values.items():
        if name not in known:
            raise InvalidOption(f"{verb} has no argument {name[:40]!r}")
        if not known[name](value):
            raise InvalidOption(f"{verb} cannot take this value of {name}")
    return str(verb), values


def read_line(connection: socket.socket) -> bytes:
    """One line. Raises TimeoutError, InvalidOption when it is too long, OSError."""
    deadline = monotonic() + READ_SECONDS
    data = b""
    while not data.endswith(b"\n"):
        if len(data) >= REQUEST_BYTES:
            raise InvalidOption("the request is too long")
        remaining_seconds = deadline - monotonic()
        if remaining_seconds <= 0:
            raise TimeoutError("the request did not end in time")
        connection.settimeout(remaining_seconds)
        more = connection.recv(REQUEST_BYTES - len(data))
        if not more:
            break
        data += more
    return data
