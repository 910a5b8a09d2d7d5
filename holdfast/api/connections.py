"""Who is at the other end of a connection, and how many connections there may be.

Invariant: who asks by the socket is what the kernel says of whoever connected (SO_PEERCRED), never
what a request says. One user leaves room for the others; root's room is its own.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from holdfast.api.limits import ApiLimits
from holdfast.api.rights import Caller, caller_by_socket

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)


class Seats:
    """Places that are taken for some time: connections, streams. For one thread."""

    def __init__(self, most: int, most_of_a_user: int) -> None:
        """So many for root alone, and for all others together."""
        self._most = most
        self._most_of_a_user = most_of_a_user
        self._taken: Counter[int | str] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    def take(self, seat: int | str) -> bool:
        """Whether there was one left; it is taken then. `seat`: whose, see `Caller`."""
        others = len(self) - self._taken[0]
        if seat == 0:
            has_room = self._taken[0] < self._most
        else:
            has_room = others < self._most and self._taken[seat] < self._most_of_a_user
        if has_room:
            self._taken[seat] += 1
        return has_room

    def leave(self, seat: int | str) -> None:
        """The place is free again."""
        self._taken[seat] -= 1
        self._taken += Counter()  # who has none is forgotten

    @contextmanager
    def taken(self, seat: int | str) -> Iterator[bool]:
        """As `take`, for the block."""
        has_one = self.take(seat)
        try:
            yield has_one
        finally:
            if has_one:
                self.leave(seat)


class WithPlaces(Protocol):
    """What the protocol knows of the application."""

    limits: ApiLimits
    connections: Seats


def uid_of(connection: socket.socket) -> int:
    """Whose process has connected. Raises OSError."""
    value = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(value)
    return int(uid)


class TimedConnection(H11Protocol):
    """uvicorn's protocol. A connection on which no request is begun, or whose end nobody reads, is
    ended. What is asked goes on for as long as it takes.
    """

    _look: asyncio.TimerHandle | None = None
    """None: refused."""

    def entered(self, bounded: WithPlaces) -> dict[str, Any] | None:
        """What requests find in their state; None: refused. It has a place then."""
        raise NotImplementedError

    def left(self) -> None:
        """Its place is free."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse it, or let it in."""
        super().connection_made(transport)
        bounded = cast(WithPlaces, self.config.app)
        self._idle_at: tuple[object, bool] = self, False
        """The request that was answered last at the last look; ourselves: it was not idle then."""
        state = self.entered(bounded)
        if state is None:
            transport.abort()
            return
        self.app_state = {**self.app_state, **state, "abort": transport.abort}
        self._wait_seconds = bounded.limits.request_seconds
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free its place."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
            self.left()
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


class KnownPeer(TimedConnection):
    """By the socket: requests find in their state whose they are."""

    _caller: Caller

    def entered(self, bounded: WithPlaces) -> dict[str, Any] | None:
        """Ask the kernel."""
        self._seats = bounded.connections
        try:
            self._caller = caller_by_socket(uid_of(self.transport.get_extra_info("socket")))
        except OSError:  # it has gone
            return None
        return {"caller": self._caller} if self._seats.take(self._caller.seat) else None

    def left(self) -> None:
        """Its user has a place more."""
        self._seats.leave(self._caller.seat)
