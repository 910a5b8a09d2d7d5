"""Whoever moves handles may die before and after every call that it makes in a process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from holdfast.applications.rebind.agent.descriptor_tables import DescriptorChannel
from holdfast.applications.rebind.opening.opener import Opener
from holdfast.applications.rebind.parking.record import ParkingRecord
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.rebind.tracing.memory import ProcessMemory
from holdfast.mountpoints.capture import capture
from holdfast.system.files.fifo import Fifo
from holdfast.system.processes import ptrace
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.soak import every_other

PARTS = 4
KINDS = (
    *("fifo", "removed", "removed_cwd", "removed_root", "listening", "seqpacket", "datagram"),
    *("device", "aside_root", "fanotify", "keyed_map"),
)


CALLS = ((ptrace, "go_on"), (ptrace, "run"))
"""What lets a thread of a process make calls."""

ACTS = (
    *CALLS,
    *((ProcessMemory, "write"), (DescriptorChannel, "take"), (DescriptorChannel, "giving")),
    *((Fifo, "__init__"), (Fifo, "fill"), (Fifo, "open"), (Fifo, "close")),
    *((Opener, "open"), (Opener, "let_pipes_go"), (ParkingRecord, "write")),
)
"""Whatever else changes anything in a process, in a pipe or in the record."""


def dying_at(place: int, acts: Sequence[tuple[Any, str]]) -> None:
    """Let this process be killed before it does one of these things for the so many-th time."""
    done, agent = count(), os.getpid()

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def acting(*arguments: Any, **more: Any) -> Any:
            if os.getpid() == agent and next(done) == place:
                os.kill(agent, signal.SIGKILL)
            return act(*arguments, **more)

        return acting

    for owner, name in acts:
        setattr(owner, name, counted(getattr(owner, name)))


def moved_by_one_that_dies(
    bench: Bench, place: int, acts: Sequence[tuple[Any, str]] = CALLS
) -> bool:
    """Whether it died before it had finished."""
    child = bench.agent(lambda: dying_at(place, acts))
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or not os.WEXITSTATUS(status)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(
    ("kind", "part"), [(kind, part) for kind in KINDS for part in every_other(range(PARTS))]
)
def test_another_one_finishes(
    bench: Bench, hold: Hold, kind: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTS_DIE", "1")
    program = hold(kind)
    for call in count(part, PARTS):
        if is_finished(bench, program, moved_by_one_that_dies(bench, call)):
            print(f"{kind}: agents have died at {call // PARTS} places")
            return


def is_finished(bench: Bench, program: Program, died: bool) -> bool:
    """Let another agent finish it, and the program verify itself; whether there was none to die."""
    rebind = Rebind.regain(bench.record)
    if rebind is not None:
        bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
        rebind.rebind(bases)
        rebind.release()
        for descriptor in bases.values():
            os.close(descriptor)
    program.verify()
    return not died


def test_between_any_two_acts(
    bench: Bench, hold: Hold, soak_rounds: Callable[[int, int], int]
) -> None:
    """As the last one, at what the agent does by itself, too."""
    program = hold("fifo")
    for place in count(0, soak_rounds(11, 1)):
        if is_finished(bench, program, moved_by_one_that_dies(bench, place, ACTS)):
            print(f"fifo: agents have died up to act {place}")
            return
