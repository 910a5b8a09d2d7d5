"""Whoever moves handles may die before and after every call that it makes in a process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.mountpoints.capture import capture
from holdfast.system.processes import ptrace
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

PARTS = 4
KINDS = ("fifo", "removed", "removed_cwd", "removed_root", "listening", "seqpacket")


def dying_at(call: int) -> None:
    """Let this process be killed when it has a thread make this call, and wait for none after."""
    made = count()

    def counted(go_on: Callable[..., None]) -> Callable[..., None]:
        def making(*arguments: int) -> None:
            if next(made) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            go_on(*arguments)

        return making

    ptrace.go_on = counted(ptrace.go_on)
    ptrace.run = counted(ptrace.run)


def moved_by_one_that_dies(bench: Bench, call: int) -> bool:
    """Whether it died before it had finished."""
    child = os.fork()
    if child == 0:
        try:
            dying_at(call)
            rebind = bench.rebind()
            rebind.stop()
            rebind.park()
            points = capture(str(bench.path))
            rebind.rebind({point.id: os.open(bench.path, os.O_PATH) for point in points})
            rebind.release()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or not os.WEXITSTATUS(status)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(PARTS))
def test_another_one_finishes(
    bench: Bench, hold: Hold, kind: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTS_DIE", "1")
    program = hold(kind)
    for call in count(part, PARTS):
        died = moved_by_one_that_dies(bench, call)
        rebind = Rebind.regain(bench.record)
        if rebind is not None:
            bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
            rebind.rebind(bases)
            rebind.release()
            for descriptor in bases.values():
                os.close(descriptor)
        program.verify()
        if not died:
            return
