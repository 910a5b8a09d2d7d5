"""The process of the dashboard: where it listens, as whom, until when.

One process, which may be killed at any time: it knows nothing that is not in the API. Whoever was
let in needs the new address after the next start.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from holdfast.api.connections import Seats
from holdfast.api.limits import ApiLimits
from holdfast.api.server import bounded_server
from holdfast.client import AsyncClient
from holdfast.dashboard.application import make_application
from holdfast.dashboard.asking import Asking
from holdfast.dashboard.door import Door, new_base
from holdfast.dashboard.templates import Templates
from holdfast.errors import HostCannot, InvalidOption
from holdfast.late_dataclass import dataclass

LIMITS = ApiLimits(body_bytes=0, connections=0, connections_of_a_user=128)
"""Nothing is sent to it. By TCP the kernel does not say who connects: all are one user, who is not
root; each page has one stream, and some connections for a moment."""

_END_SECONDS = 1
"""For answers that are under way when it is told to end; streams never end by themselves."""


@dataclass(frozen=True)
class Address:
    """Where it listens."""

    host: str
    """Of IP, without brackets."""
    port: int
    """0: any that is free."""

    @property
    def is_beyond(self) -> bool:
        """Whether other hosts could connect."""
        return not ipaddress.ip_address(self.host).is_loopback


def read_address(text: str) -> Address:
    """`127.0.0.1:8520`, `[::1]:8520`, `:8520`, `8520`. Raises InvalidOption."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        number = int(port) if port.isascii() and port.isdecimal() else -1
        ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        if not 0 <= number <= 65535:
            raise ValueError
    except ValueError as error:
        raise InvalidOption(
            f"{text!r} is no address to listen at", "Write ADDRESS:PORT, such as 127.0.0.1:8520."
        ) from error
    return Address("127.0.0.1" if host == "localhost" else host, number)


def listening(address: Address) -> socket.socket:
    """Taken, and to be closed. Raises HostCannot."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
    except OSError as error:
        made.close()
        raise HostCannot(
            f"{address.host}:{address.port}: {error.strerror}",
            "Listen at another port: holdfast dashboard --listen 127.0.0.1:PORT.",
        ) from error
    return made


class Dashboard:
    """Everything that is needed to serve, read while it still can be. For one event loop."""

    def __init__(self) -> None:
        """Raises MissingTool."""
        self._client = AsyncClient()
        base = new_base()
        pages = make_application(Asking(self._client), Templates(base), base)
        self._door = Door(pages, base)

    def url(self, listener: socket.socket) -> str:
        """What lets a browser in: to be told to whoever started it, and to nobody else."""
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}/?token={self._door.token}"

    async def warm_up(self) -> None:
        """Ask for something: what this takes is loaded then. Raises what the client raises."""
        async with AsyncClient() as client:
            await client.version()

    def serve(self, listener: socket.socket) -> None:
        """Answer until SIGTERM or SIGINT, which is raised again then. Blocks."""
        asyncio.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        connections = Seats(LIMITS.connections_of_a_user, LIMITS.connections_of_a_user)
        server = bounded_server(self._door, LIMITS, connections, _END_SECONDS)
        try:
            await server.serve(sockets=[listener])
        finally:
            await self._client.close()
