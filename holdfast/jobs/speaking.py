"""The job's side of the socket to whoever began it: one JSON object a line.

Invariant: the operation never waits for the listener, who may be slow, gone, or wait for somebody
whom the operation has stopped. An event that finds no room is lost; the end never is. Must never be
shared: forked children inherit the descriptor, and have nothing to say.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

from holdfast.jobs.ends import End, end_as_json
from holdfast.model.bounded import MOST_BYTES, read_object
from holdfast.model.event import Event, Progressed, event_as_json

LEAST_PERCENT = 0.1
"""Steps of a percentage that are told; a bar on a wide terminal has as many."""

_READ_BYTES = 1 << 16


class Speaking:
    """The job's side of the line to whoever began it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._kept = b""
        """The rest of a line that was begun."""
        self._percent = -LEAST_PERCENT

    def hear(self) -> dict[str, Any]:
        """What whoever began the job asks for. Blocks. Raises ValueError: it cannot be read."""
        text = b""
        while not text.endswith(b"\n") and len(text) <= MOST_BYTES:
            more = self._end.recv(_READ_BYTES)
            if not more:
                break
            text += more
        return read_object(text)

    def tell(self, event: Event) -> None:
        """Say this, if there is room for it. Never blocks, never fails."""
        if isinstance(event, Progressed):
            if 0 <= event.percent - self._percent < LEAST_PERCENT and event.percent < 100:
                return
            self._percent = event.percent
        if self._send_kept():
            self._kept = _line(event_as_json(event))
            self._send_kept()

    def end(self, end: End) -> None:
        """Say how it ended. Blocks while a listener who is there does not read."""
        self._end.setblocking(True)
        with suppress(OSError):  # nobody listens any more
            self._end.sendall(self._kept + _line(end_as_json(end)))
        self._end.close()

    def _send_kept(self) -> bool:
        """Whether everything is said."""
        try:
            while self._kept:
                sent = self._end.send(self._kept, socket.MSG_DONTWAIT)
                self._kept = self._kept[sent:]
        except BlockingIOError:
            return False
        except OSError:
            self._kept = b""  # nobody listens any more
        return True


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"
