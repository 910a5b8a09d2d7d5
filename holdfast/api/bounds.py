"""How much one may send, how long that and reading an answer may take: before and around the rest.

Invariant: a request that reaches the application is in memory as a whole; whoever does not read
what was asked for keeps its own connection waiting for so long only, and little memory.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.api.connections import Seats
from holdfast.api.limits import ApiLimits
from holdfast.api.problems import TooSlow, problem_answer
from holdfast.errors import DeadlinePassed, HoldfastError, InvalidOption, MissingRights

_PIECE_BYTES = 64 << 10
"""uvicorn waits for a reader when so much is unread (its high-water mark)."""


class _NotRead(Exception):
    """The request is not there as a whole."""

    def __init__(self, error: HoldfastError, status: HTTPStatus) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


class _Gone(Exception):
    """Whoever asks has gone before the request was there."""


class Bounded:
    """The application, with its bounds."""

    def __init__(self, inner: ASGIApp, limits: ApiLimits, connections: Seats) -> None:
        self.limits = limits
        self.connections = connections
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        timely = _Timely(send, self.limits.write_seconds)
        try:
            if not await self._admitted(scope, receive, timely):
                return
            try:
                body = await self._body(receive)
            except _Gone:
                return
            except _NotRead as not_read:
                answer = problem_answer(not_read.error, not_read.status)
                answer.headers["connection"] = "close"  # the rest of it is not waited for
                await answer(scope, receive, timely.send)
                return
            await self._inner(scope, _Whole(body, receive).receive, timely.send)
        except* TooSlow:
            scope["state"]["abort"]()
            await asyncio.sleep(0)  # so that uvicorn hears of it before we return

    async def _admitted(self, scope: Scope, receive: Receive, timely: _Timely) -> bool:
        """Whether somebody asks who may; otherwise they were told so, and it ends. Nothing but
        headers was read."""
        admit = scope["state"].get("admit")
        if admit is None:  # the kernel has said who it is
            return True
        try:
            scope["state"]["caller"] = await admit(scope["headers"])
        except HoldfastError as error:
            is_nobody = isinstance(error, MissingRights)
            answer = problem_answer(error, HTTPStatus.UNAUTHORIZED if is_nobody else None)
            answer.headers["connection"] = "close"
            if is_nobody:
                answer.headers["www-authenticate"] = "Bearer"
            await answer(scope, receive, timely.send)
            return False
        return True

    async def _body(self, receive: Receive) -> bytes:
        """All of it. Raises _NotRead, _Gone."""
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.request_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone  # half of what was meant may mean something else
                    body += message.get("body", b"")
                    if len(body) > self.limits.body_bytes:
                        words = f"a request has {self.limits.body_bytes} bytes at most"
                        raise _NotRead(
                            InvalidOption(words, "Send less."),
                            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        )
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            words = f"the request was not there within {self.limits.request_seconds:g} s"
            raise _NotRead(
                DeadlinePassed(words, "Send it again."), HTTPStatus.REQUEST_TIMEOUT
            ) from None


class _Whole:
    """What an application reads of a request that was read before."""

    def __init__(self, body: bytes, rest: Receive) -> None:
        self._message: Message | None = {
            "type": "http.request",
            "body": body,
            "more_body": False,
        }
        self._rest = rest

    async def receive(self) -> Message:
        message, self._message = self._message, None
        return message if message is not None else await self._rest()


class _Timely:
    """Sends in pieces, each of which is waited for."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._seconds = seconds

    async def send(self, message: Message) -> None:
        """Raises TooSlow."""
        body = message.get("body", b"")
        for at in range(0, len(body) - _PIECE_BYTES, _PIECE_BYTES):
            piece = body[at : at + _PIECE_BYTES]
            await self._timely({"type": message["type"], "body": piece, "more_body": True})
            message = {**message, "body": body[at + _PIECE_BYTES :]}
        await self._timely(message)

    async def _timely(self, message: dict[str, Any] | Message) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError:
            raise TooSlow from None
