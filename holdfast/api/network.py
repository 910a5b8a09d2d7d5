"""By TCP: who is let in, how many at a time, and for how long without a token.

Invariant: nobody who has shown no token of this host keeps anybody waiting who has, or who comes by
the socket. Places are counted before the first byte is read, and a stranger's stays taken for a
while after its end: so guesses of tokens, and what a handshake costs, come at a bounded rate.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from holdfast.api.certificate import Certificate
from holdfast.api.connections import Seats, TimedConnection, WithPlaces
from holdfast.api.known_tokens import KnownTokens
from holdfast.api.rights import Caller, caller_by_token
from holdfast.errors import HoldfastError, MissingRights, TooMany
from holdfast.service.api_tokens import ApiToken

Headers = Sequence[tuple[bytes, bytes]]

STRANGERS = 64
STRANGERS_OF_AN_ADDRESS = 16
"""Connections that have shown no token yet: a handshake and a request take some milliseconds."""

STAYS_SECONDS = 1.0
"""That a place stays taken after the end of a connection that has shown none: so there are as many
wrong tokens in a second as there are places, and handshakes."""

HANDSHAKE_SECONDS = 10.0
"""As long as a request may take."""

GOODBYE_SECONDS = 5.0
"""For the end of TLS, of one who does not answer any more."""

LOOK_SECONDS = 5.0
"""Between looks at tokens that were revoked, and at the certificate."""

_LOG_SECONDS = 60.0
"""Between lines of the log on strangers, who shall not fill it."""

_BACKLOG = 128
_WRITE_BYTES = 64 << 10
"""Unread by whoever asked, before sending waits: as by the socket. TLS would keep eight times
that."""

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_OURS = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK)
_NO_ROOM_SECONDS = 1.0
"""As asyncio waits before it accepts again."""

_log = logging.getLogger(__name__)


class Network:
    """One listener. For one event loop."""

    def __init__(
        self, listener: socket.socket, certificate: Certificate | None, tokens: KnownTokens
    ) -> None:
        """`certificate`: None: no TLS, for a listener at a loopback address only."""
        self._listener = listener
        self._certificate = certificate
        self.tokens = tokens
        self.strangers = Strangers()
        self._connections: set[ByNetwork] = set()
        self._shaking: set[asyncio.Task[None]] = set()

    async def serve(self, make: Callable[[Network, StrangersPlace], ByNetwork]) -> None:
        """Accept until it is cancelled."""
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look())
                while True:
                    await self.strangers.has_room.wait()
                    try:
                        line, address = await loop.sock_accept(self._listener)
                    except OSError as error:
                        if error.errno in _OURS:
                            raise
                        # Who wanted to connect has gone, or there is no room for more.
                        await asyncio.sleep(_NO_ROOM_SECONDS if error.errno in _NO_ROOM else 0)
                        continue
                    place = self.strangers.take(address[0])
                    if place is None:
                        line.close()
                        continue
                    task = asyncio.create_task(self._shake_hands(line, place, make))
                    self._shaking.add(task)
                    task.add_done_callback(self._shaking.discard)
        finally:
            self._listener.close()
            for task in self._shaking:
                task.cancel()

    async def _shake_hands(
        self,
        line: socket.socket,
        place: StrangersPlace,
        make: Callable[[Network, StrangersPlace], ByNetwork],
    ) -> None:
        """Until the connection has begun, or will not."""
        timed = {} if self._certificate is None else _TIMES
        context = None if self._certificate is None else self._certificate.context
        try:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(
                partial(make, self, place), line, ssl=context, **timed
            )
        except OSError:  # no TLS, none of ours, too slow, gone; ssl.SSLError is one
            line.close()
            place.leave()
        except BaseException:
            line.close()
            place.leave()
            raise

    def entered(self, connection: ByNetwork) -> None:
        """It goes on until `left`."""
        self._connections.add(connection)

    def left(self, connection: ByNetwork) -> None:
        """It has ended."""
        self._connections.discard(connection)

    async def _look(self) -> None:
        """End what was begun with tokens that count no longer; take up a new certificate."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.tokens.refresh()
                if self._certificate is not None:
                    await asyncio.to_thread(self._certificate.renew)
            except HoldfastError as error:
                _log.error("%s %s", error.message, error.mend)
            for connection in tuple(self._connections):
                connection.end_without_token()


