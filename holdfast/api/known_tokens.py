"""The tokens of this host, as whoever serves knows them: read again when their file has changed.

Invariant: the file is read in a thread, one at a time, and waited for so long only: storage that
hangs keeps who shows a token waiting, and nobody else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import DeadlinePassed, MissingRights
from holdfast.service.api_tokens import ApiToken, believed, read_tokens, tokens_path

READ_SECONDS = 5.0
"""A file of some KiB."""

_SCHEME = "bearer"


class KnownTokens:
    """For one event loop."""

    def __init__(self, state_directory: Path) -> None:
        self._state_directory = state_directory
        self._tokens: Sequence[ApiToken] = ()
        self._of: tuple[int, ...] | None = None
        """Which file they are of; None: none was read yet."""
        self._reading: asyncio.Task[None] | None = None

    async def shown(self, headers: Sequence[tuple[bytes, bytes]]) -> ApiToken:
        """The token that a request shows. Raises MissingRights, StateFailed, Untrusted,
        DeadlinePassed."""
        given = [value for name, value in headers if name == b"authorization"]
        scheme, _, text = (given[0] if len(given) == 1 else b"").decode("latin-1").partition(" ")
        await self.refresh()
        token = believed(text.strip(), self._tokens, time.time())
        if scheme.lower() != _SCHEME or token is None:
            raise MissingRights(
                "no token of this host was shown, or it has expired",
                "Authorization: Bearer TOKEN, with one that holdfast token create has printed.",
            )
        return token

    async def refresh(self) -> None:
        """Know what there is now. Raises StateFailed, Untrusted, DeadlinePassed."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(asyncio.to_thread(self._read))
        try:
            async with asyncio.timeout(READ_SECONDS):
                await asyncio.shield(self._reading)
        except TimeoutError:
            raise DeadlinePassed(
                f"tokens could not be read within {READ_SECONDS:g} s", "holdfast doctor"
            ) from None

    def still(self, token: ApiToken) -> bool:
        """Whether it counts, as far as is known."""
        return token in self._tokens and not token.has_expired(time.time())

    def _read(self) -> None:
        """In a thread."""
        of = _identity(tokens_path(self._state_directory))
        if of != self._of:
            self._tokens, self._of = (), None  # nobody is believed by what cannot be read any more
            self._tokens = read_tokens(self._state_directory)
            self._of = of


def _identity(path: Path) -> tuple[int, ...]:
    """Of a file that is replaced, never written into; empty: there is none."""
    try:
        status = path.lstat()
    except OSError:
        return ()
    return status.st_ino, status.st_dev, status.st_mtime_ns, status.st_size
