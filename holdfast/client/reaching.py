"""The way to the socket of the API, and what it means that nobody answers there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, HoldfastError, MissingRights, MissingTool, NoApi

if TYPE_CHECKING:
    import httpx

BASE = "http://holdfast"
"""The name of a host that is nowhere: the socket is the way."""

ANSWER_SECONDS = 60.0
"""Twice what the API waits for an answer; four times the signs of life of a stream."""

CONNECT_SECONDS = 10.0


def library() -> Any:
    """httpx. Raises MissingTool."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise MissingTool(
            "the client needs httpx, which is not installed", "pip install 'holdfast[client]'"
        ) from error
    return httpx


def socket_of(socket: Path | None) -> Path:
    """Where to ask: that one, or the one of this host."""
    return Settings().api_socket if socket is None else socket


@contextmanager
def reaching(socket: Path) -> Iterator[None]:
    """Let whatever keeps one from an answer in this block be one of our errors."""
    httpx = library()
    try:
        yield
    except httpx.TransportError as error:
        raise _error_of(error, socket, httpx) from error


def _error_of(error: httpx.TransportError, socket: Path, httpx: Any) -> HoldfastError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError):
            return MissingRights(
                f"{socket} may not be opened", "Ask as root, or as a member of the API's group."
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        return DeadlinePassed(
            f"no answer at {socket} within {ANSWER_SECONDS:g} s", "holdfast status"
        )
    if isinstance(error, httpx.ConnectError):
        return NoApi(f"nobody serves at {socket}", "holdfast api, or: systemctl start holdfast-api")
    return NoApi(
        f"the connection to {socket} has ended: {error or type(error).__name__}",
        "Ask again; when it is gone: systemctl start holdfast-api.",
    )
