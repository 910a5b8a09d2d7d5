"""Whoever works for a process of ours ends with it, also when that is killed."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.applications.rebind.opening.opener import Opener
from holdfast.applications.rebind.opening.requests import Expected, OpenRequest
from holdfast.applications.rebind.parking.relocation import OtherContents
from holdfast.service.doctor import moving
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.processes.acting_as import Rights, acting_as
from holdfast.system.processes.process import dies_with_parent, fork_bound
from tests.waiting import wait_until

_SECONDS = 30


def _all_end_with(function: Callable[[int], object]) -> bool:
    """Kill whoever calls this function once that wrote to the pipe; whether everybody who had that
    pipe open, as all children of his had, is gone then."""
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            os.close(reading)
            function(writing)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb", buffering=0) as pipe:
        assert pipe.read(1) == b"b"
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        return bool(poller.poll(_SECONDS * 1000)) and not pipe.read(1)


def _hang(begun: int) -> None:
    signal.alarm(2 * _SECONDS)  # nothing of a test that failed stays for ever
    os.write(begun, b"b")
    while True:
        signal.pause()


def test_one_that_examines_storage() -> None:
    assert _all_end_with(lambda begun: in_expendable_child(lambda: _hang(begun), _SECONDS))


def test_one_that_goes_through_a_list() -> None:
    def examine(begun: int) -> None:
        ask_each(_hang, [begun], item_seconds=_SECONDS, budget_seconds=_SECONDS)

    assert _all_end_with(examine)


def test_one_that_doctor_tries_something_with() -> None:
    def try_it(begun: int) -> None:
        with moving._child():
            _hang(begun)

    assert _all_end_with(try_it)


def _held(pid: int) -> set[str]:
    """What a process has open. One that has just answered still closes what it has passed."""
    held = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.add(str(each.readlink()))
    return held


def test_those_that_open_files(tmp_path: Path) -> None:
    """Also where they have answered, and wait: each had the others' ends of their channels."""
    for number in range(250):
        (tmp_path / str(number)).touch()
    wanted = [
        OpenRequest(str(number), 1, str(number), os.O_RDONLY, Expected.FILE)
        for number in range(250)
    ]
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            base = os.open(tmp_path, os.O_PATH)
            deadline_ns = time.monotonic_ns() + _SECONDS * 10**9
            opener = Opener({1: base}, tmp_path, deadline_ns, OtherContents(), same_data=True)
            opener.begin([wanted])
            opener.open(wanted)
            os.write(writing, b" ".join(str(each._pid).encode() for each in opener._plain))
            signal.pause()
        finally:
            os._exit(1)
    children: list[int] = []
    try:
        children += [int(word) for word in os.read(reading, 100).split()]
        assert len(children) == 2
        for child in children:
            held = _held(child)
            assert f"pipe:[{os.fstat(writing).st_ino}]" not in held, "it has what is not its own"
        os.kill(parent, signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    finally:
        for process in (parent, *children):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        os.waitpid(parent, 0)
    os.close(reading)
    os.close(writing)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_one_that_acted_with_the_rights_of_somebody() -> None:
    child = fork_bound()
    if child == 0:
        with acting_as(Rights(65534, 65534, ())):
            pass
        os._exit(0 if dies_with_parent() else 1)
    assert os.waitpid(child, 0)[1] == 0
