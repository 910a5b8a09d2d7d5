"""One changing command at a time on each volume, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.coordination.turn import turn
from holdfast.errors import InUse

HOLDER = """
import sys
from pathlib import Path
from holdfast.config import Settings
from holdfast.coordination.turn import turn
with turn(Settings(home=Path(sys.argv[1])).run_directory, "bank"):
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def start_holder(settings: Settings) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(settings.home)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "mine\n"
    return process


def test_another_command_waits_and_then_names_who_is_at_work(settings: Settings) -> None:
    with start_holder(settings) as holder:
        with pytest.raises(InUse, match=str(holder.pid)), turn(settings.run_directory, "bank", 0.1):
            pass
        with turn(settings.run_directory, "other", 0.1):
            pass
        holder.communicate("")
    with turn(settings.run_directory, "bank", 0.1):
        pass


def test_a_command_that_was_killed_leaves_no_lock(settings: Settings) -> None:
    with start_holder(settings) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with turn(settings.run_directory, "bank", 0.1):
            pass


def test_an_error_inside_gives_the_turn_back(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError), turn(settings.run_directory, "bank"):
        raise ZeroDivisionError
    with turn(settings.run_directory, "bank", 0.0):
        pass
