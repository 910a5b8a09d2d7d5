"""What a gate process has to complain about, into gate.log, without ever waiting for its storage.

The log lies in the state directory, whose storage may hang like any other: whoever wrote to it
would stop serving. Owns the one thread of each process that may hang there; what comes meanwhile
is kept, up to a number, and the rest dropped. Must never be called with words about each request.
"""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from time import monotonic

STANDARD_ERROR = 2
"""gate.log, see `launch`."""
MOST_KEPT = 100
LAST_WORDS_SECONDS = 1.0
"""How long a process that is about to end waits for its last words to be written."""

_POLL_SECONDS = 0.01


class _Writer:
    """The thread of one process; a forked child has another."""

    def __init__(self) -> None:
        self.kept: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.is_idle = True
        threading.Thread(target=self._run, name="complaints", daemon=True).start()

    def _run(self) -> None:
        while True:
            words = self.kept.get()
            with suppress(OSError):  # no room in the log
                os.write(STANDARD_ERROR, words)
            self.is_idle = self.kept.empty()


_writers: dict[int, _Writer] = {}
"""By process; at most the one of this process is used."""


def complain(words: str) -> None:
    """Have these words written to the log; returns at once, and never fails."""
    with suppress(RuntimeError):  # no room for a thread
        writer = _writers.get(os.getpid()) or _Writer()
        _writers[os.getpid()] = writer
        if writer.kept.qsize() < MOST_KEPT:
            writer.is_idle = False
            writer.kept.put(f"{words.rstrip()}\n".encode(errors="replace"))


def wait_until_written(seconds: float = LAST_WORDS_SECONDS) -> None:
    """Before the process ends: until all was written, at most so long."""
    deadline = monotonic() + seconds
    writer = _writers.get(os.getpid())
    while writer is not None and not writer.is_idle and monotonic() < deadline:
        threading.Event().wait(_POLL_SECONDS)
