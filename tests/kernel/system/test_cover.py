"""A cover that is released answers everybody, whatever one who waits has made of his namespace."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.system.fuse.cover import Covers, make_covers, release
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import mount_at, unmount
from tests.waiting import wait_until

ASK = "import os, sys; print(os.path.exists(sys.argv[1]))"

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
