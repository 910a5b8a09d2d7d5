"""Who is asked before files are opened (fanotify) goes on, and nobody opens anything unasked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InUse
from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.rebind.bench import Program
from tests.kernel.restoration.bench import application, make_image, mounted
from tests.kernel.restoration.test_by_path import make_room
from tests.resume.test_restoration_killed import die_at

LISTENER = """
import ctypes, os, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
path, flags, *words = sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:]
if "writes" in words:
    held = open(path + "/own", "w")
group = libc.fanotify_init(4, 0)  # FAN_CLASS_CONTENT
assert group >= 0, ctypes.get_errno()
def mark(flags, mask):
    result = libc.fanotify_mark(group, flags, ctypes.c_uint64(mask), -1, os.fsencode(path))
    assert result == 0, ctypes.get_errno()
mark(1 | flags, 0x10000)  # FAN_OPEN_PERM
if "closed" in words:
    mark(1 | flags | 0x20 | 0x40, 0x20)  # what is ignored: FAN_OPEN, whatever changes
asked = 0
def answer():
    global asked
    while data := os.read(group, 4096):
        while data:
            length, *_, file, asking = struct.unpack_from("=IBBHQii", data)
            data = data[length:]
            asked += 1
            with open(f"/proc/{asking}/comm") as text:
                denied = text.read() == "newcomer\\n"
            os.write(group, struct.pack("=iI", file, 2 if denied else 1))
            os.close(file)
threading.Thread(target=answer, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "marks":
        with open(f"/proc/self/fdinfo/{group}") as text:
            marks = [each.split() for each in text if "mask:" in each]
        print([each[-3:] for each in marks], flush=True)
    else:
        print(asked, flush=True)
"""

NEWCOMER = """
import os, select, sys, threading
with open("/proc/self/comm", "w") as text:
    text.write("newcomer")
opened = []
def attempt():
    try:
        os.close(os.open(sys.argv[1], os.O_RDONLY))
        opened.append(1)
    except PermissionError:
        pass
attempt()
print("ready", flush=True)
threads = []
while not select.select([0], [], [], 0.01)[0]:
    threads.append(threading.Thread(target=attempt))
    threads[-1].start()
for each in threads:
    each.join()
print(len(opened), flush=True)
sys.stdin.read()
"""
"""Opens what it may not, also while others of it wait, and uses nothing of the volume otherwise."""

MOUNT, FILESYSTEM = 0x10, 0x100


@pytest.fixture
def volume(settings: Settings, ram_directory: Path) -> Iterator[tuple[Holdfast, Path]]:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        (path / "denied").touch()
        yield holdfast, path


@contextmanager
def running(code: str, *words: object) -> Iterator[Program]:
    program = Program([sys.executable, "-c", code, *map(str, words)])
    try:
        yield program
    finally:
        program.close()


@contextmanager
def bound(path: Path, other: Path) -> Iterator[None]:
    """The same file system at another place, too."""
    subprocess.run(["mount", "--bind", path, other], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", other], check=True)


def is_asked(listener: Program, path: Path) -> bool:
    """Whether its permission is asked for, and what it denies is denied."""
    before = int(listener.ask())
    with running(NEWCOMER, path / "denied") as newcomer:
        return newcomer.ask("") == "0" and int(listener.ask()) > before


@pytest.mark.parametrize("flags", [MOUNT, FILESYSTEM], ids=["mount", "filesystem"])
def test_nobody_opens_anything_unasked(volume: tuple[Holdfast, Path], flags: int) -> None:
    holdfast, path = volume
    url = f"file:{make_room(path.parent / '2.img')}"
    with (
        running(LISTENER, path, flags, "closed") as listener,
        application(path, path.parent / "record") as user,
        running(NEWCOMER, path / "denied") as newcomer,
    ):
        before = listener.ask("marks")
        assert "mask:10000" in before and "ignored_mask:20" in before
        receipt = holdfast.restorations.migrate(MigrateRequest("data", (url,), filesystem="xfs"))
        assert receipt is not None
        assert not [each for each in receipt.details["findings"] if each["subject"] == "fanotify"]
        assert listener.ask("marks") == before
        assert is_asked(listener, path)
        user.wait_for_more()
        assert newcomer.ask("") == "0"
        user.verify()


def test_asked_again_when_the_move_is_undone(volume: tuple[Holdfast, Path]) -> None:
    """A descriptor on its way keeps one of its mounts busy; the other one comes back."""
    holdfast, path = volume
    (path / "sent").touch()
    other = path.with_name("other")
    other.mkdir()
    left, right = socket.socketpair()
    with (
        bound(path, other),
        running(LISTENER, path, MOUNT) as listener,
        running(LISTENER, other, MOUNT) as another,
        running(NEWCOMER, other / "denied") as newcomer,
        left,
        right,
    ):
        descriptor = os.open(path / "sent", os.O_RDONLY)
        socket.send_fds(left, [b"x"], [descriptor])
        os.close(descriptor)
        with pytest.raises(InUse):
            holdfast.restorations.migrate(MigrateRequest("data", (f"file:{path.parent}/2.img",)))
        assert newcomer.ask("") == "0"
        assert is_asked(listener, path) and is_asked(another, other)


@pytest.mark.parametrize("place", ["in remount", "in replay", "after replay"])
def test_asked_again_after_a_death(
    volume: tuple[Holdfast, Path], settings: Settings, place: str
) -> None:
    holdfast, path = volume
    holdfast.close()
    with (
        running(LISTENER, path, MOUNT) as listener,
        application(path, path.parent / "record") as user,
    ):
        die_at(place, settings, "data", f"file:{path.parent}/2.img", "ext4")
        with Holdfast(settings) as other:
            other.recover()
            (receipt, *_) = other.receipts("data")
        told = [
            each["found"] for each in receipt.details["findings"] if each["subject"] == "fanotify"
        ]
        assert ("without the permission" in "".join(told)) == (place != "after replay")
        assert is_asked(listener, path)
        user.wait_for_more()
        user.verify()


@pytest.mark.parametrize(("flags", "word"), [(0, ""), (MOUNT, "writes")], ids=["single", "uses it"])
def test_one_that_would_have_to_stand_still(
    volume: tuple[Holdfast, Path], flags: int, word: str
) -> None:
    """It marks what must be found again, or has a file open itself: nobody is stopped."""
    holdfast, path = volume
    with running(LISTENER, path, flags, word) as listener:
        before = listener.ask("marks")
        with pytest.raises(Blocked, match="permission"):
            holdfast.restorations.migrate(MigrateRequest("data", (f"file:{path.parent}/2.img",)))
        assert listener.ask("marks") == before


def test_not_while_it_is_away_on_purpose(volume: tuple[Holdfast, Path]) -> None:
    """Whoever mounts it anywhere meanwhile would not be asked."""
    holdfast, path = volume
    with running(LISTENER, path, MOUNT) as listener:
        with pytest.raises(Blocked, match="permission"):
            holdfast.restorations.park("data", 10.0)
        assert is_asked(listener, path)
