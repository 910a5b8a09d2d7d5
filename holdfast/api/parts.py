"""What the routes have in common: one of each, for one event loop."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.requests import Request

from holdfast.api.begun_jobs import BegunJobs
from holdfast.api.connections import Seats
from holdfast.api.limits import ApiLimits
from holdfast.api.lookers import Lookers
from holdfast.api.rights import caller_of

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Api:
    """Who looks, what was begun, who is connected and who listens."""

    def __init__(self, limits: ApiLimits, connections: Seats) -> None:
        self.connections = connections
        self.lookers = Lookers()
        self.jobs = BegunJobs()
        self.streams = Seats(limits.streams, limits.streams_of_a_user)

    async def ask(self, request: Request, question: str, about: Mapping[str, Any] = NOTHING) -> Any:
        """What is answered to whoever makes that request. Raises as `Lookers.ask`."""
        return await self.lookers.ask(question, about, seat=caller_of(request).seat)
