"""Two processes with one memory (clone(2) with CLONE_VM): each has a harbour of its own in it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.system.processes.ptrace import has_ended

SOURCE = """
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int wait_for_ever(void *argument)
{
    for (;;)
        usleep(1000);
}

int main(void)
{
    char *stack = malloc(65536);
    printf("%d\\n", clone(wait_for_ever, stack + 65536, CLONE_VM | CLONE_FILES | SIGCHLD, 0));
    fflush(stdout);
    wait_for_ever(0);
}
"""


def test_both_are_stopped(ram_directory: Path) -> None:
    program = ram_directory / "siblings"
    subprocess.run(
        ["gcc", "-O2", "-x", "c", "-", "-o", program], input=SOURCE, text=True, check=True
    )
    process = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    other = int(process.stdout.readline())
    try:
        for _ in range(2):
            targets = [
                Tracee.stop(pid, time.monotonic_ns() + 60 * 10**9) for pid in (process.pid, other)
            ]
            assert [target.call("getpid") for target in targets] == [process.pid, other]
            for target in targets:
                target.release()
        time.sleep(0.01)
        assert not has_ended(process.pid)
        assert not has_ended(other)
    finally:
        os.kill(other, signal.SIGKILL)
        process.kill()
        process.communicate()
