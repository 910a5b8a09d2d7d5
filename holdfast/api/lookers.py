"""Asking the processes that look: as many as are needed, each for one question at a time.

Invariant: no question is waited for beyond its limit. A process that has not answered by then is
ended; the next question finds, or begins, another one.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any

from holdfast.api.connections import Seats
from holdfast.errors import DeadlinePassed, JobDied, TooMany
from holdfast.jobs.ends import Failed, Finished, Interrupted, error_of, read_end
from holdfast.model.bounded import MOST_BYTES, read_object

ANSWER_SECONDS = 30.0
"""Three times what storage has for a probe; `status` asks several things of each volume."""

MOST_LOOKERS = 4
"""Each has some 30 MiB; a question that waits for storage stops no other but the fourth."""

MOST_WAITING = 64
"""Questions of root; and of all others."""

MOST_WAITING_OF_A_USER = 16
"""Of one who is not root."""

_LONG = frozenset({"assess", "assessment"})
"""Questions that read much: one of root's and one of all others at a time, so that however many
ask, two of the places are left."""

_END_SECONDS = 5.0
"""From SIGTERM to SIGKILL."""


class Looker:
    """A process that looks, seen by whoever asks it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def begin(cls) -> Looker:
        """A new one. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.to_thread(_begin, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours, limit=MOST_BYTES + 1)
        return cls(process, reader, writer)

    async def ask(self, text: bytes) -> bytes:
        """What it says to that; empty: it has died. Raises OSError, ValueError."""
        self._writer.write(text + b"\n")
        return await self._reader.readline()

    async def end(self) -> None:
        """End it, and see to it that it has ended; one that hangs in the kernel is left."""
        self._writer.close()
        await asyncio.to_thread(_end, self._process)


def _begin(descriptor: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "holdfast.api.looking", str(descriptor)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(descriptor,),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    for kill in (process.terminate, process.kill):
        kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
            return


class Lookers:
    """All of them; for one event loop."""

    def __init__(self) -> None:
        self._idle: list[Looker] = []
        self._places = asyncio.Semaphore(MOST_LOOKERS)
        self._places_of_others = asyncio.Semaphore(MOST_LOOKERS - 1)
        self._long = {is_root: asyncio.Semaphore(1) for is_root in (True, False)}
        self._waiting = Seats(MOST_WAITING, MOST_WAITING_OF_A_USER)
        self._asked: dict[tuple[bool, bytes], asyncio.Task[Any]] = {}
        """What is being found out, for root or for others: who asks the same meanwhile gets the
        same answer."""
        self._ending: set[asyncio.Task[None]] = set()

    async def ask(
        self, question: str, about: Mapping[str, Any] | None = None, *, seat: int | str = 0
    ) -> Any:
        """The answer, as plain values. Raises what the service raises; TooMany, DeadlinePassed,
        JobDied.

        `seat`: whose, see `Caller`; one of the places is root's alone.
        """
        text = json.dumps({"question": question, "about": dict(about or {})}).encode()
        asked = seat == 0, text
        task = self._asked.get(asked)
        if task is None:
            if not self._waiting.take(seat):
                raise TooMany("as many questions wait already as may", "Ask again later.")
            task = self._asked[asked] = asyncio.create_task(self._answer(question, *asked))
            task.add_done_callback(lambda _: self._forget(asked, seat))
        return await asyncio.shield(task)

    def _forget(self, asked: tuple[bool, bytes], seat: int | str) -> None:
        del self._asked[asked]
        self._waiting.leave(seat)

    async def _answer(self, question: str, is_root: bool, text: bytes) -> Any:
        alone = self._long[is_root] if question in _LONG else nullcontext()
        async with alone, nullcontext() if is_root else self._places_of_others, self._places:
            line = await self._said(question, text)
        try:
            end = read_end(read_object(line), lambda value: value)
        except ValueError:
            raise JobDied(f"whoever looks has died ({question})", "Ask again.") from None
        if isinstance(end, Finished):
            return end.result
        if isinstance(end, Failed | Interrupted):
            raise error_of(end, question)
        raise JobDied(end.words or f"whoever looks has died ({question})", "See the log.")

    async def _said(self, question: str, text: bytes) -> bytes:
        looker = self._idle.pop() if self._idle else await Looker.begin()
        line = b""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await looker.ask(text)
        except TimeoutError:
            raise DeadlinePassed(
                f"{question}: no answer within {ANSWER_SECONDS:g} s",
                "Storage may hang: holdfast status.",
            ) from None
        except (OSError, ValueError):  # it has died, or says too much
            line = b""
        finally:
            if line:
                self._idle.append(looker)
            else:
                self._end_later(looker)
        return line

    def _end_later(self, looker: Looker) -> None:
        task = asyncio.create_task(looker.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
