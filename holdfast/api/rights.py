"""Who asks, and what they may: one value for each of them, and one place where it is judged.

Invariant: by the socket it is what the kernel says of whoever has connected, by network what a
token of this host says; nothing else in a request counts. Who is limited to volumes is told
nothing of others, and begins nothing that names a place, an address or a program of this host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from starlette.requests import Request

from holdfast.errors import MissingRights
from holdfast.late_dataclass import dataclass
from holdfast.service.api_tokens import ApiToken, TokenScope
from holdfast.service.operations import operation_of
from holdfast.service.requests import OperationRequest

_OF_ONE_VOLUME: Mapping[str, frozenset[str]] = {
    "attach": frozenset(),
    "detach": frozenset({"park_seconds", "stays_wanted"}),
    "resize": frozenset({"size_bytes"}),
    "delete": frozenset({"keep_images"}),
    "restore": frozenset({"at", "undo", "deadline_seconds", "forced", "saves_writes", "volume_id"}),
    "rebind": frozenset({"deadline_seconds"}),
    "hold": frozenset({"seconds", "reason"}),
    "release": frozenset(),
    "freeze": frozenset({"seconds", "by"}),
    "thaw": frozenset(),
}
"""Operations of whoever is limited to volumes, with the fields that they may say anything in. What
is not here reaches beyond the volume: a path that root reads, an address, a command."""


@dataclass(frozen=True)
class Caller:
    """Whoever asks."""

    seat: int | str
    """Whose places they take: a user's number, 0 for root; of a token its id."""
    words: str
    """For the log."""
    may_change: bool
    volumes: frozenset[str] | None = None
    """What they are limited to; None: nothing."""

    def sees(self, volume: str) -> bool:
        """Whether that one is theirs to look at."""
        return self.volumes is None or volume in self.volumes


def caller_by_socket(uid: int) -> Caller:
    """A process of this host."""
    return Caller(uid, f"user {uid}", may_change=uid == 0)


def caller_by_token(token: ApiToken) -> Caller:
    """Somebody who has it."""
    volumes = None if token.volumes is None else frozenset(token.volumes)
    words = f"token {token.name} ({token.id})"
    return Caller(f"token {token.id}", words, token.scope is TokenScope.CHANGE, volumes)


def caller_of(request: Request) -> Caller:
    """Who makes that request."""
    found: Caller = request.state.caller
    return found


def seen(request: Request, found: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Those of these values whose volume, under that key, whoever asks may look at."""
    caller = caller_of(request)
    return [each for each in found if caller.sees(each[key])]


def only_who_may_change(request: Request) -> Caller:
    """Raise MissingRights unless whoever asks may change something."""
    caller = caller_of(request)
    if not caller.may_change:
        raise MissingRights(
            "you may not change anything",
            "Connect as root (sudo), or by network with a token whose scope is change.",
        )
    return caller


def only_who_sees(request: Request, volume: str) -> None:
    """Raise MissingRights unless whoever asks may look at that volume, which may not exist."""
    if not caller_of(request).sees(volume):
        raise MissingRights(
            "your token is limited to other volumes", "holdfast token create --volume NAME"
        )


def only_of_the_host(request: Request) -> None:
    """Raise MissingRights where whoever asks is limited to volumes."""
    if caller_of(request).volumes is not None:
        raise MissingRights(
            "your token is limited to volumes, and this is of the whole host",
            "Ask for one of your volumes, or with a token of the whole host.",
        )


def only_what_may_be_begun(request: Request, wanted: OperationRequest[Any]) -> None:
    """Raise MissingRights where that reaches beyond the volumes of whoever asks."""
    if caller_of(request).volumes is None:
        return
    name = operation_of(wanted).name
    theirs = _OF_ONE_VOLUME.get(name)
    if theirs is None:
        only_of_the_host(request)
        return
    only_who_sees(request, str(getattr(wanted, "volume", "")))
    for each in fields(wanted):  # type: ignore[arg-type]  # each of them is a dataclass
        usual = each.default if each.default_factory is MISSING else each.default_factory()
        is_said = getattr(wanted, each.name) != usual
        if is_said and each.name not in theirs and each.name != "volume":
            raise MissingRights(
                f"{each.name} of {name} is of the whole host, and your token is limited to volumes",
                "Leave it out, or ask with a token of the whole host.",
            )


def volume_of(request: Mapping[str, Any]) -> str:
    """The volume that a job's request is about; empty: none."""
    return str(request.get("volume") or request.get("name") or "")
