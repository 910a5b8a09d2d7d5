"""A process that was killed is known not to write any more before it has given everything back."""

from __future__ import annotations

import mmap
import os
import signal
import threading

import pytest

from holdfast.system.processes.process import has_ended, watch_process
from holdfast.system.processes.process_state import runs_no_code

SLOW_BYTES = 256 << 20
"""What a process takes tens of milliseconds to give back."""
TRIES = 20


def _start() -> int:
    """A process of two threads, and much memory."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        memory = mmap.mmap(-1, SLOW_BYTES, mmap.MAP_PRIVATE | mmap.MAP_POPULATE)
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        os.write(writing, b".")
        threading.Event().wait()
        memory.close()
        os._exit(0)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    return pid


def test_one_that_lives_does() -> None:
    pid = _start()
    assert not runs_no_code(pid)
    os.kill(pid, signal.SIGSTOP)
    assert not runs_no_code(pid)
    os.kill(pid, signal.SIGKILL)
    watch = watch_process(pid)
    assert has_ended(watch, 60.0)
    assert runs_no_code(pid), "ended, and not buried yet"
    os.waitpid(pid, 0)
    assert runs_no_code(pid), "gone"
    assert watch is not None
    os.close(watch)


def test_it_is_known_before_it_has_ended() -> None:
    """And for good: the process begins nothing any more."""
    for _ in range(TRIES):
        pid = _start()
        watch = watch_process(pid)
        assert watch is not None
        os.kill(pid, signal.SIGKILL)
        while not runs_no_code(pid):
            pass
        was_early = not has_ended(watch)
        assert runs_no_code(pid)
        os.waitpid(pid, 0)
        os.close(watch)
        if was_early:
            return
    pytest.fail("it had always ended before it could be asked")
