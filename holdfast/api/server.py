"""The HTTP server under an application: its bounds, and what it tells strangers of itself."""

from __future__ import annotations

import asyncio
import logging
import socket

import uvicorn
from starlette.types import ASGIApp

from holdfast.api.bounds import Bounded
from holdfast.api.connections import KnownPeer, Seats
from holdfast.api.limits import MOST_HEADER_BYTES, ApiLimits
from holdfast.api.network import ByNetwork, Network, StrangersPlace

_BACKLOG = 128
"""Connections that wait to be accepted; the kernel lets others wait to connect."""


class BoundedServer(uvicorn.Server):
    """uvicorn's; also by network, where there is one."""

    def __init__(
        self, configuration: uvicorn.Config, network: Network | None, of_tokens: Seats
    ) -> None:
        super().__init__(configuration)
        self._network = network
        self._of_tokens = of_tokens
        self._accepting: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await super().startup(sockets)
        if self._network is not None:
            self._accepting = asyncio.create_task(self._network.serve(self._connection))
            self._accepting.add_done_callback(self._ended)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nobody more, end what goes on."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        await super().shutdown(sockets)

    def _connection(self, network: Network, place: StrangersPlace) -> ByNetwork:
        return ByNetwork(
            network,
            place,
            self._of_tokens,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    def _ended(self, accepting: asyncio.Task[None]) -> None:
        """A mistake of ours there is none of those who come by the socket, but one of the whole:
        end, so that whoever sees to us begins us again."""
        if not accepting.cancelled() and accepting.exception() is not None:
            logging.getLogger(__name__).error(
                "a mistake in Holdfast itself", exc_info=accepting.exception()
            )
            self.should_exit = True


def bounded_server(
    application: ASGIApp,
    limits: ApiLimits,
    connections: Seats,
    end_seconds: int,
    network: Network | None = None,
) -> BoundedServer:
    """What answers, of one event loop. `end_seconds`: for answers that are under way when it is
    told to end; streams never end by themselves. `network`: who listens by TCP."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # strangers shall fill no log
    configuration = uvicorn.Config(
        Bounded(application, limits, connections),
        http=KnownPeer,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        timeout_graceful_shutdown=end_seconds,
    )
    of_tokens = Seats(limits.connections, limits.connections_of_a_user)
    return BoundedServer(configuration, network, of_tokens)
