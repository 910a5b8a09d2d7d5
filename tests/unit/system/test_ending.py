"""Whoever is told to end is interrupted, also where Python drops the exception."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

AT_A_FORK = """
import os, signal
from holdfast.system.processes.ending import ending_in_order
left = [NUMBER]
def told_to_end():
    if left:
        os.kill(os.getpid(), left.pop())
os.register_at_fork(after_in_parent=told_to_end)
try:
    with ending_in_order() as came:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        while True:
            signal.pause()
except KeyboardInterrupt:
    print("interrupted", came)
"""
IN_A_FINALISER = """
import os, signal
from holdfast.system.processes.ending import ending_in_order
class Ends:
    def __del__(self):
        os.kill(os.getpid(), NUMBER)
try:
    with ending_in_order() as came:
        Ends()
        while True:
            signal.pause()
except KeyboardInterrupt:
    print("interrupted", came)
"""


@pytest.mark.parametrize("program", [AT_A_FORK, IN_A_FINALISER])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_none_is_lost(program: str, number: signal.Signals) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", program.replace("NUMBER", str(int(number)))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr) == (f"interrupted {[int(number)]}\n", "")


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM, signal.SIGHUP),  # a session that systemd ends
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGINT, signal.SIGHUP, signal.SIGTERM),
    ],
)
def test_the_undoing_is_not_interrupted(numbers: tuple[signal.Signals, ...]) -> None:
    """Those that come at the same moment, and later ones."""
    program = f"""
import os, signal
from holdfast.system.processes.ending import ending_in_order
numbers = {[int(number) for number in numbers]}
with ending_in_order() as came:
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in numbers:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    except BaseException as error:
        for number in numbers:
            os.kill(os.getpid(), number)
        print("undone", type(error).__name__, sorted(set(came)))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == f"undone KeyboardInterrupt {sorted(map(int, numbers))}\n"


def test_a_forked_child_gets_no_alarm() -> None:
    """It has no handler for it, and its own way to end."""
    program = """
import os, signal
from holdfast.system.processes.ending import ending_in_order
def told_to_end():
    os.kill(os.getpid(), signal.SIGTERM)
os.register_at_fork(after_in_child=told_to_end)
with ending_in_order():
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        armed = signal.getitimer(signal.ITIMER_REAL)[0] > 0
        os._exit(int(armed))
    print("armed", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "armed 0\n"


def test_they_wait_where_nothing_may_be_disturbed() -> None:
    program = """
import os, signal
from holdfast.system.processes.ending import ending_in_order, endings_wait
with ending_in_order() as came:
    try:
        with endings_wait():
            os.kill(os.getpid(), signal.SIGTERM)
            print("undisturbed", came)
        print("not told")
    except KeyboardInterrupt:
        print("interrupted", came)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == f"undisturbed []\ninterrupted [{int(signal.SIGTERM)}]\nTrue\n"


def test_what_is_ignored_stays_ignored() -> None:
    program = """
import os, signal
from holdfast.system.processes.ending import ending_in_order
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with ending_in_order() as came:
    os.kill(os.getpid(), signal.SIGHUP)
print(came, signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "[] True\n"
