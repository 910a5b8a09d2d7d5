"""Who is at the other end of a connection, and how many connections there may be.

Invariant: who asks is what the kernel says of whoever connected (SO_PEERCRED), never what a request
says. One user leaves room for the others; root's room is its own.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from holdfast.api.limits import ApiLimits
from holdfast.late_dataclass import dataclass

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)


@dataclass(frozen=True)
class Peer:
    """A process that has connected, as it was then."""

    pid: int
    uid: int
    gid: int

    @property
    def is_root(self) -> bool:
        """Whether it may change something."""
        return self.uid == 0


class Seats:
    """Places that are taken for some time: connections, streams. For one thread."""

    def __init__(self, most: int, most_of_a_user: int) -> None:
        """So many for root alone, and for all others together."""
        self._most = most
        self._most_of_a_user = most_of_a_user
        self._taken: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    def take(self, uid: int) -> bool:
        """Whether there was one left; it is taken then."""
        others = len(self) - self._taken[0]
        if uid == 0:
            has_room = self._taken[0] < self._most
        else:
            has_room = others < self._most and self._taken[uid] < self._most_of_a_user
        if has_room:
            self._taken[uid] += 1
        return has_room

    def leave(self, uid: int) -> None:
        """The place is free again."""
        self._taken[uid] -= 1
        self._taken += Counter()  # who has none is forgotten

    @contextmanager
    def taken(self, uid: int) -> Iterator[bool]:
        """As `take`, for the block."""
        has_one = self.take(uid)
        try:
            yield has_one
        finally:
            if has_one:
                self.leave(uid)


class WithPlaces(Protocol):
    """What the protocol knows of the application."""

    limits: ApiLimits
    connections: Seats


def peer_of(connection: socket.socket) -> Peer:
    """Who has connected. Raises OSError."""
    value = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(value))


class KnownPeer(H11Protocol):
    """uvicorn's protocol; requests find in their state whose they are.

    A connection on which no request is begun, or whose end nobody reads, is ended. What is asked
    goes on for as long as it takes.
    """

    peer: Peer | None = None
    """None: refused."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse it, or note whose it is."""
        super().connection_made(transport)
        bounded = cast(WithPlaces, self.config.app)
        self._seats = bounded.connections
        self._idle_at: tuple[object, bool] = self, False
        """The request that was answered last at the last look; ourselves: it was not idle then."""
        try:
            peer = peer_of(transport.get_extra_info("socket"))
        except OSError:  # it has gone
            transport.abort()
            return
        if not self._seats.take(peer.uid):
            transport.abort()
            return
        self.peer = peer
        self.app_state = {**self.app_state, "peer": peer, "abort": transport.abort}
        self._wait_seconds = bounded.limits.request_seconds
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free its place."""
        if self.peer is not None:
            self._seats.leave(self.peer.uid)
            self._look.cancel()
            self.peer = None
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._look = self.loop.call_later(self._wait_seconds, self._end_idle)

    def _end_idle(self) -> None:
        """End it when nothing has happened since the last look."""
        is_closing = self.transport.is_closing()
        is_idle = is_closing or self.cycle is None or self.cycle.response_complete
        now: tuple[object, bool] = (self.cycle, is_closing)
        if is_idle and now == self._idle_at:
            self.transport.abort()
            return
        self._idle_at = now if is_idle else (self, False)
        self._look_again()
