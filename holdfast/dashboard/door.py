"""Who may come in: before everything else, for every request.

Everybody on this host can connect, and so can a page of a stranger's in the browser of somebody who
may look. So a request needs a cookie that only this start's secret gives; it is never sent for
pages of others (SameSite), no script reads it, and its path is another secret: cookies go to every
port of a host, and there a stranger may listen. Names that are no addresses are refused (a name of
a stranger's can be made to lead here), and so is whatever is no question.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECRET_BYTES = 32
"""256 bits: nobody guesses them."""

_PATH_BYTES = 12

_COOKIE = "holdfast"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

_NO_ENTRY = (
    "This is Holdfast's dashboard. It shows what root sees, so it asks for a secret.\n\n"
    "Open the address that `holdfast dashboard` has printed when it was started"
    " (a service: journalctl -u holdfast-dashboard).\n"
)


class Door:
    """The application behind it, for whoever has the secrets of this start."""

    def __init__(self, inner: ASGIApp, base: str) -> None:
        """`base`: the path below which everything is, of `new_base`."""
        self._inner = inner
        self._base = base
        self.token = secrets.token_urlsafe(_SECRET_BYTES)
        """What the printed address has."""
        self._ticket = secrets.token_urlsafe(_SECRET_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        refused = self._judged(scope)
        if refused is not None:
            await refused(scope, receive, _with_headers(send))
            return
        inside = {**scope, "path": scope["path"][len(self._base) :], "root_path": ""}
        await self._inner(inside, receive, _with_headers(send))

    def _judged(self, scope: Scope) -> Response | None:
        """What is answered in place of a page; None: come in."""
        request = Request(scope)
        if not is_address(request.headers.get("host", "")):
            words = "The dashboard answers to addresses and to localhost, not to other names.\n"
            return PlainTextResponse(words, HTTPStatus.MISDIRECTED_REQUEST)
        if scope["method"] not in ("GET", "HEAD"):
            words = "The dashboard changes nothing.\n"
            return PlainTextResponse(
                words, HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": "GET, HEAD"}
            )
        if _is_of_another_page(request.headers):
            return PlainTextResponse("This is for pages of ours.\n", HTTPStatus.FORBIDDEN)
        if scope["path"] == "/":
            return self._entry(scope)
        ticket = request.cookies.get(_COOKIE, "")
        is_inside = scope["path"].startswith(f"{self._base}/")
        if not (is_inside and _same(ticket, self._ticket)):
            return PlainTextResponse(_NO_ENTRY, HTTPStatus.UNAUTHORIZED)
        return None

    def _entry(self, scope: Scope) -> Response:
        """The printed address: gives the cookie, and leads inside."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        if not _same(given[0], self.token):
            return PlainTextResponse(_NO_ENTRY, HTTPStatus.UNAUTHORIZED)
        answer = RedirectResponse(f"{self._base}/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            _COOKIE, self._ticket, path=f"{self._base}/", httponly=True, samesite="strict"
        )
        answer.headers["cache-control"] = "no-store"
        return answer


def new_base() -> str:
    """A path that nobody knows."""
    return f"/{secrets.token_urlsafe(_PATH_BYTES)}"


def is_address(host: str) -> bool:
    """Whether a Host header names an address, or localhost: no stranger's name leads here then."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def _is_of_another_page(headers: Headers) -> bool:
    """Whether a browser says that a page of another origin asks, other than by a link."""
    site = headers.get("sec-fetch-site", "none")
    return site not in ("none", "same-origin") and headers.get("sec-fetch-mode") != "navigate"


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
