"""Users in a time namespace (containers that were restored): the deadline is ours, not theirs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.model.handle import HandleOutcome
from holdfast.mountpoints.capture import capture
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.waiting import wait_until

AHEAD, BEHIND = "100000", "-300"
_READ, _PPOLL = "0", "271"

CODE = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
print(os.getpid(), flush=True)
for line in sys.stdin:
    try:
        os.pwrite(file, b"x", 0)
        print("ok", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


class _Inside:
    """A program in a time namespace whose clock is so many seconds ahead."""

    def __init__(self, start: Hold, bench: Bench, seconds: str) -> None:
        if not Path("/proc/self/ns/time").exists():
            pytest.skip("no time namespaces")
        code = f"print('ready', flush=True){CODE}"
        command = ("unshare", "--time", "--monotonic", seconds, "--fork", "--kill-child")
        self.program = start(*command, sys.executable, "-c", code, bench.path / "file")
        self.pid = int(self.program.answer())

    def waits_in(self, call: str) -> bool:
        return Path(f"/proc/{self.pid}/syscall").read_text().split()[0] == call


def test_waits_until_the_deadline(bench: Bench, start: Hold) -> None:
    """By its own clock the deadline passed a day ago."""
    inside = _Inside(start, bench, AHEAD)
    bench.die_parked(60.0)
    wait_until(lambda: inside.waits_in(_PPOLL), "it does not wait in the harbour")
    _put_right(bench)
    assert inside.program.ask() == "ok"


def test_leaves_at_the_deadline(bench: Bench, start: Hold) -> None:
    """By its own clock it has minutes left. Afterwards it is put right like any other."""
    inside = _Inside(start, bench, BEHIND)
    bench.die_parked(6.0)
    begun = time.monotonic()
    while not inside.waits_in(_READ):
        assert time.monotonic() - begun < 60, "it does not leave the harbour"
        time.sleep(0.01)
    _put_right(bench)
    assert inside.program.ask() == "ok"


def _put_right(bench: Bench) -> None:
    regained = Rebind.regain(bench.record)
    assert regained is not None
    bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
    try:
        assert {line.outcome for line in regained.rebind(bases, same_data=True)} == {
            HandleOutcome.IDENTICAL
        }
    finally:
        regained.release()
        for descriptor in bases.values():
            os.close(descriptor)
