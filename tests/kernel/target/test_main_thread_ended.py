"""A process whose main thread has ended, while others go on, is refused and never ignored."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.applications.rebind.scan import blockers, judge
from holdfast.applications.users import find_users
from holdfast.errors import Refused
from holdfast.mountpoints.capture import capture
from holdfast.system.processes.ptrace import has_ended
from tests.waiting import wait_until

SOURCE = """
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static void *wait_for_ever(void *argument)
{
    for (;;)
        pause();
}

int main(int count, char **words)
{
    pthread_t thread;
    open(words[1], O_RDWR | O_CREAT, 0600);
    pthread_create(&thread, 0, wait_for_ever, 0);
    pthread_exit(0);
}
"""


def test_is_refused(ram_directory: Path) -> None:
    program, mount = ram_directory / "headless", ram_directory / "mount"
    subprocess.run(
        ["gcc", "-O2", "-pthread", "-x", "c", "-", "-o", program],
        input=SOURCE,
        text=True,
        check=True,
    )
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "headless", mount], check=True)
    process = subprocess.Popen([program, mount / "file"])
    try:
        wait_until(lambda: has_ended(process.pid), "its main thread goes on")
        found = blockers(judge(find_users(capture(str(mount)))))
        assert [each.handle.pid for each in found] == [process.pid]
        with pytest.raises(Refused, match="main thread"):
            Tracee.stop(process.pid, time.monotonic_ns() + 60 * 10**9)
    finally:
        process.kill()
        process.wait()
        subprocess.run(["umount", mount], check=True)
