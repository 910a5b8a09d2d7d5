"""Contents are replaced under an application that runs: from a directory and from a container."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, InUse
from holdfast.service import Holdfast, RestoreRequest
from tests.kernel.restoration.bench import is_settled, make_image, mounted, state_of

READER = """
import os, sys
kept = os.open("kept", os.O_RDONLY)
gone = os.open("gone", os.O_RDONLY)
os.read(kept, 2)
print("ready", flush=True)
for line in sys.stdin:
    for descriptor in (kept, gone):
        try:
            print(os.pread(descriptor, 64, 0).decode(), end=" ")
        except OSError as error:
            print(type(error).__name__, error.errno, end=" ")
    print(os.lseek(kept, 0, os.SEEK_CUR), *sorted(os.listdir(".")), flush=True)
"""


@contextmanager
def reader(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", READER],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ask(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.fixture
def volume(settings: Settings, ram_directory: Path) -> Iterator[tuple[Holdfast, Path]]:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "kept").write_text("new")
        (path / "gone").write_text("new too")
        holdfast.adopt_volume("data", str(path))
        yield holdfast, path


def test_from_a_directory(volume: tuple[Holdfast, Path], ram_directory: Path) -> None:
    holdfast, path = volume
    backup = ram_directory / "backup"
    backup.mkdir()
    (backup / "kept").write_text("old contents")
    with reader(path) as process:
        assert ask(process).startswith("new new too 2 gone kept")
        receipt = holdfast.restorations.restore(RestoreRequest("data", str(backup)))
        assert receipt is not None
        handles = receipt.processes[0]["handles"]["file"]
        assert handles == {"rolled-back": 1, "file-missing": 1}
        answer = ask(process).split()
        assert answer[:2] == ["old", "contents"]
        assert answer[2] == "OSError"
        assert answer[4:] == ["2", "kept", "lost+found"]
    assert (backup / "kept").read_text() == "old contents"
    with mounted(ram_directory / "1.img", ram_directory / "look", "ro") as old:
        assert (old / "kept").read_text() == "new"


def test_from_a_container(volume: tuple[Holdfast, Path], ram_directory: Path) -> None:
    holdfast, path = volume
    backup = make_image(ram_directory / "backup.img", "btrfs", 128 << 20)
    with mounted(backup, ram_directory / "fill") as fill:
        (fill / "kept").write_text("from btrfs")
    before = backup.read_bytes()[: 1 << 20]
    with reader(path) as process:
        holdfast.restorations.restore(RestoreRequest("data", f"file:{backup}"))
        assert ask(process).startswith("from btrfs OSError")
    assert backup.read_bytes()[: 1 << 20] == before


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_from_a_container_that_somebody_writes_to(
    volume: tuple[Holdfast, Path], ram_directory: Path, filesystem: str
) -> None:
    holdfast, path = volume
    other = make_image(ram_directory / "other.img", filesystem)
    url, to = f"file:{other}", f"file:{ram_directory}/2.img"
    with mounted(other, ram_directory / "there") as there, reader(path) as process:
        (there / "kept").write_text("other")
        with (there / "kept").open(), pytest.raises(InUse, match=r"writing at .*/there") as told:
            holdfast.restorations.restore(RestoreRequest("data", url, to))
        assert "descriptor" in str(told.value) and "umount" in told.value.mend
        assert holdfast.restorations.assess(RestoreRequest("data", url, to)).plan.refuses
        assert ask(process).startswith("new new too")
        assert not (ram_directory / "2.img").exists()
        remount = ["mount", "-o", "remount,ro", str(there)]
        subprocess.run(remount, check=True)
        assert not holdfast.restorations.assess(RestoreRequest("data", url, to)).plan.refuses


def test_under_a_live_database_only_by_force(
    volume: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, path = volume
    (path / "appendonly.aof").write_bytes(b"x")
    (ram_directory / "backup").mkdir()
    program = "f = open('appendonly.aof', 'r+b'); print('ready', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        before = state_of([process.pid])
        with pytest.raises(Blocked, match="Redis"):
            holdfast.restorations.restore(RestoreRequest("data", str(ram_directory / "backup")))
        assert state_of([process.pid]) == before
        assert is_settled(process.pid)
        receipt = holdfast.restorations.restore(
            RestoreRequest("data", str(ram_directory / "backup"), forced=True)
        )
        assert receipt is not None
        assert any("Redis" in each["subject"] for each in receipt.details["findings"])
    finally:
        process.kill()
        process.communicate()
    assert [each.name for each in path.iterdir()] == ["lost+found"]
