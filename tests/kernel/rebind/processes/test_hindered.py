"""One that cannot stand still is found at once, and named: the others go on as before."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.applications.rebind.tracing.detaching import detach_late_threads
from holdfast.errors import Blocked, DeadlinePassed, Refused
from holdfast.model.handle import HandleOutcome
from holdfast.system.processes import ptrace
from holdfast.system.resources.cgroup import frozen_by, request_freeze, unified_mount
from tests.faults.fuse_tree import FuseTree
from tests.kernel.rebind.bench import Bench, Program, run
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.traces import Traces
from tests.waiting import wait_until

DEADLINE_SECONDS = 60.0
SHORT_SECONDS = 2.0
"""A deadline of which little is left for those that wait for a child."""

SOON_SECONDS = 30.0
"""Half of the deadline: far more than it takes on a busy machine, and less than to the end."""

OPENS = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_APPEND)
print("ready", flush=True)
"""
HANDS_ON = """
for line in sys.stdin:
    os.write(file, b"x")
    print("ok", flush=True)
"""
WAITS_FOR_CHILD = """
import ctypes, signal
CLONE_VFORK, CLONE = 0x4000, 56
if ctypes.CDLL(None).syscall(CLONE, CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
    sys.stdin.readline()
    os._exit(0)
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 2; what is in it is thawed and moved away in the end."""
    mount = unified_mount()
    if mount is None:
        pytest.skip("no control groups of version 2")
    made = mount / f"holdfast-test-{uuid.uuid4().hex[:8]}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    yield made
    request_freeze(made, False)
    for word in (made / "cgroup.procs").read_text().split():
        (mount / "cgroup.procs").write_text(word)
    made.rmdir()


def _in_state(pid: int, states: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in states


def _goes_on(program: Program) -> None:
    """Our end would let it go; we live on."""

    def is_free() -> bool:
        detach_late_threads()
        return not ptrace.tracer_of(program.pid)

    wait_until(is_free, "we hold it")


def _is_refused(bench: Bench, words: str, kind: type[Exception], **options: object) -> None:
    begun = time.monotonic()
    with pytest.raises(kind, match=words):
        bench.rebind(DEADLINE_SECONDS, **options).stop()
    assert time.monotonic() - begun < SOON_SECONDS


def test_in_a_frozen_group(bench: Bench, hold: Hold, start: Hold, group: Path) -> None:
    """Nobody is stopped; once it runs again it is moved."""
    frozen = start(sys.executable, "-c", OPENS + HANDS_ON, bench.path / "frozen")
    other = hold("file", "cwd")
    (group / "cgroup.procs").write_text(str(frozen.pid))
    request_freeze(group, True)
    assert frozen_by(frozen.pid) == str(group)
    _is_refused(bench, "is frozen", Blocked)
    other.verify()
    request_freeze(group, False)
    assert {line.outcome for line in bench.move("xfs")} == {HandleOutcome.IDENTICAL}
    frozen.verify()


def test_frozen_at_the_last_moment(bench: Bench, hold: Hold, start: Hold, group: Path) -> None:
    """When everybody was looked at and nobody stands yet."""
    frozen = start(sys.executable, "-c", OPENS + HANDS_ON, bench.path / "frozen")
    other = hold("file", "cwd")
    (group / "cgroup.procs").write_text(str(frozen.pid))
    _is_refused(bench, "is frozen", Refused, seized=lambda: request_freeze(group, True))
    other.verify()
    request_freeze(group, False)
    frozen.verify()


def waiting_for_child(bench: Bench, start: Hold) -> tuple[Program, int]:
    """A user in vfork, and the child that it waits for."""
    code = OPENS + WAITS_FOR_CHILD + HANDS_ON
    parent = start(sys.executable, "-c", code, bench.path / "parent")
    wait_until(lambda: _in_state(parent.pid, "D"), "it has no child")
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    return parent, int(children.split()[0])


def test_waits_for_its_child(bench: Bench, hold: Hold, start: Hold) -> None:
    """It is named with what the child waits for, and nobody was stopped."""
    parent, child = waiting_for_child(bench, start)
    other = hold("file", "cwd")
    other.settle()
    before = Traces.of(other.pid)
    rebind = bench.rebind(DEADLINE_SECONDS)
    with pytest.raises(Blocked, match=rf"waits .vfork. for its child {child}") as caught:
        rebind.stop()
    assert f"process {child} go on, or end it: it waits (" in caught.value.mend
    assert Traces.of(other.pid) == before
    other.verify()
    os.kill(child, signal.SIGSTOP)
    wait_until(lambda: _in_state(child, "T"), "it is not stopped")
    with pytest.raises(Blocked) as caught:
        bench.rebind(SHORT_SECONDS).prepare()
    assert "it was stopped (SIGSTOP)" in caught.value.mend
    os.kill(child, signal.SIGKILL)
    parent.verify()


def test_waits_for_its_child_a_moment_longer(bench: Bench, hold: Hold, start: Hold) -> None:
    parent, child = waiting_for_child(bench, start)
    rebind = bench.rebind(DEADLINE_SECONDS)
    threading.Timer(0.3, os.kill, (child, signal.SIGKILL)).start()
    rebind.stop()
    assert parent.pid in rebind.pids
    rebind.release()
    parent.verify()


def test_begins_to_wait_for_its_child_at_the_last_moment(
    bench: Bench, hold: Hold, start: Hold
) -> None:
    """When everybody was looked at and nobody stands yet."""
    code = OPENS + "sys.stdin.readline()" + WAITS_FOR_CHILD + HANDS_ON
    parent = start(sys.executable, "-c", code, bench.path / "parent")
    other = hold("file", "cwd")
    rebind = bench.rebind(DEADLINE_SECONDS)
    rebind.prepare()
    assert parent.process.stdin is not None
    parent.process.stdin.write("go on\n")
    parent.process.stdin.flush()
    wait_until(lambda: _in_state(parent.pid, "D"), "it has no child")
    with pytest.raises(DeadlinePassed, match=r"waits .vfork. for its child"):
        rebind.stop()
    other.verify()
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGKILL)
    _goes_on(parent)
    parent.verify()


