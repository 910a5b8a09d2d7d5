"""The process of the dashboard: where it listens, as whom, until when.

One process, which may be killed at any time: it knows nothing that is not in the API. Whoever was
let in needs the new address after the next start.
"""

from __future__ import annotations

import asyncio
import socket

from holdfast.api.connections import Seats
from holdfast.api.limits import ApiLimits
from holdfast.api.server import bounded_server
from holdfast.client import AsyncClient
from holdfast.dashboard.application import make_application
from holdfast.dashboard.asking import Asking
from holdfast.dashboard.door import Door, new_base
from holdfast.dashboard.templates import Templates

LIMITS = ApiLimits(body_bytes=0, connections=0, connections_of_a_user=128)
"""Nothing is sent to it. By TCP the kernel does not say who connects: all are one user, who is not
root; each page has one stream, and some connections for a moment."""

_END_SECONDS = 1
"""For answers that are under way when it is told to end; streams never end by themselves."""


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
