"""The message is posted to a web address, as JSON."""

from __future__ import annotations

import json
from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from holdfast.errors import InvalidOption, NotDelivered
from holdfast.model.version import VERSION
from holdfast.policy.message import Message
from holdfast.policy.notifications.protocol import SECONDS


class WebhookNotification:
    """`webhook:https://example.org/hook`: certificates are checked, nobody is sent elsewhere."""

    scheme = "webhook"
    example = "webhook:https://example.org/hook"

    def check(self, rest: str) -> None:
        """Raise InvalidOption unless it is an http or https URL with a host, as it is sent."""
        try:
            parts = urlsplit(rest)
            is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_one = False
        if not is_one or " " in rest or not rest.isascii():
            raise InvalidOption(
                f"{rest!r} is no web address", "Write webhook:https://example.org/hook."
            )

    def place(self, rest: str) -> str:
        """The host, and the port where it is named; the path is a secret mostly."""
        parts = urlsplit(rest)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def send(self, rest: str, message: Message) -> None:
        """Post it; it has arrived when the answer is of the 200s. A redirection is an error: the
        address is a secret, and what follows another one would be a GET without the message."""
        request = Request(
            rest,
            data=json.dumps(message.as_json()).encode(),
            headers={"Content-Type": "application/json", "User-Agent": f"holdfast/{VERSION}"},
        )
        try:
            with build_opener(_Nowhere()).open(request, timeout=SECONDS) as answer:
                status = int(answer.status)
        except HTTPException as error:
            raise NotDelivered(f"no answer of a web server: {error!r}", "") from error
        if not 200 <= status < 300:
            raise NotDelivered(f"the answer was status {status}", "")


class _Nowhere(HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object, **_more: object) -> None:
        """None: the redirection becomes an error with its status."""
