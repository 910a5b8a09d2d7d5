"""A cover that is released answers everybody, whatever one who waits has made of his namespace, and
whichever of its two servers was killed; it takes away nothing but itself."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.system.fuse.cover import Covers, make_covers
from holdfast.system.fuse.cover_server import BUFFER_BYTES, release
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import mount_at, unmount
from holdfast.system.raw_call import raw_call
from tests.waiting import wait_until

PIDFD_GETFD = 438  # <asm-generic/unistd.h>

ASK = "import os, sys; print(os.path.exists(sys.argv[1]))"

ASK_OFTEN = """
import errno, os, sys
from concurrent.futures import ThreadPoolExecutor
def ask(number):
    try:
        os.stat(f"{sys.argv[1]}/{number}")
    except OSError as error:
        return error.errno
with ThreadPoolExecutor(THREADS) as pool:
    print(sorted(set(pool.map(ask, range(THREADS)))))
"""
THREADS = 60

FORGE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
assert libc.unshare(0x20000) == 0
assert libc.mount(b"none", b"/", None, ctypes.c_ulong(1 << 14 | 1 << 18), None) == 0
assert libc.mount(b"none", b"/proc", b"tmpfs", ctypes.c_ulong(0), None) == 0
for name in ("self", str(os.getpid())):
    os.mkdir(f"/proc/{name}")
    os.mkfifo(f"/proc/{name}/mountinfo")
os.stat(sys.argv[1])
"""


@pytest.fixture
def covered(tmp_path: Path) -> Iterator[tuple[Path, Covers]]:
    """A directory below a cover, which nobody has released."""
    place = tmp_path / "place"
    place.mkdir()
    covers = make_covers(time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 120 * 10**9)
    try:
        spot = mount_api.open_place(str(place))
        mount_api.attach_tree(covers.directory, spot)
        os.close(spot)
        yield place, covers
    finally:
        release(covers.server)
        covers.close()
        if mount_at(str(place)) is not None:
            unmount(str(place), lazy=True)


def waits(process: subprocess.Popen[str]) -> bool:
    """Whether it has asked the cover, and was not answered."""
    return "request_wait_answer" in Path(f"/proc/{process.pid}/wchan").read_text()


def test_a_stranger_with_a_mount_table_of_his_own(covered: tuple[Path, Covers]) -> None:
    place, covers = covered
    stranger = subprocess.Popen([sys.executable, "-c", FORGE, str(place / "x")], text=True)
    try:
        wait_until(lambda: waits(stranger))
        other = subprocess.Popen(
            [sys.executable, "-c", ASK, str(place / "y")], stdout=subprocess.PIPE, text=True
        )
        try:
            wait_until(lambda: waits(other))
            release(covers.server)
            assert other.communicate(timeout=20)[0] == "False\n"
        finally:
            other.kill()
            other.wait(20)
    finally:
        stranger.kill()
        stranger.wait(20)


def test_nothing_goes_with_it_that_lies_on_it(covered: tuple[Path, Covers], tmp_path: Path) -> None:
    """As where a mount turned out to be busy after its cover was put below."""
    place, covers = covered
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(other)], check=True)
    try:
        put_beneath(covers, other)
        asking = ask(place / "x")
        wait_until(lambda: waits(asking))
        release(covers.server)
        assert asking.communicate(timeout=20)[0] == "False\n"
        there = mount_at(other)
        assert there is not None and there.filesystem == "tmpfs"
    finally:
        subprocess.run(["umount", str(other)], check=True)
    assert ask(other / "x").communicate(timeout=20)[0] == "False\n"
    assert mount_at(other) is None, "whoever looks takes a cover away that was left"


@pytest.mark.parametrize("has_read", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_one_server_is_killed(covered: tuple[Path, Covers], which: int, has_read: bool) -> None:
    """Also one that had taken requests from the kernel, and not answered them yet."""
    place, covers = covered
    victim = (covers.server.pid, covers.server.twin_pid)[which]
    program = ASK_OFTEN.replace("THREADS", str(THREADS))
    asking = subprocess.Popen(
        [sys.executable, "-c", program, str(place)], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: waiting_threads(asking.pid) == THREADS)
        if has_read:
            take_requests(victim)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{victim}").exists())
        assert waiting_threads(asking.pid) == THREADS
        release(covers.server)
        assert asking.communicate(timeout=20)[0] == f"[{errno.ENOENT}]\n"
    finally:
        asking.kill()
        asking.wait(20)


def test_both_servers_are_killed(covered: tuple[Path, Covers]) -> None:
    """An error, and not the bare directory."""
    place, covers = covered
    asking = ask(place / "x")
    wait_until(lambda: waits(asking))
    for pid in (covers.server.pid, covers.server.twin_pid):
        os.kill(pid, signal.SIGKILL)
    asking.wait(20)
    with pytest.raises(OSError, match="not connected"):
        os.stat(place / "x")  # noqa: PTH116


def ask(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ASK, str(path)], stdout=subprocess.PIPE, text=True
    )


def put_beneath(covers: Covers, path: Path) -> None:
    spot = mount_api.open_place(str(path))
    tree = mount_api.clone_tree(covers.directory)
    mount_api.attach_beneath(tree, spot)
    os.close(tree)
    os.close(spot)


def take_requests(server: int) -> None:
    """Read some, as the server itself would, by a copy of its descriptor."""
    process = os.pidfd_open(server)
    taken = 0
    for each in Path(f"/proc/{server}/fd").iterdir():
        if os.readlink(each) == "/dev/fuse":  # noqa: PTH115
            connection = raw_call(PIDFD_GETFD, process, int(each.name), 0)
            with suppress(BlockingIOError):
                for _ in range(3):
                    os.read(connection, BUFFER_BYTES)
                    taken += 1
            os.close(connection)
    os.close(process)
    assert taken == 3


def waiting_threads(pid: int) -> int:
    """How many threads have asked a cover, and were not answered."""
    tasks = Path(f"/proc/{pid}/task").glob("*/wchan")
    return sum("request_wait_answer" in each.read_text() for each in tasks)
