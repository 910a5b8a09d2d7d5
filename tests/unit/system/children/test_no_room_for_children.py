"""A child that cannot be forked costs no descriptor, however often it is tried."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.gate.processes.channel import Probe
from holdfast.gate.processes.name_watch import Look
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.expendable_batch import ask_each


def begin_look() -> object:
    return Look({"look": 1, "legs": [], "timeout_seconds": 1.0}, os.getpid(), set())


def begin_probe() -> object:
    return Probe(1, "file:/nowhere", 1.0)


def begin_expendable() -> object:
    return in_expendable_child(lambda: 1)


def begin_batch() -> object:
    return ask_each(str, [1])


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("begin", [begin_look, begin_probe, begin_expendable, begin_batch])
def test_a_child_that_cannot_be_forked_costs_no_descriptor(begin: Callable[[], object]) -> None:
    """A keeper tries again every second, for as long as the host has no room."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setuid(65534)  # root is not bound by the limit
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
            before = count_descriptors()
            for _ in range(3):
                with suppress(BlockingIOError):
                    begin()
                    os._exit(2)
            status = 0 if count_descriptors() == before else 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
