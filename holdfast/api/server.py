"""The HTTP server under an application: its bounds, and what it tells strangers of itself."""

from __future__ import annotations

import logging

import uvicorn
from starlette.types import ASGIApp

from holdfast.api.bounds import Bounded
from holdfast.api.connections import KnownPeer, Seats
from holdfast.api.limits import MOST_HEADER_BYTES, ApiLimits

_BACKLOG = 128
"""Connections that wait to be accepted; the kernel lets others wait to connect."""


def bounded_server(
    application: ASGIApp, limits: ApiLimits, connections: Seats, end_seconds: int
) -> uvicorn.Server:
    """What answers, of one event loop. `end_seconds`: for answers that are under way when it is
    told to end; streams never end by themselves."""
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
    return uvicorn.Server(configuration)