_TIMES = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": GOODBYE_SECONDS}


class Strangers:
    """Places of those who have shown no token yet. For one event loop."""

    def __init__(self) -> None:
        self._seats = Seats(STRANGERS, STRANGERS_OF_AN_ADDRESS)
        self.has_room = asyncio.Event()
        self.has_room.set()
        self._told = -_LOG_SECONDS
        self._wrong: Counter[str] = Counter()
        """Who has shown what was no token since the log had its last line."""

    def __len__(self) -> int:
        return len(self._seats)

    def take(self, address: str) -> StrangersPlace | None:
        """A place for a connection from there; None: there is none."""
        who = whose(address)
        if not self._seats.take(who):
            return None
        self._count()
        return StrangersPlace(self, who)

    def leave(self, who: str) -> None:
        """A place is free."""
        self._seats.leave(who)
        self._count()

    def tell_wrong(self, who: str) -> None:
        """Somebody has shown what is no token."""
        if who in self._wrong or len(self._wrong) < STRANGERS:
            self._wrong[who] += 1
        if time.monotonic() - self._told >= _LOG_SECONDS:
            self._told = time.monotonic()
            words = ", ".join(f"{each} ({count})" for each, count in self._wrong.items())
            _log.warning("no token, or a wrong one, was shown from %s", words)
            self._wrong.clear()

    def _count(self) -> None:
        if len(self._seats) < STRANGERS:
            self.has_room.set()
        else:
            self.has_room.clear()


class StrangersPlace:
    """One connection's, until it has shown a token, or some time after its end."""

    def __init__(self, strangers: Strangers, who: str) -> None:
        self._strangers = strangers
        self.who = who
        self._is_taken = True

    def leave_at_once(self) -> None:
        """It is no stranger's. Idempotent."""
        if self._is_taken:
            self._is_taken = False
            self._strangers.leave(self.who)

    def leave(self) -> None:
        """A stranger's has ended. Idempotent."""
        if self._is_taken:
            self._is_taken = False
            loop = asyncio.get_running_loop()
            loop.call_later(STAYS_SECONDS, self._strangers.leave, self.who)

    def tell_wrong(self) -> None:
        """It has shown what is no token."""
        self._strangers.tell_wrong(self.who)


def whose(address: str) -> str:
    """Who is counted as one: an address; this host; of IPv6 a network, as one host has it."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return "this host"
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


class ByNetwork(TimedConnection):
    """A connection; requests find in their state by what they are admitted."""

    def __init__(self, network: Network, place: StrangersPlace, seats: Seats, **words: Any) -> None:
        super().__init__(**words)
        self._network = network
        self._place = place
        self._seats = seats
        """Of those who have shown a token."""
        self._token: ApiToken | None = None

    def entered(self, bounded: WithPlaces) -> dict[str, Any] | None:
        """Its place was taken before."""
        self.transport.set_write_buffer_limits(_WRITE_BYTES)
        self._network.entered(self)
        return {"admit": self._admit}

    def left(self) -> None:
        """The place it has had last is free."""
        self._network.left(self)
        self._place.leave()
        if self._token is not None:
            self._seats.leave(caller_by_token(self._token).seat)
            self._token = None

    def end_without_token(self) -> None:
        """When what it has shown counts no longer, what is answered ends, too."""
        if self._token is not None and not self._network.tokens.still(self._token):
            self.transport.abort()

    async def _admit(self, headers: Headers) -> Caller:
        """Who asks. Raises MissingRights, TooMany, and what keeps tokens from being read."""
        try:
            token = await self._network.tokens.shown(headers)
        except MissingRights:
            self._place.tell_wrong()
            raise
        caller = caller_by_token(token)
        if self._look is None:
            raise TooMany("the connection has ended", "Ask again.")
        if self._token is None or self._token.id != token.id:
            if not self._seats.take(caller.seat):
                raise TooMany("too many have connected with this token", "Close some of these.")
            if self._token is not None:
                self._seats.leave(caller_by_token(self._token).seat)
            self._place.leave_at_once()
        self._token = token
        return caller
