"""Locks stay with whoever had them: a newcomer does not get one while the volume is away, and gives
back what he got before that."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.applications.rebind.opening import waiting_for_locks
from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.restoration.steps import dismount as dismount_step
from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.restoration.bench import make_image, mounted

HOLDER = """
import fcntl, os, struct, sys
folder = sys.argv[1]
names = [f"{folder}/{name}" for name in ("flock", "posix", "ofd")]
files = [os.open(name, os.O_RDWR | os.O_CREAT, 0o644) for name in names]
whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
fcntl.flock(files[0], fcntl.LOCK_EX)
fcntl.fcntl(files[1], fcntl.F_SETLK, whole)
fcntl.fcntl(files[2], 37, whole)
os.chdir("/")
print("ready", flush=True)
sys.stdin.read()
"""

NEWCOMER = """
import fcntl, os, struct, sys, time
folder, name = sys.argv[1:]
shared = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0)
try_it = {
    "flock": lambda file: fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "posix": lambda file: fcntl.fcntl(file, fcntl.F_SETLK, shared),
    "ofd": lambda file: fcntl.fcntl(file, 37, shared),
}[name]
print("ready", flush=True)
def is_away():
    shown = [line.split() for line in open("/proc/self/mountinfo") if f" {folder} " in line]
    below = {parent for number, parent, *_ in shown}
    return not [words for words in shown if words[0] not in below and "ext4" in words]
while not is_away():  # a cover that is listed may lie below it still
    pass
while True:
    try:
        file = os.open(f"{folder}/{name}", os.O_RDONLY)
    except OSError:
        continue
    try:
        try_it(file)
    except OSError:
        os.close(file)
        time.sleep(0.001)  # on a busy host he would be interrupted with the file open, always
    else:
        break
print("got it", flush=True)
sys.stdin.read()
"""


TAKER = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.mark.parametrize("name", ["flock", "posix", "ofd"])
def test_nobody_takes_one(settings: Settings, ram_directory: Path, name: str) -> None:
    """He has a file open for an instant only, and another time is let go before he is a user."""
    for each in (ram_directory, ram_directory.parent):
        each.chmod(0o755)
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        path.chmod(0o755)
        holdfast.adopt_volume("data", str(path))
        as_user = ("setpriv", "--reuid=4321", "--regid=4321", "--clear-groups")
        with (
            running(sys.executable, "-c", HOLDER, str(path)) as holder,
            running(*as_user, sys.executable, "-c", NEWCOMER, str(path), name) as stranger,
        ):
            request = MigrateRequest("data", (f"file:{ram_directory}/2.img",), filesystem="ext4")
            receipt = holdfast.restorations.migrate(request)
            print(receipt)
            assert holder.poll() is None
            stranger.kill()
            assert stranger.stdout is not None
            assert stranger.stdout.read() == ""


def test_who_took_one_before_the_dismount_is_waited_for(
    settings: Settings, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He keeps the volume busy, so all is undone; its owner goes on when he has the lock again."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    takers: list[subprocess.Popen[str]] = []

    def while_parked(*arguments: Any, **options: Any) -> Any:
        command = [sys.executable, "-c", TAKER, str(path / "flock")]
        taker = subprocess.Popen(
            command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        takers.append(taker)
        assert taker.stdout is not None
        assert taker.stdout.readline() == "ready\n"
        return dismount(*arguments, **options)

    def wait(_: float) -> None:
        takers[0].communicate(timeout=20)

    dismount = dismount_step.dismount
    monkeypatch.setattr(dismount_step, "dismount", while_parked)
    monkeypatch.setattr(waiting_for_locks, "sleep", wait)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with running(sys.executable, "-c", HOLDER, str(path)) as holder:
            request = MigrateRequest("data", (f"file:{ram_directory}/2.img",), filesystem="ext4")
            try:
                with pytest.raises(InUse):
                    holdfast.restorations.migrate(request)
                assert takers[0].poll() == 0, "nobody waited for him"
            finally:
                for taker in takers:
                    taker.kill()
                    taker.wait(20)
            assert holder.poll() is None
            with (path / "flock").open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
