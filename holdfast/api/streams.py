"""What a job tells, as it happens, for whoever listens: server-sent events.

Invariant: nobody who listens keeps the job, or anybody else, waiting. Who reads too slowly is told
so (`dropped`) in place of what there was no room for, and the stream ends; who comes back with
Last-Event-ID is told what is still known from there on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from holdfast.api.begun_jobs import BegunJob, ToldEvent
from holdfast.api.connections import Seats
from holdfast.api.problems import problem_answer
from holdfast.errors import TooMany

MOST_UNREAD = 256
"""Events for one listener: more than all that a job's past has."""

HEARTBEAT_SECONDS = 15.0
"""Between signs of life, by which it is seen that a listener has gone."""


class EventStream(StreamingResponse):
    """One listener's stream. Takes one of the seats while it lasts, or is refused."""

    def __init__(self, begun: BegunJob, after: int, seats: Seats) -> None:
        super().__init__(
            _events(begun, after),
            media_type="text/event-stream",
            headers={"cache-control": "no-store"},
        )
        self._seats = seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        with self._seats.taken(scope["state"]["caller"].seat) as has_one:
            if has_one:
                await super().__call__(scope, receive, send)
                return
        full = TooMany("too many listen to events", "Close one of these streams.")
        await problem_answer(full)(scope, receive, send)


async def _events(begun: BegunJob, after: int) -> AsyncIterator[str]:
    """What it told beyond that number, then what it tells, until its end."""
    unread: asyncio.Queue[ToldEvent] = asyncio.Queue(MOST_UNREAD)
    is_late = asyncio.Event()

    def hear(told: ToldEvent) -> None:
        try:
            unread.put_nowait(told)
        except asyncio.QueueFull:
            is_late.set()
            begun.listeners.discard(hear)

    for told in begun.told:
        if told.number > after:
            hear(told)
    if not begun.end:
        begun.listeners.add(hear)
    try:
        while not is_late.is_set():
            if begun.end and unread.empty():
                return
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    told = await unread.get()
            except TimeoutError:
                yield ": it goes on\n\n"
                continue
            yield f"id: {told.number}\nevent: {told.kind}\ndata: {told.text}\n\n"
            if told.kind == "end":
                return
        yield 'event: dropped\ndata: {"reason": "too slow"}\n\n'
    finally:
        begun.listeners.discard(hear)
