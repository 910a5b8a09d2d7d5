"""The agent dies, and a seccomp filter forbids the process to look at the clock: it goes on."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from holdfast.applications.rebind.agent.tracee import Tracee
from tests.waiting import wait_until

SOURCE = """
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ppoll, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        return 1;
    for (;;) {
        write(1, "x", 1);
        usleep(1000);
    }
}
"""


def test_it_goes_on(ram_directory: Path) -> None:
    program, output = ram_directory / "filtered", ram_directory / "output"
    subprocess.run(
        ["gcc", "-O2", "-x", "c", "-", "-o", program], input=SOURCE, text=True, check=True
    )
    with output.open("wb") as file:
        process = subprocess.Popen([program], stdout=file)
    try:
        wait_until(lambda: output.stat().st_size > 10, "it does not begin")
        target = Tracee.stop(process.pid, time.monotonic_ns() + 10**9)
        target.set_parked(True)
        size = output.stat().st_size
        target.abandon()
        wait_until(
            lambda: output.stat().st_size > size + 10, "it does not go on", timeout_seconds=10
        )
    finally:
        process.kill()
        process.wait()
