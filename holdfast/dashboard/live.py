"""Streams (server-sent events): the changing part of a page, sent again when it has changed.

Invariant: so many streams at once; who reads too slowly is ended by the bounds of the server, and
nobody else waits for it. What everybody sees is asked of the API once.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import field
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from holdfast.api.connections import Seats
from holdfast.late_dataclass import dataclass

MOST_STREAMS = 48
"""Pages that are looked at at once; hidden ones close theirs."""

HEARTBEAT_SECONDS = 15.0
"""Between signs of life, by which it is seen that nobody looks any more; a page that hears nothing
for longer says so."""

LATE_SECONDS = 3.0
"""Without an answer of the API, after which a page says that it may be old. Storage that hangs is
waited for longer than that: the API has 30 s."""

AGAIN_MS = 10_000
"""After which who found no seat asks again."""

_LINE_END = re.compile("\r\n|[\r\n]")
"""Of the protocol, and no others."""

_ALL = 0
"""For `Seats`, which counts by user: everybody here is one."""


@dataclass(frozen=True)
class PagePart:
    """What a page shows now."""

    html: str
    figures: dict[str, Any] = field(default_factory=dict)
    """For curves; told whether they have changed or not."""
    is_last: bool = False
    """Nothing changes any more."""


class LiveStream(StreamingResponse):
    """One looker's stream. Takes one of the seats while it lasts, or says that there is none."""

    def __init__(
        self, part: Callable[[], Awaitable[PagePart]], every_seconds: float, seats: Seats
    ) -> None:
        super().__init__(_told(part, every_seconds), media_type="text/event-stream")
        self._seats = seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        with self._seats.taken(_ALL) as has_one:
            if not has_one:
                self.body_iterator = _refused()
            await super().__call__(scope, receive, send)


def seats() -> Seats:
    """Of one server."""
    return Seats(MOST_STREAMS, MOST_STREAMS)


async def _told(
    part: Callable[[], Awaitable[PagePart]], every_seconds: float
) -> AsyncIterator[str]:
    clock = asyncio.get_running_loop().time
    sent, sent_at = "", clock()
    while True:
        asked = asyncio.ensure_future(part())
        try:
            while not (await asyncio.wait({asked}, timeout=LATE_SECONDS))[0]:
                sent_at = clock()
                yield event_text("{}", "late")
        finally:
            asked.cancel()  # nobody looks any more
        now = asked.result()
        text = ""
        if now.html != sent:
            text += event_text(now.html)
            sent = now.html
        if now.figures:
            text += event_text(json.dumps(now.figures), "figures")
        if now.is_last:
            yield text + event_text("{}", "end")
            return
        if not text and clock() - sent_at >= HEARTBEAT_SECONDS:
            text = event_text("{}", "beat")
        if text:
            yield text
            sent_at = clock()
        await asyncio.sleep(every_seconds)


async def _refused() -> AsyncIterator[str]:
    """A stream all the same: a page gives up one that is refused, and looks as if it were live."""
    yield f"retry: {AGAIN_MS}\n{event_text('{}', 'full')}"


def event_text(data: str, kind: str = "") -> str:
    """One event, as it goes over the line; without a kind it takes the place of the part."""
    lines = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
    return f"event: {kind}\n{lines}\n" if kind else f"{lines}\n"
