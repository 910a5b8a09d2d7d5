"""Limits: what cannot be seen is noticed at the dismount, and then everything is as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from holdfast.service import Holdfast, MigrateRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.traces import Traces

USER = "cd $0; exec 5>>log; echo ready; while read x; do echo $x >&5 && echo ok; done"

SENDER = """
import array, os, socket, sys
here, there = socket.socketpair()
held = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
there.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [held]))])
os.close(held)
print("ready", flush=True)
sys.stdin.readline()
print(len(here.recvmsg(1, socket.CMSG_SPACE(4))[1]), flush=True)
sys.stdin.readline()
"""

WATCHER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
watch = libc.inotify_init()
assert libc.inotify_add_watch(watch, os.fsencode(sys.argv[1]), 0x100) == 1
print("ready", flush=True)
for line in sys.stdin:
    print(os.read(watch, 4096)[16:].rstrip(bytes(1)).decode(), flush=True)
"""
"""Told of files that are made (IN_CREATE, linux/inotify.h); each event has 16 bytes before it."""


def is_undone(adopted: Holdfast, bench: Bench, user: Program) -> None:
    """The migration fails at the dismount; its users, the mount and the old storage go on."""
    before = Traces.of(user.pid)
    with pytest.raises(HoldfastError):
        adopted.restorations.migrate(
            MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
        )
    assert Traces.of(user.pid) == before
    mount = mount_at(bench.path)
    assert mount is not None
    assert mount.filesystem == "ext4"
    assert adopted.restorations.in_progress("data") is None
    assert user.ask() == "ok"
    assert (bench.path / "log").read_text() == "verify\n"


def test_a_descriptor_in_flight(adopted: Holdfast, bench: Bench, start: Hold) -> None:
    """Sent over a Unix socket and not received yet: no table of descriptors has it."""
    sender = start(sys.executable, "-c", SENDER, bench.path / "sent", cwd="/")
    user = start("sh", "-c", USER, bench.path)
    is_undone(adopted, bench, user)
    assert sender.ask() == "1", "what was sent must arrive"


def test_a_working_directory_on_a_mount_detached_lazily(
    adopted: Holdfast, bench: Bench, start: Hold
) -> None:
    other = bench.folder / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", bench.path, other], check=True)
    lost = start("sh", "-c", "echo ready; read x; echo ok", cwd=other)
    subprocess.run(["umount", "--lazy", other], check=True)
    user = start("sh", "-c", USER, bench.path)
    is_undone(adopted, bench, user)
    assert lost.ask() == "ok"


def test_events_that_were_not_read_are_lost(adopted: Holdfast, bench: Bench, start: Hold) -> None:
    """The receipt says how many bytes; later ones come, with the same number of the watch."""
    watcher = start(sys.executable, "-c", WATCHER, bench.path, cwd="/")
    Path(bench.path / "before").touch()
    receipt = adopted.restorations.migrate(
        MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
    )
    assert receipt is not None
    assert any("not read are lost" in note for note in receipt.details["notes"])
    Path(bench.path / "after").touch()
    assert watcher.ask() == "after"
