"""Expendable children: the caller gets the result, the error, or DeadlinePassed; never a hang."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from holdfast.errors import DeadlinePassed, HoldsData, StorageFailed
from holdfast.system.children.expendable import in_expendable_child
from tests.waiting import wait_until


def test_the_result_comes_back_however_large() -> None:
    assert in_expendable_child(lambda: {"pid": "x" * 300_000}) == {"pid": "x" * 300_000}


def test_it_runs_in_another_process() -> None:
    assert in_expendable_child(os.getpid) != os.getpid()


def test_an_error_of_ours_comes_back_with_its_mend() -> None:
    def refuse() -> None:
        raise HoldsData("it holds data", "use another")

    with pytest.raises(HoldsData, match="it holds data") as raised:
        in_expendable_child(refuse)
    assert raised.value.mend == "use another"


def test_an_os_error_comes_back_with_its_number() -> None:
    with pytest.raises(FileNotFoundError):
        in_expendable_child(lambda: Path("/does/not/exist").stat())


def test_an_error_that_cannot_travel_comes_back_as_words() -> None:
    class LocalError(Exception):
        pass

    def fail() -> None:
        raise LocalError("strange")

    with pytest.raises(StorageFailed, match="LocalError: strange"):
        in_expendable_child(fail)


def test_a_child_that_hangs_is_given_up_at_the_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlinePassed, match=r"the image did not answer within 0.1 s"):
        in_expendable_child(lambda: time.sleep(60), 0.1, "the image")
    assert time.monotonic() - started < 5


def test_a_child_that_dies_silently_is_an_error() -> None:
    with pytest.raises(StorageFailed, match="died without an answer"):
        in_expendable_child(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_no_child_is_left_behind() -> None:
    child = in_expendable_child(os.getpid)
    wait_until(lambda: not Path(f"/proc/{child}").exists())  # on a busy host a thread buries it
