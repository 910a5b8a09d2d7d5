"""A process that was stopped and let go cannot tell: state, memory map, descriptors, masks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee
from tests.kernel.target.steadfast import Steadfast
from tests.waiting import wait_until

UNPRIVILEGED = 65534
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, int]]] = {
    "plain": ((), (), {}),
    "under a seccomp filter": ((), ("seccomp",), {}),
    "unprivileged": ((), (), {"user": UNPRIVILEGED, "group": UNPRIVILEGED}),
    "in namespaces of its own": (("unshare", "--mount", "--net", "--ipc"), (), {}),
    "in a user namespace": (("unshare", "--user"), (), {}),
}
ROUNDS = 20


def in_future() -> int:
    """A deadline that no test reaches."""
    return time.monotonic_ns() + 60 * 10**9


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_different(kind: str, steadfast_program: Path, ram_directory: Path) -> None:
    """Calls are made inside, descriptors go in and out, and afterwards all is as before."""
    before_it, arguments, options = KINDS[kind]
    command = (*before_it, str(steadfast_program), *arguments)
    with Steadfast(command, ram_directory, **options) as program:
        before = program.condition()
        for _ in range(ROUNDS):
            target = Tracee.stop(program.pid, in_future())
            try:
                assert target.call("getpid") == program.pid
                read_end, write_end = os.pipe()
                number = target.give(write_end)
                os.close(write_end)
                copy = target.take(number)
                os.write(copy, b"through")
                os.close(copy)
                target.call("close", number)
                assert os.read(read_end, 100) == b"through"
                assert os.read(read_end, 1) == b""
                os.close(read_end)
            finally:
                target.release()
            program.is_well()
        program.goes_on()
        wait_until(lambda: program.condition() == before, "it is not as it was")


def test_it_stands_still(steadfast_program: Path, ram_directory: Path) -> None:
    """Between stop and release no thread does anything."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        target = Tracee.stop(program.pid, in_future())
        try:
            assert program.stands_still()
        finally:
            target.release()
        program.goes_on()


def test_an_interpreter(ram_directory: Path) -> None:
    """A program that nobody compiled for this, with threads that come and go."""
    code = (
        "import threading, time\n"
        "count = [0]\n"
        "def work():\n"
        "    count[0] += 1\n"
        "while True:\n"
        "    threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "    [each.start() for each in threads]\n"
        "    [each.join() for each in threads]\n"
        "    print(count[0], flush=True)\n"
    )
    output = ram_directory / "output"
    with output.open("wb") as stdout:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=stdout)
    try:
        for _ in range(ROUNDS):
            size = output.stat().st_size
            while output.stat().st_size == size:
                assert process.poll() is None
                time.sleep(0.001)
            Tracee.stop(process.pid, in_future()).release()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
