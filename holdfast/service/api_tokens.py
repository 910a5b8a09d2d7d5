"""Tokens by which programs of other hosts may ask the API: made, listed, revoked, believed.

Owns their file in the state directory. Invariant: no secret is kept, only its digest; who reads the
file can ask nothing. Whoever has a token that may change may do what root may, unless it is limited
to volumes. docs/api.md; docs/decisions/0086.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import AlreadyExists, HoldfastError, HostCannot, InvalidOption, StateFailed
from holdfast.late_dataclass import dataclass
from holdfast.model.volume import check_name
from holdfast.policy.watching import only_one
from holdfast.service.rights import need_root
from holdfast.system.files.own_document import read_document, write_document

MOST_TOKENS = 100
"""One for each program that asks, and some that have expired."""

MOST_VOLUMES = 100
"""That one token may be limited to."""

USUAL_SECONDS = 90 * 86400.0
"""What certificates are valid for where they are renewed by themselves."""

_SECRET_BYTES = 32
"""Nobody guesses 256 random bits, so a plain digest keeps them as well as a slow one."""

_ID_BYTES = 4
_TOKEN = re.compile(r"hf_([0-9a-f]{8})_([0-9A-Za-z_-]{43})")
"""Its beginning is for people, and for programs that look for secrets in the wrong place."""

_MOST_BYTES = 1 << 20
_UNREADABLE_MEND = "Move api/tokens.json in the state directory away, and make tokens anew."


class TokenScope(StrEnum):
    """What whoever has it may do."""

    READ = "read"
    CHANGE = "change"


@dataclass(frozen=True)
class ApiToken:
    """One of them."""

    id: str
    name: str
    scope: TokenScope
    digest: str
    """SHA-256 of the secret, in hexadecimal digits."""
    made: float
    """Unix time, seconds."""
    expires: float | None
    """Unix time, seconds; None: never."""
    volumes: tuple[str, ...] | None = None
    """Names of those that it is limited to; None: the whole host."""

    def has_expired(self, now: float) -> bool:
        """Whether it counts no longer, at this Unix time."""
        return self.expires is not None and now >= self.expires


@dataclass(frozen=True)
class TokenReport:
    """A token as it is shown: without its digest."""

    id: str
    name: str
    scope: TokenScope
    volumes: tuple[str, ...] | None
    made: float
    expires: float | None
    expired: bool


@dataclass(frozen=True)
class _Tokens:
    tokens: tuple[ApiToken, ...] = ()


def parts_of(text: str) -> tuple[str, str] | None:
    """Id and digest of the secret of what was shown when a token was made; None: it is none."""
    match = _TOKEN.fullmatch(text)
    return None if match is None else (match[1], _digest(match[2]))


def believed(text: str, tokens: Sequence[ApiToken], now: float) -> ApiToken | None:
    """The token that this is; None: none, or one that has expired. Pure.

    Takes as long whatever of a secret is right.
    """
    parts = parts_of(text)
    if parts is None:
        return None
    identifier, digest = parts
    found = next((each for each in tokens if each.id == identifier), None)
    is_right = hmac.compare_digest(digest, _digest("") if found is None else found.digest)
    return found if is_right and found is not None and not found.has_expired(now) else None


def tokens_path(state_directory: Path) -> Path:
    """Where they are written down."""
    return state_directory / "api" / "tokens.json"


def read_tokens(state_directory: Path) -> tuple[ApiToken, ...]:
    """In the order in which they were made. Raises StateFailed, Untrusted."""
    try:
        path = tokens_path(state_directory)
        return read_document(path, _Tokens, _MOST_BYTES, "what is known of tokens").tokens
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise StateFailed(f"tokens cannot be read: {error}", _UNREADABLE_MEND) from error


def forget_volume(settings: Settings, name: str) -> list[str]:
    """A volume is no more: another one of its name is nothing to who might ask for that one.

    Durable on return; what is left because it failed, in words. Never raises.
    """
    try:
        tokens = read_tokens(settings.state_directory)
        if any(name in (each.volumes or ()) for each in tokens):
            with _changing(settings) as tokens:
                _write(settings, [_without(each, name) for each in tokens])
    except HoldfastError as error:
        return [f"tokens that were limited to {name} would do for another one: {error.message}"]
    return []


class ApiTokens:
    """Those of this host."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def show(self) -> list[TokenReport]:
        """All of them. Raises StateFailed, Untrusted."""
        need_root()
        now = time.time()
        return [_report(each, now) for each in read_tokens(self._settings.state_directory)]

    def create(
        self,
        name: str,
        scope: TokenScope,
        volumes: Sequence[str] | None = None,
        seconds: float | None = USUAL_SECONDS,
    ) -> tuple[str, TokenReport]:
        """A new one: what is to be shown once, and the rest. Durable on return.

        `volumes`: None: the whole host. `seconds`: None: it does not expire. Raises InvalidName,
        InvalidOption, AlreadyExists, AtWork, StateFailed, Untrusted.
        """
        need_root()
        check_name(name)
        if volumes is not None and not 1 <= len(volumes) <= MOST_VOLUMES:
            words = f"a token is limited to 1 to {MOST_VOLUMES} volumes"
            raise InvalidOption(words, "Make one for the whole host, or several.")
        secret, now = secrets.token_urlsafe(_SECRET_BYTES), time.time()
        with _changing(self._settings) as tokens:
            if name in [each.name for each in tokens]:
                mend = f"Name it otherwise, or: holdfast token revoke {name}"
                raise AlreadyExists(f"there is a token {name} already", mend)
            if len(tokens) >= MOST_TOKENS:
                words = f"there are {MOST_TOKENS} tokens already"
                raise InvalidOption(words, "holdfast token list; holdfast token revoke NAME")
            made = ApiToken(
                _new_id([each.id for each in tokens]),
                name,
                scope,
                _digest(secret),
                now,
                None if seconds is None else now + seconds,
                None if volumes is None else tuple(sorted({check_name(each) for each in volumes})),
            )
            _write(self._settings, [*tokens, made])
        return f"hf_{made.id}_{secret}", _report(made, now)

    def revoke(self, name: str) -> None:
        """By its name or id: it counts no longer. Durable on return.

        Raises InvalidOption: there is none; AtWork, StateFailed, Untrusted.
        """
        need_root()
        with _changing(self._settings) as tokens:
            left = [each for each in tokens if name not in (each.name, each.id)]
            if len(left) == len(tokens):
                raise InvalidOption(f"there is no token {name!r}", "holdfast token list")
            _write(self._settings, left)


@contextmanager
def _changing(settings: Settings) -> Iterator[tuple[ApiToken, ...]]:
    """What there is, while nobody else changes it. Raises AtWork, StateFailed, Untrusted."""
    with only_one(settings.run_directory, "token"):
        yield read_tokens(settings.state_directory)


def _write(settings: Settings, tokens: Sequence[ApiToken]) -> None:
    path = tokens_path(settings.state_directory)
    try:
        write_document(path, _Tokens(tuple(tokens)))
    except OSError as error:
        raise StateFailed(f"{path}: {error.strerror}", "holdfast doctor") from error


def _without(token: ApiToken, name: str) -> ApiToken:
    if token.volumes is None:
        return token
    return replace(token, volumes=tuple(each for each in token.volumes if each != name))


def _report(token: ApiToken, now: float) -> TokenReport:
    return TokenReport(
        token.id,
        token.name,
        token.scope,
        token.volumes,
        token.made,
        token.expires,
        token.has_expired(now),
    )


def _new_id(taken: Sequence[str]) -> str:
    for _ in range(100):
        made = secrets.token_hex(_ID_BYTES)
        if made not in taken:
            return made
    raise HostCannot("no random number is another one than before", "holdfast doctor")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
