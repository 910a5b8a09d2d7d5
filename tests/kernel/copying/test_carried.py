"""What has no name is copied ahead: nobody stands still while gigabytes are copied."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.receipt import Receipt
from holdfast.service import Holdfast, MigrateRequest, RestoreRequest
from tests.kernel.rebind.bench import Program
from tests.kernel.restoration.bench import make_image, mounted
from tests.waiting import wait_until

MIB = 1 << 20

PROGRAM = """
import fcntl, hashlib, os, sys, threading
place, how = sys.argv[1:]
file = os.open(place + "/large", os.O_RDWR | os.O_CREAT)
model = bytearray(os.urandom(1 << 20) * 48)
os.pwrite(file, model, 0)
os.unlink(place + "/large")
if how == "lease":
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
turn = threading.Lock()

def write():
    number = 0
    while True:
        with turn:
            at, word = number * 77_777 % len(model), b"%d" % number
            os.pwrite(file, word, at)
            model[at:at + len(word)] = word
            if number % 50 == 0:  # shorter, with a hole at the end
                os.ftruncate(file, 30 << 20)
                os.ftruncate(file, len(model))
                model[30 << 20:] = bytes(len(model) - (30 << 20))
        number += 1

if how == "writes":
    threading.Thread(target=write, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    with turn:
        same = hashlib.sha256(os.pread(file, 1 << 30, 0)).digest() == hashlib.sha256(model).digest()
        print("ok" if same else "differs", flush=True)
"""


@contextmanager
def program(place: Path, how: str = "") -> Iterator[Program]:
    running = Program([sys.executable, "-c", PROGRAM, place, how], cwd="/")
    try:
        yield running
    finally:
        running.close()


def move(holdfast: Holdfast, folder: Path, filesystem: str = "ext4") -> Receipt:
    receipt = holdfast.restorations.migrate(
        MigrateRequest("data", (f"file:{folder}/2.img",), filesystem=filesystem)
    )
    assert receipt is not None
    return receipt


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_file_without_a_name_is_copied_before_anybody_stands(
    settings: Settings, ram_directory: Path, filesystem: str
) -> None:
    image = make_image(ram_directory / "1.img", filesystem)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        os.utime(path, ns=(10**18, 10**18))
        holdfast.adopt_volume("data", str(path))
        with program(path) as running:
            os.utime(path, ns=(10**18, 10**18))
            receipt = move(holdfast, ram_directory, filesystem)
            assert receipt.details["online"]["bytes"] >= 2 * 48 * MIB, "kept, and placed"
            running.verify()
            assert not list(path.glob(".holdfast*"))
            assert path.stat().st_mtime_ns == 10**18
            assert not list((settings.state_directory / "restorations").iterdir())


TEMPORARY = """
import os, sys
folder = sys.argv[1]
file = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o640)
other = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
os.write(file, b"hello")
print("ready", flush=True)
sys.stdin.readline()
os.write(file, b" world")
os.link(f"/proc/self/fd/{other}", folder + "/named", src_dir_fd=0)
print(open(folder + "/named").read(), oct(os.fstat(file).st_mode), flush=True)
"""


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_temporary_file_can_be_given_a_name_afterwards(
    settings: Settings, ram_directory: Path, filesystem: str
) -> None:
    """linkat(2) takes none that had a name once, as those have that are copied ahead."""
    image = make_image(ram_directory / "1.img", filesystem)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        running = Program([sys.executable, "-c", TEMPORARY, path], cwd="/")
        try:
            move(holdfast, ram_directory, filesystem)
            assert running.ask() == "hello world 0o100640"
        finally:
            running.close()


def test_what_is_written_meanwhile_is_not_lost(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img")
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with program(path, "writes") as running:
            move(holdfast, ram_directory)
            running.verify()


def test_a_lease_on_it_is_left_alone(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img")
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with program(path, "lease") as running:
            receipt = move(holdfast, ram_directory)
            assert receipt.details["online"]["bytes"] < MIB
            assert receipt.details["predicted_pause_seconds"] > 48 * MIB / (200 * MIB)
            running.verify()


def test_it_is_open_through_the_mount_that_it_had(settings: Settings, ram_directory: Path) -> None:
    """A container's: it sees a folder of the volume alone, and not ours at the root."""
    image = make_image(ram_directory / "1.img")
    with (
        mounted(image, ram_directory / "mnt") as path,
        mounted_part(path, ram_directory / "part") as part,
        Holdfast(settings) as holdfast,
    ):
        holdfast.adopt_volume("data", str(path))
        with program(part) as running:
            move(holdfast, ram_directory)
            running.verify()
            numbers = {
                int(entry.read_text().partition("mnt_id:\t")[2].partition("\n")[0])
                for entry in Path(f"/proc/{running.pid}/fdinfo").iterdir()
            }
            here = {identifier for identifier, place in mount_points() if place == str(part)}
            assert here <= numbers
            assert not list(path.glob(".holdfast*"))


@contextmanager
def mounted_part(path: Path, place: Path) -> Iterator[Path]:
    (path / "part").mkdir()
    with mounted(str(path / "part"), place, "bind") as part:
        yield part


def mount_points() -> set[tuple[int, str]]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {(int(line.split()[0]), line.split()[4]) for line in lines}


def test_other_contents_take_its_place(settings: Settings, ram_directory: Path) -> None:
    """Nothing of the copies ahead is left in them either."""
    image = make_image(ram_directory / "1.img")
    other = ram_directory / "other"
    other.mkdir()
    (other / "file").write_text("other")
    os.utime(other, ns=(10**18, 10**18))
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with program(path, "writes") as running:
            holdfast.restorations.restore(
                RestoreRequest("data", str(other), f"file:{ram_directory}/2.img", forced=True)
            )
            running.verify()
            assert {each.name for each in path.iterdir()} == {"file", "lost+found"}
            assert path.stat().st_mtime_ns == 10**18
            wait_until(lambda: running.ask() == "ok")
