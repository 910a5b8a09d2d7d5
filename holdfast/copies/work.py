"""Work on large images: in a child that can be given up, at the pace of a guest.

Invariant: whoever waits for it waits no longer than it is silent for `QUIET_SECONDS`; it ends with
the process that began it.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from holdfast.errors import DeadlinePassed, HoldfastError, StorageFailed
from holdfast.model.reporter import Reporter
from holdfast.system.children.errand import Errand
from holdfast.system.children.expendable import reap

Result = TypeVar("Result")
Tell = Callable[[float], None]
"""Told how much is done, 0 to 100."""

QUIET_SECONDS = 120.0
"""Storage that takes nothing for so long hangs: as the kernel's watchdog for hung tasks has it."""

_NICE = 10
"""Its I/O follows that: less than anybody else's, and never nothing."""
_TELL_SECONDS = 0.2
_PIECE_SECONDS = 0.005
"""Of work, before it rests: a rest costs a tenth of a millisecond more than it takes."""
_REST_SECONDS = 0.02
"""Longest rest: what took longer waited for others, who were served."""


class Pace:
    """Inside of the child: tells how far it is, and leaves the disk to others half of the time."""

    rests = True
    """False in a child for which the volume's users wait."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell, self._total = tell, max(1, total)
        self._told = self._since = time.monotonic()

    def done(self, amount: int) -> None:
        """So much of the total is done; rests as long as that took."""
        now = time.monotonic()
        if now >= self._told + _TELL_SECONDS:
            self._tell(min(100.0, 100.0 * amount / self._total))
            self._told = now
        if self.rests and now >= self._since + _PIECE_SECONDS:
            time.sleep(min(now - self._since, _REST_SECONDS))
            self._since = time.monotonic()


def carried_out(
    work: Callable[[Tell], Result], reporter: Reporter, doing: str, *, is_waited_for: bool = False
) -> Result:
    """Call `work` in a child; its (small, picklable) result, or its error.

    `is_waited_for`: nobody else has a use for the disk before it is done. Raises DeadlinePassed
    when it is silent for too long, StorageFailed when it died.
    """
    errand: Errand[Any] = Errand(partial(_serve, work, is_waited_for))
    heard = time.monotonic()
    try:
        while True:
            poller = select.poll()
            poller.register(errand, select.POLLIN)
            poller.poll(1000)
            for answer in errand.fetch():
                heard = time.monotonic()
                if isinstance(answer, float):
                    reporter.percent(answer)
                    continue
                succeeded, value = answer
                if not succeeded:
                    raise value
                found: Result = value
                return found
            if errand.is_over:
                raise StorageFailed(f"the process that worked on {doing} died without an answer")
            if time.monotonic() > heard + QUIET_SECONDS:
                raise DeadlinePassed(
                    f"{doing} did not answer within {QUIET_SECONDS:g} s",
                    "The storage below may hang; see the kernel's log.",
                )
    finally:
        errand.end()
        if not errand.is_gone():
            reap(errand.pid)


def _serve(
    work: Callable[[Tell], object], is_waited_for: bool, tell: Callable[[Any], None]
) -> None:
    if is_waited_for:
        Pace.rests = False  # of this process alone
    else:
        os.nice(_NICE)

    def progress(percent: float) -> None:
        with suppress(BlockingIOError):  # nobody listens just now
            tell(float(percent))

    try:
        answer = (True, work(progress))
    except HoldfastError as error:
        error.__cause__ = error.__context__ = None
        answer = (False, error)
    except Exception as error:
        answer = (False, StorageFailed(f"{type(error).__name__}: {error}"))
    tell(answer)
