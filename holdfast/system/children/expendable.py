"""Expendable child processes: whatever touches managed storage and could hang runs in one.

Invariant: the caller gets the result, the child's own error, or DeadlinePassed; it never waits
longer than the deadline, even when the child is stuck inside the kernel and cannot die. Must
never be called by a process that needs its other threads in the child: only the calling thread
exists there.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from holdfast.errors import DeadlinePassed, HoldfastError, StorageFailed
from holdfast.system.processes.process import fork_reporting

Result = TypeVar("Result")

DEADLINE_SECONDS = 10.0
"""Storage that does not answer a probe within this time counts as hanging."""

_SOON_MILLISECONDS = 100
"""How long the end of a child is waited for that has answered or was killed."""

_REAPER = "reaper"

_PIPE_READ_BYTES = 1 << 16

_worked_for: list[int] = []
"""In a child: the processes that wait for its answer."""


def who_asks() -> frozenset[int]:
    """Numbers of this process and, in an expendable child, of those that it works for."""
    return frozenset({os.getpid(), *_worked_for})


def in_expendable_child(
    function: Callable[[], Result],
    timeout_seconds: float = DEADLINE_SECONDS,
    doing: str = "the storage",
) -> Result:
    """Call `function` in a forked child and return its (picklable) result.

    Blocks at most `timeout_seconds`. The child's exception is raised here as it was there. Raises
    DeadlinePassed, naming `doing`, when the child does not answer; it is killed then, and when it
    cannot die (uninterruptible sleep) it is reaped in the background as soon as it can. Raises
    StorageFailed when it died without an answer. Changes that `function` makes to memory are lost.
    """
    with begun_in_expendable_child(function, timeout_seconds, doing) as result:
        return result()


@contextlib.contextmanager
def begun_in_expendable_child(
    function: Callable[[], Result],
    timeout_seconds: float = DEADLINE_SECONDS,
    doing: str = "the storage",
) -> Iterator[Callable[..., Result]]:
    """As `in_expendable_child`, but the child works while the caller does something else.

    The result is fetched, once, by calling what this gives, which may be told to wait for so many
    seconds more at most. Leaving the context ends the child.
    """
    deadline = time.monotonic() + timeout_seconds
    asker = os.getpid()
    child, reading = fork_reporting(lambda writing: _serve(function, writing, asker))
    answered = False

    def result(seconds: float = timeout_seconds) -> Result:
        nonlocal answered
        answer = _read_until(reading, min(deadline, time.monotonic() + seconds))
        if answer is None:
            raise DeadlinePassed(
                f"{doing} did not answer within {min(seconds, timeout_seconds):g} s",
                "The storage below may hang; see the kernel's log.",
            )
        answered = True  # it ends by itself
        if not answer:
            raise StorageFailed(f"the process that examined {doing} died without an answer")
        succeeded, value = pickle.loads(answer)
        if succeeded:
            found: Result = value
            return found
        raise value

    try:
        yield result
    finally:
        os.close(reading)
        if not answered:
            os.kill(child, signal.SIGKILL)
        reap(child)


def _serve(function: Callable[[], object], writing: int, asker: int) -> None:
    """The child: answer through the pipe."""
    _worked_for.append(asker)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    try:
        answer = pickle.dumps((True, function()))
    except BaseException as error:
        answer = _pickled_error(error)
    view = memoryview(answer)
    while view:
        view = view[os.write(writing, view) :]


def _pickled_error(error: BaseException) -> bytes:
    """The error itself when it survives the journey, otherwise its words as StorageFailed."""
    try:
        if isinstance(error, HoldfastError):
            error.__cause__ = error.__context__ = None
        answer = pickle.dumps((False, error))
        pickle.loads(answer)
        return answer
    except Exception:
        return pickle.dumps((False, StorageFailed(f"{type(error).__name__}: {error}")))


def _read_until(reading: int, deadline: float) -> bytes | None:
    """Everything up to the end of the pipe; None when the deadline passes first."""
    parts: list[bytes] = []
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    while True:
        remaining_seconds = deadline - time.monotonic()
        if remaining_seconds <= 0 or not poller.poll(max(1, int(remaining_seconds * 1000))):
            return None
        part = os.read(reading, _PIPE_READ_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)


def reap(child: int, soon_milliseconds: int = _SOON_MILLISECONDS) -> None:
    """Collect the child now if it is dead soon, else from a daemon thread whenever it dies."""
    _await_end(child, soon_milliseconds)
    pid, _status = os.waitpid(child, os.WNOHANG)
    if not pid:
        threading.Thread(target=_wait, args=(child,), name=_REAPER, daemon=True).start()


def await_ends(seconds: float) -> None:
    """Wait until the children that have answered or were killed are gone, so long at most.

    On a busy host they may keep open for a while what they have looked at.
    """
    deadline = time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name == _REAPER:
            thread.join(max(0.0, deadline - time.monotonic()))


def _await_end(child: int, soon_milliseconds: int) -> None:
    """Wait a little for its end, without sleeping any longer than that takes."""
    with contextlib.suppress(OSError):  # no descriptor is left for it: the thread waits
        watched = os.pidfd_open(child)
        try:
            poller = select.poll()
            poller.register(watched, select.POLLIN)
            poller.poll(soon_milliseconds)
        finally:
            os.close(watched)


def _wait(child: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
