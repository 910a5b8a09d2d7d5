"""Words that are written without ever waiting for the storage they go to.

A log may lie on storage that hangs like any other: whoever wrote to it would stop serving. Owns the
one thread of each process that may hang there; what comes meanwhile is kept, up to a number, and
the rest dropped. Must never be called with words about each request.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

STANDARD_ERROR = 2
MOST_KEPT = 100
LAST_WORDS_SECONDS = 1.0
"""How long a process that is about to end waits for its last words to be written."""

_POLL_SECONDS = 0.01

Write = Callable[[bytes], object]
"""Writes one record; may block, and raise anything: then that record is lost."""


def to_standard_error(words: bytes) -> None:
    """Write to standard error: of a gate its gate.log."""
    os.write(STANDARD_ERROR, words)


class _Writer(threading.Thread):
    """The thread that writes, one in each process."""

    def __init__(self) -> None:
        super().__init__(name="unwaited", daemon=True)
        self.kept: queue.Queue[tuple[Write, bytes]] = queue.Queue(MOST_KEPT)
        self.may_begin = threading.Event()
        self.start()

    def run(self) -> None:
        self.may_begin.wait()  # until then, words that come wake nobody
        while True:
            write, words = self.kept.get()
            try:
                write(words)
            except Exception:  # no room there, not ours, a defect: never worth a process
                continue
            finally:
                self.kept.task_done()


_writers: list[_Writer] = []
"""None or one; a forked child begins without: its parent's thread is not there."""
os.register_at_fork(after_in_child=_writers.clear)


def start_writer(*, at_once: bool = True) -> None:
    """Start the thread now, so that none is started for the first words: whoever has those may hold
    a lock, or be in memory that is locked. Never fails.

    Not `at_once`: it writes nothing before `start_writer()` or `wait_until_written`. A thread that
    writes takes the interpreter from one that is in a hurry, ten times for a few words.
    """
    with suppress(RuntimeError):  # no room for a thread: the first words try again
        if not _writers:
            _writers.append(_Writer())
        if at_once:
            _writers[0].may_begin.set()


def write_soon(words: str, write: Write = to_standard_error) -> None:
    """Have these words written, as a line; returns at once, and never fails."""
    if not _writers:
        start_writer()
    with suppress(IndexError, queue.Full):  # no room for a thread, or for more words
        _writers[0].kept.put_nowait((write, f"{words.rstrip()}\n".encode(errors="replace")))


def wait_until_written(seconds: float = LAST_WORDS_SECONDS) -> None:
    """Before the process ends: until all was written, at most so long."""
    if _writers:
        _writers[0].may_begin.set()
    deadline = monotonic() + seconds
    while _writers and _writers[0].kept.unfinished_tasks and monotonic() < deadline:
        threading.Event().wait(_POLL_SECONDS)
