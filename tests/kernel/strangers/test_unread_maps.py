"""A process whose memory maps cannot be read keeps nobody from anything, unless it uses the volume.

Anybody can make one: he stops his own FUSE server, and lets the kernel write what he has mapped
there while it holds the memory lock of his process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.harboured import with_parked_handles
from holdfast.applications.users import busy_processes, find_users
from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.model.finding import Verdict
from holdfast.model.handle import HandleKind
from holdfast.model.plan import Strategy
from holdfast.service import AssessRequest, Holdfast, MigrateRequest
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.mounts.users import users_of_device
from tests.faults.mounting import unmount
from tests.kernel.restoration.bench import application, make_image, mounted
from tests.kernel.users.programs import mounts_at, program, users_at
from tests.kernel.users.test_hanging import SERVER
from tests.waiting import wait_until

STRANGER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p

def mapped(path):
    file = os.open(path, os.O_RDWR)
    place = libc.mmap(None, ctypes.c_size_t(4096), 3, 1, file, ctypes.c_long(0))
    os.close(file)
    return place

place = mapped(sys.argv[1] + '/f')
others = [mapped(path) for path in sys.argv[2:]]
ctypes.memset(place, 1, 1)
print('ready', flush=True)
sys.stdin.readline()
print('begins', flush=True)
# MAP_FIXED: what was mapped there is written, under the lock.
libc.mmap(ctypes.c_void_p(place), ctypes.c_size_t(4096), 3, 0x32, -1, ctypes.c_long(0))
sys.stdin.read()
"""

Stranger = Callable[..., int]
"""Begin one, which has mapped these files, too; its pid."""


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    folder = tmp_path / "own"
    folder.mkdir()
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE)
    started: list[subprocess.Popen[bytes]] = []

    def start(*mapping: Path) -> int:
        command = [sys.executable, "-c", STRANGER, str(folder), *map(str, mapping)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(server.pid, signal.SIGSTOP)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"begins\n"
        stat = Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: ") D " in stat.read_text())
        return process.pid

    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    yield start
    server.kill()  # what hangs in it ends
    server.wait()
    for process in started:
        process.kill()
        process.wait()
    with suppress(OSError):
        unmount(folder)


def test_it_is_a_suspect(ram_directory: Path, stranger: Stranger) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        pid = stranger()
        assert users_at(path)[pid].is_suspect
        assert pid not in busy_processes(mounts_at(path))
        there = mount_at(path)
        assert there is not None
        assert pid not in {user.pid for user in users_of_device(there.device_number)}
        named = users_of_device(there.device_number, suspects=True)
        assert pid in {user.pid for user in named}
        assert with_parked_handles([pid]) == []


MAPPING = """
file = os.open(point + '/f', os.O_RDWR)
libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0))
os.close(file)
"""


def test_who_was_silent_is_not_asked_again(ram_directory: Path) -> None:
    """Unless something else is known of him."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        (path / "f").write_bytes(bytes(4096))
        with program(MAPPING, path) as mapping, program(MAPPING + "os.chdir(point)", path) as there:
            silent = {mapping.pid, there.pid}
            users = {each.pid: each for each in find_users(mounts_at(path), unasked=silent)}
            assert users[mapping.pid].is_suspect
            assert HandleKind.MAP in {each.kind for each in users[there.pid].handles}


def test_a_volume_moves(settings: Settings, ram_directory: Path, stranger: Stranger) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        pid = stranger()
        holdfast.adopt_volume("data", str(path))
        new = f"file:{ram_directory}/2.img"
        with application(path, ram_directory / "record") as running:
            plan = holdfast.restorations.assess(
                AssessRequest("data", Strategy.MIGRATE, (new,), filesystem="ext4")
            ).plan
            told = [each for each in plan.findings if f"(process {pid})" in each.subject]
            assert [each.verdict for each in told] == [Verdict.LIMITED]
            receipt = holdfast.restorations.migrate(
                MigrateRequest("data", (new,), filesystem="ext4")
            )
            assert receipt is not None
            assert receipt.outcome == "done"
            assert {each["pid"] for each in receipt.processes} == {running.pid}
            running.wait_for_more()
            running.verify()
        holdfast.detach_volume("data")


def test_one_that_has_mapped_a_file_of_the_volume(
    settings: Settings, ram_directory: Path, stranger: Stranger
) -> None:
    """The dismount is refused and undone, and names it."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "his").write_bytes(bytes(4096))
        pid = stranger(path / "his")
        holdfast.adopt_volume("data", str(path))
        new = ram_directory / "2.img"
        with application(path, ram_directory / "record") as running:
            with pytest.raises(InUse, match=rf"\(process {pid}: perhaps maps"):
                holdfast.restorations.migrate(
                    MigrateRequest("data", (f"file:{new}",), filesystem="ext4")
                )
            running.wait_for_more()
            running.verify()
        assert not new.exists()
        assert holdfast.recover() == []
