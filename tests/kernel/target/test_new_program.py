"""A thread that runs a new program while its process is stopped: nobody waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.errors import DeadlinePassed, Refused
from tests.waiting import wait_until

SOURCE = """
#include <pthread.h>
#include <unistd.h>

static void *wait_for_ever(void *argument)
{
    for (;;)
        pause();
}

static void *run_again(void *argument)
{
    execl("/proc/self/exe", "again", (char *)0);
    _exit(3);
}

int main(int count, char **words)
{
    pthread_t thread;
    for (int i = 0; i < 3; i++)
        pthread_create(&thread, 0, wait_for_ever, 0);
    pthread_create(&thread, 0, run_again, 0);
    wait_for_ever(0);
}
"""
SECONDS = 2.0


@pytest.fixture
def again(ram_directory: Path) -> Path:
    program = ram_directory / "again"
    subprocess.run(
        ["gcc", "-O2", "-pthread", "-x", "c", "-", "-o", program],
        input=SOURCE,
        text=True,
        check=True,
    )
    return program


def test_in_another_thread(again: Path) -> None:
    """It ends all others and takes the main thread's number, over and over."""
    # not a child of ours: its end would be waited for by whoever traces it and by its parent
    words = ("sh", "-c", '"$0" >/dev/null 2>&1 & echo $!', str(again))
    pid = int(subprocess.check_output(words))
    stopped = 0
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or not stopped:
            try:
                target = Tracee.stop(pid, time.monotonic_ns() + 60 * 10**9)
            except (ProcessLookupError, Refused, DeadlinePassed):
                continue
            assert target.call("getpid") == pid
            target.release()
            stopped += 1
            assert time.monotonic() < end + 20
        # between the end of its main thread and its new program it has none for a moment
        wait_until(lambda: Path(f"/proc/{pid}/exe").exists(), "it did not survive")
    finally:
        os.kill(pid, signal.SIGKILL)