def test_writes_to_a_frozen_file_system(bench: Bench, start: Hold) -> None:
    writer = start(sys.executable, "-c", OPENS + HANDS_ON, bench.path / "file")
    run("fsfreeze", "--freeze", bench.path)
    try:
        assert writer.process.stdin is not None
        writer.process.stdin.write("write\n")
        writer.process.stdin.flush()
        wait_until(lambda: _in_state(writer.pid, "D"), "it does not wait")
        _is_refused(bench, f"frozen: that of {bench.path}/file", DeadlinePassed)
    finally:
        run("fsfreeze", "--unfreeze", bench.path)
    _goes_on(writer)
    assert writer.answer() == "ok"
    writer.verify()


CLIENT = """
import os, sys, threading
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
served = os.open(sys.argv[2], os.O_RDWR)
def work():
    while True:
        os.pwrite(served, b"x", 0)
        os.fsync(served)
threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
"""


def test_clients_stop_before_their_server(bench: Bench, start: Hold, ram_directory: Path) -> None:
    """A user of the volume serves a file system that other users wait for all the time."""
    folder, mountpoint = ram_directory / "folder", ram_directory / "served"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(4096))
    with (bench.path / "kept").open("wb") as kept, FuseTree(folder, mountpoint, kept) as tree:
        kept.close()
        files = [bench.path / str(number) for number in range(3)]
        clients = [
            start(sys.executable, "-c", CLIENT + HANDS_ON, file, mountpoint / "file")
            for file in files
        ]
        for filesystem in ("xfs", "ext4"):
            lines = bench.move(filesystem)
            assert tree.server.pid in {line.handle.pid for line in lines}
            assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
        for client in clients:
            client.verify()
            client.close()


MAPS_CODE = """
import mmap
served = os.open(sys.argv[2], os.O_RDONLY)
code = mmap.mmap(served, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
print("mapped", flush=True)
"""


def test_its_memory_lies_on_storage_that_hangs(
    bench: Bench, start: Hold, ram_directory: Path
) -> None:
    """What we look for in its memory is not looked for there."""
    folder = ram_directory / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(4096))
    with FuseTree(folder, ram_directory / "served") as tree:
        code = OPENS + MAPS_CODE + HANDS_ON
        served = ram_directory / "served" / "file"
        program = start(sys.executable, "-c", code, bench.path / "file", served)
        assert program.answer() == "mapped"
        tree.stop()
        try:
            assert {line.outcome for line in bench.move("xfs")} == {HandleOutcome.IDENTICAL}
            program.verify()
        finally:
            tree.resume()
            program.close()
