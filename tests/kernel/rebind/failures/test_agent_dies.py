"""Whoever moves handles may die at any instant: another one finishes it, or undoes it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from holdfast.applications.rebind.rebind import Rebind
from holdfast.model.handle import HandleOutcome
from holdfast.mountpoints.capture import capture
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

KINDS = (
    *("file", "append", "dup", "fork", "directory", "path", "cwd", "shared_map", "private_map"),
    *("program", "flock", "posix", "ofd", "lease", "deleted", "inotify", "fifo", "removed"),
    *("deleted_fifo", "threads"),
)


def _in_an_agent_that_dies(bench: Bench, seconds_left: float | None = None) -> None:
    """Stop and park in a child that is killed then."""
    child = os.fork()
    if child == 0:
        try:
            rebind = bench.rebind()
            rebind.stop()
            rebind.park()
            if seconds_left is not None:
                rebind.set_deadline(time.monotonic_ns() + int(seconds_left * 1e9))
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def test_another_one_finishes_on_another_file_system(bench: Bench, hold: Hold) -> None:
    program = hold(*KINDS)
    _in_an_agent_that_dies(bench)
    with bench.prepared("xfs") as image:
        pass
    with bench.exchanged(image) as bases:
        rebind = Rebind.regain(bench.record)
        assert rebind is not None
        lines = rebind.rebind(bases)
        rebind.release()
    assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
    assert not bench.record.exists()
    program.verify()


def test_another_one_undoes_it(bench: Bench, hold: Hold) -> None:
    program = hold(*KINDS)
    _in_an_agent_that_dies(bench)
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
    try:
        rebind.rebind(bases)
        rebind.release()
    finally:
        for descriptor in bases.values():
            os.close(descriptor)
    program.verify()


def test_nothing_to_do_when_the_process_has_ended(bench: Bench, hold: Hold) -> None:
    program = hold("file", "cwd")
    _in_an_agent_that_dies(bench)
    program.close()
    assert Rebind.regain(bench.record) is None
    assert not bench.record.exists()


def test_past_the_deadline_handles_return_errors(bench: Bench, hold: Hold) -> None:
    program = hold("file", "cwd", "shared_map")
    _in_an_agent_that_dies(bench, seconds_left=0.5)
    started = time.monotonic()
    answer = program.ask()
    assert time.monotonic() - started < 30
    assert answer.startswith("file: ")
    bench.close()
    assert not os.path.ismount(bench.path)


def test_killed_at_many_points(
    bench: Bench, hold: Hold, soak_rounds: Callable[[int, int], int]
) -> None:
    """Between any two acts: the process goes on by itself, or can be rebound by another agent."""
    program = hold(*KINDS)
    rounds = soak_rounds(12, 150)
    for number in range(rounds):
        child = bench.agent()
        time.sleep(0.4 * number / rounds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        rebind = Rebind.regain(bench.record)
        if rebind is not None:
            bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
            rebind.rebind(bases)
            rebind.release()
            for descriptor in bases.values():
                os.close(descriptor)
        program.verify()
