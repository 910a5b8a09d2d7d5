"""Many small questions to an expendable child: what hangs costs its own answer only.

Invariant: the caller never waits longer than its budget. The child answers item by item; when an
item hangs, the child is killed, that item stays unanswered, and a new child takes the rest. Same
conditions as holdfast.system.children.expendable.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from holdfast.system.children.expendable import reap
from holdfast.system.processes.process import fork_reporting

Item = TypeVar("Item")
Result = TypeVar("Result")

ITEM_SECONDS = 3.0
BUDGET_SECONDS = 10.0
"""A few hung items are survived; a volume where everything hangs is not asked again and again."""

_LENGTH = struct.Struct("=I")
_PIPE_READ_BYTES = 1 << 16


def ask_each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    item_seconds: float = ITEM_SECONDS,
    budget_seconds: float = BUDGET_SECONDS,
) -> list[Result | None]:
    """The answer for each item, in order; None where it hung, failed or the budget was spent.

    Blocks at most `budget_seconds`, whatever the items do. Answers must be picklable.
    """
    with asking(
        function, items, item_seconds=item_seconds, budget_seconds=budget_seconds
    ) as answers:
        return answers()


@contextmanager
def asking(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    item_seconds: float = ITEM_SECONDS,
    budget_seconds: float = BUDGET_SECONDS,
) -> Iterator[Callable[[], list[Result | None]]]:
    """As `ask_each`, but the child begins at once: fetch the answers, once, when they are needed.

    The times count from then on. Leaving the context ends the child.
    """
    child = _Child(function, items) if items else None

    def answers() -> list[Result | None]:
        nonlocal child
        found: list[Result | None] = [None] * len(items)
        deadline = time.monotonic() + budget_seconds
        first = 0
        while first < len(items) and time.monotonic() < deadline:
            child = child or _Child(function, items[first:])
            for frame in _frames(child.reading, item_seconds, deadline):
                found[first] = pickle.loads(frame)
                first += 1
            child.end()
            child = None
            first += 1  # the one that was asked last got no answer, or there is none left
        return found

    try:
        yield answers
    finally:
        if child is not None:
            child.end()


class _Child:
    """Answers item by item through a pipe, until it is done, dies or hangs."""

    def __init__(self, function: Callable[[Item], object], items: Sequence[Item]) -> None:
        self._pid, self.reading = fork_reporting(lambda writing: _serve(function, items, writing))

    def end(self) -> None:
        os.close(self.reading)
        os.kill(self._pid, signal.SIGKILL)
        reap(self._pid)


def _serve(function: Callable[[Item], Result], items: Sequence[Item], writing: int) -> None:
    """The child: one frame per item."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for item in items:
        try:
            frame = pickle.dumps(function(item))
        except Exception:
            frame = pickle.dumps(None)
        view = memoryview(_LENGTH.pack(len(frame)) + frame)
        while view:
            view = view[os.write(writing, view) :]


def _frames(reading: int, item_seconds: float, deadline: float) -> Iterator[bytes]:
    """Complete frames as they come, until the end, the time-out of one, or the deadline."""
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    data = bytearray()
    while True:
        remaining_seconds = min(item_seconds, deadline - time.monotonic())
        if remaining_seconds <= 0 or not poller.poll(max(1, int(remaining_seconds * 1000))):
            return
        part = os.read(reading, _PIPE_READ_BYTES)
        if not part:
            return
        data += part
        while len(data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
            if len(data) < end:
                break
            yield bytes(data[_LENGTH.size : end])
            del data[:end]
