"""What cannot be moved is told beforehand, and then nobody is touched."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from holdfast.applications.rebind.scan import blockers, judge
from holdfast.errors import Blocked
from holdfast.model.handle import HandleKind, HandleVerdict
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.traces import Traces

# 267: /dev/kmsg
HOLD = {
    "socket": "held = socket.socketpair(type=socket.SOCK_DGRAM); held[0].bind(f'{folder}/x')",
    "device": "os.mknod(f'{folder}/x', 0o20600, 267); held = os.open(f'{folder}/x', 0)",
    "root": "os.chroot(folder); os.chdir('/'); os.setresuid(65534, 65534, 65534)",
}


def hold_blocker(start: Hold, bench: Bench, what: str) -> Program:
    """A program that holds something which cannot be moved, and a file which can."""
    code = (
        f"import os, socket, sys; folder = {str(bench.path)!r}; file = open(folder + '/f', 'w');"
        f"{HOLD[what]}; print('ready', flush=True); sys.stdin.readline(); print('ok', flush=True);"
        "sys.stdin.readline()"
    )
    return start(sys.executable, "-c", code)


@pytest.mark.parametrize("what", HOLD)
def test_nothing_is_touched(bench: Bench, start: Hold, what: str) -> None:
    blocker = hold_blocker(start, bench, what)
    other = start("sh", "-c", "cd $0; exec 5>log; echo ready; read x; echo ok", bench.path)
    for program in (blocker, other):
        program.settle()
    before = [Traces.of(program.pid) for program in (blocker, other)]
    found = blockers(judge(bench.users()))
    assert {each.handle.kind for each in found} == {HandleKind(what)}
    assert all(each.reason for each in found)
    rebind = bench.rebind()
    with pytest.raises(Blocked, match=what) as caught:
        rebind.stop()
    assert str(blocker.pid) in caught.value.message
    assert not bench.record.exists()
    assert [Traces.of(program.pid) for program in (blocker, other)] == before
    assert blocker.ask() == "ok"


def test_a_traced_process(bench: Bench, start: Hold) -> None:
    program = start("sh", "-c", "cd $0; echo ready; read x; echo ok; read x", bench.path)
    tracer = start(
        sys.executable,
        "-c",
        "import ctypes, os, sys; libc = ctypes.CDLL(None);"
        f"assert libc.ptrace(0x4206, {program.pid}, 0, 0) == 0;"
        "print('ready', flush=True); sys.stdin.readline()",
    )
    judged = [each for each in judge(bench.users()) if each.handle.pid == program.pid]
    assert judged and {each.verdict for each in judged} == {HandleVerdict.BLOCKS}
    assert str(tracer.pid) in judged[0].reason
    tracer.close()
    assert bench.move("xfs")
    assert program.ask() == "ok"


def test_verdicts_of_what_can_be_moved(bench: Bench, hold: Hold) -> None:
    program = hold("file", "deleted", "inotify", "cwd", "program")
    verdicts = {
        (each.handle.kind, each.handle.deleted): each.verdict
        for each in judge(bench.users())
        if each.handle.pid == program.pid
    }
    assert verdicts == {
        (HandleKind.FILE, False): HandleVerdict.MOVED,
        (HandleKind.FILE, True): HandleVerdict.RECREATED,
        (HandleKind.MAP, False): HandleVerdict.MOVED,
        (HandleKind.MAP, True): HandleVerdict.RECREATED,
        (HandleKind.INOTIFY, False): HandleVerdict.RECREATED,
        (HandleKind.EXECUTABLE, False): HandleVerdict.MOVED,
        (HandleKind.WORKING_DIRECTORY, False): HandleVerdict.MOVED,
    }


def test_ourselves(bench: Bench) -> None:
    from holdfast.applications.users import find_users
    from holdfast.mountpoints.capture import capture

    with open(Path(bench.path) / "held", "w"):
        users = find_users(capture(str(bench.path)), ourselves=True)
        (judged,) = [each for each in judge(users) if each.handle.pid == os.getpid()]
        assert judged.verdict is HandleVerdict.BLOCKS
