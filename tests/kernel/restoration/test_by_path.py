"""Programs that work by path, and hold nothing open in between, see no gap in a migration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import Blocked
from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.restoration.bench import SIZE_BYTES, make_image, mounted
from tests.waiting import wait_until

PROGRAM = """
import os, sys, time
place, record, number, started = sys.argv[1], sys.argv[2], 0, os.stat(sys.argv[1]).st_dev
while not os.path.exists(record + ".end"):
    number += 1
    with open(f"{place}/status.tmp", "w") as file:
        file.write(str(number))
    os.rename(f"{place}/status.tmp", f"{place}/status")
    os.mkdir(f"{place}/folder")
    os.rmdir(f"{place}/folder")
    os.listdir(place)
    os.chdir(place)
    os.chdir("/")
    with open(f"{place}/job{number}", "w") as file:
        file.write("job")
    with open(record + ".new", "w") as file:
        file.write(str(number))
    os.rename(record + ".new", record)
    time.sleep(0.001)
"""

MAKING = """
import os, socket, sys, time
place, record, way = sys.argv[1:]
def bind(name):
    with socket.socket(socket.AF_UNIX) as socket_:
        socket_.bind(name)
make, remove = {
    "mkdir": (os.mkdir, os.rmdir),
    "symlink": (lambda name: os.symlink("x", name), os.unlink),
    "mkfifo": (os.mkfifo, os.unlink),
    "link": (lambda name: os.link(f"{place}/sub/{way}", name), os.unlink),
    "bind": (bind, os.unlink),
}[way]
os.close(os.open(f"{place}/sub/{way}", os.O_CREAT, 0o600))
number = 0
while not os.path.exists(record + ".end"):
    number += 1
    make(f"{place}/{way}")
    remove(f"{place}/{way}")
    with open(record + ".new", "w") as file:
        file.write(str(number))
    os.rename(record + ".new", record)
"""
WAYS = ("mkdir", "symlink", "mkfifo", "link", "bind")
"""Each makes a name at the top of the volume, in one call; nothing comes before that waits."""


@contextmanager
def program(
    place: Path, record: Path, text: str = PROGRAM, *words: str
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", text, str(place), str(record), *words]
    process = subprocess.Popen(command, cwd="/")
    try:
        wait_until(record.exists)
        yield process
    finally:
        process.kill()
        process.wait(30)


def names_below(path: Path, scratch: Path) -> list[str]:
    """What lies in the directory below a mount."""
    scratch.mkdir()
    subprocess.run(["mount", "--bind", str(path.parent), str(scratch)], check=True)
    try:
        return sorted(os.listdir(scratch / path.name))  # noqa: PTH208
    finally:
        subprocess.run(["umount", str(scratch)], check=True)


def test_they_wait_and_lose_nothing(settings: Settings, ram_directory: Path) -> None:
    """Below a shared mount: what is mounted there reaches every peer."""
    subprocess.run(["mount", "--bind", str(ram_directory), str(ram_directory)], check=True)
    subprocess.run(["mount", "--make-shared", str(ram_directory)], check=True)
    try:
        image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
        with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
            record = ram_directory / "record"
            with program(path, record) as process:
                for number, filesystem in enumerate(("xfs", "ext4", "btrfs"), 2):
                    url = f"file:{make_room(ram_directory / f'{number}.img')}"
                    wish = MigrateRequest("data", (url,), filesystem=filesystem)
                    holdfast.restorations.migrate(wish)
                before = int(record.read_text())
                wait_until(lambda: int(record.read_text()) > before + 5)
                Path(f"{record}.end").touch()
                assert process.wait(30) == 0, "it met an error"
            last = int(record.read_text())
            jobs = {f"job{number}" for number in range(1, last + 1)}
            assert jobs <= {entry.name for entry in path.iterdir()}
            assert names_below(path, ram_directory / "scratch") == []
            receipts = holdfast.receipts("data")
            assert len(receipts) == 3
            findings = [each for one in receipts for each in one.details.get("findings", ())]
            subjects = {each["subject"] for each in findings}
            assert "made while it was away" not in subjects
            assert is_uncovered()
    finally:
        subprocess.run(["umount", str(ram_directory)], check=True)


def test_names_are_made_at_the_top(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        (path / "sub").mkdir()
        records = {way: ram_directory / way for way in WAYS}
        with ExitStack() as stack:
            processes = [
                stack.enter_context(program(path, record, MAKING, way))
                for way, record in records.items()
            ]
            for number in range(2, 5):
                url = f"file:{ram_directory / f'{number}.img'}"
                move(holdfast, url)
            before = {record: int(record.read_text()) for record in records.values()}
            wait_until(lambda: all(int(each.read_text()) > before[each] for each in before))
            for record in records.values():
                Path(f"{record}.end").touch()
            assert [process.wait(30) for process in processes] == [0] * len(WAYS)


def move(holdfast: Holdfast, url: str) -> None:
    """Once more while it falls between two calls of the one that binds: such sockets stay."""
    while True:
        try:
            holdfast.restorations.migrate(MigrateRequest("data", (url,)))
        except Blocked as refusal:
            assert "a bound socket" in str(refusal)
        else:
            return


def make_room(path: Path) -> Path:
    """A place for an image as large as the largest file system needs."""
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES)
    return path


def is_uncovered() -> bool:
    return "holdfast-cover" not in Path("/proc/self/mountinfo").read_text()
