"""Questions to the API, shared by everybody who looks at the same.

Invariant: what many ask within a moment is asked once, few things are asked at once, and few
answers are kept. For one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from holdfast.client import AsyncClient

T = TypeVar("T")

MOST_ANSWERS = 64
"""That are kept: a page asks for five, each volume has its own."""

MOST_AT_ONCE = 8
"""Half of what the API lets one user wait for."""


class Asking:
    """The API, through a memory that is a moment long."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self._answers: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def ask(self, key: Hashable, seconds: float, question: Callable[[], Awaitable[T]]) -> T:
        """The answer, at most so old. Raises what the client raises.

        `key`: the same for the same question.
        """
        now = asyncio.get_running_loop().time()
        known = self._answers.get(key)
        if known is not None and (not known[1].done() or now - known[0] < seconds):
            task: asyncio.Task[T] = known[1]
        else:
            task = asyncio.create_task(self._answer(question))
            task.add_done_callback(_noted)
            self._answers.pop(key, None)
            self._answers[key] = now, task
            while len(self._answers) > MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]
        return await asyncio.shield(task)

    async def once(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer to what nobody else asks, or what is too long to be kept. Raises what the
        client raises."""
        return await self._answer(question)

    async def _answer(self, question: Callable[[], Awaitable[T]]) -> T:
        async with self._places:
            return await question()


def _noted(task: asyncio.Task[Any]) -> None:
    """Nobody may wait any more for one that failed."""
    if not task.cancelled():
        task.exception()
