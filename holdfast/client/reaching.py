"""The way to the API, by its socket or by network, and what it means that nobody answers there.

Invariant: a token is sent only to whom a certificate says that it is the one that was named, or
within this host.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from holdfast.config import Settings
from holdfast.errors import (
    DeadlinePassed,
    HoldfastError,
    InvalidOption,
    MissingRights,
    MissingTool,
    NoApi,
    Untrusted,
)
from holdfast.late_dataclass import dataclass

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


@dataclass(frozen=True)
class ClientWay:
    """Where to ask, and by what."""

    words: str
    """For messages."""
    base: str
    """A URL."""
    socket: str | None = None
    """None: by network."""
    token: str = ""
    verified: ssl.SSLContext | bool = True

    def transport(self) -> dict[str, Any]:
        """What httpx's transports take."""
        return {"uds": self.socket} if self.socket is not None else {"verify": self.verified}

    def options(self) -> dict[str, Any]:
        """What httpx's clients take, besides a transport."""
        httpx = library()
        return {
            "base_url": self.base,
            "timeout": httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            "headers": {"authorization": f"Bearer {self.token}"} if self.token else {},
        }


def way_to(
    socket: Path | None, url: str, token: str, authority: Path | None, *, verify: bool
) -> ClientWay:
    """As `Client` takes it. Raises InvalidOption."""
    if url or token or authority is not None:
        return way_by_network(url, token, authority, verify=verify)
    return way_by_socket(socket)


def way_by_socket(socket: Path | None) -> ClientWay:
    """That one, or the one of this host."""
    path = str(Settings().api_socket if socket is None else socket)
    return ClientWay(path, BASE, socket=path)


def way_by_network(url: str, token: str, authority: Path | None, *, verify: bool) -> ClientWay:
    """As `Client` takes it. Raises InvalidOption."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise InvalidOption(f"{url!r} is no URL of an API", "Write https://HOST:PORT.")
    if parts.scheme == "http" and not _is_here(parts.hostname):
        raise InvalidOption(
            "without TLS a token would be read on its way", "Write https:// and name its authority."
        )
    if not (token.isascii() and token.isprintable() and token):
        raise InvalidOption("that is no token", "holdfast token create, where it serves.")
    verified: ssl.SSLContext | bool = verify
    if parts.scheme == "https" and verify:
        try:
            verified = ssl.create_default_context(cafile=authority and str(authority))
        except OSError as error:  # ssl.SSLError is one
            raise InvalidOption(
                f"{authority} is no certificate: {error}", "Name its file, in PEM."
            ) from error
    return ClientWay(url, url, token=token, verified=verified)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def reaching(way: ClientWay) -> Iterator[None]:
    """Let whatever keeps one from an answer in this block be one of our errors."""
    httpx = library()
    try:
        yield
    except httpx.TransportError as error:
        raise _error_of(error, way, httpx) from error


def _error_of(error: httpx.TransportError, way: ClientWay, httpx: Any) -> HoldfastError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError):
            return MissingRights(
                f"{way.words} may not be opened", "Ask as root, or as a member of the API's group."
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Untrusted(
                f"{way.words} does not prove who it is: {cause.verify_message}",
                "Name it as its certificate does, and the authority that has signed that.",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        return DeadlinePassed(
            f"no answer at {way.words} within {ANSWER_SECONDS:g} s", "holdfast status"
        )
    begin = "holdfast api, or: systemctl start holdfast-api"
    if isinstance(error, httpx.ConnectError):
        return NoApi(f"nobody serves at {way.words}", begin)
    return NoApi(
        f"the connection to {way.words} has ended: {error or type(error).__name__}",
        f"Ask again; when it is gone: {begin}.",
    )
