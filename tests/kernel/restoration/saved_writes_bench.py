"""A volume whose users' memory has more than its storage, and storage that is taken away: stage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.receipt import Receipt
from holdfast.service import Holdfast
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.appending_application import record_of
from tests.kernel.restoration.bench import make_image, mounted

FILES = ("log", "table", "counter")


@dataclass
class Writer:
    """A running `appending_application`."""

    process: subprocess.Popen[str]
    record: Path

    def write_more(self) -> None:
        """Let it write records, and wait until write(2) has accepted or refused them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    @property
    def accepted(self) -> int:
        """How many records it was told are written."""
        return int(self.record.read_text().split()[0])


@contextmanager
def writer(path: Path, record: Path) -> Iterator[Writer]:
    """One that has written 300 records."""
    program = Path(__file__).with_name("appending_application.py")
    process = subprocess.Popen(
        [sys.executable, str(program), str(path), str(record)],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        running = Writer(process, record)
        running.write_more()
        yield running
    finally:
        process.kill()
        process.communicate()


@dataclass
class Stage:
    """The volume `data`, its application and a backup, in a folder."""

    folder: Path
    path: Path
    running: Writer
    device: str
    settings: Settings

    @property
    def backup(self) -> Path:
        return self.folder / "backup"

    def lose_sectors(self) -> None:
        """The image is truncated, and the device has no sectors any more: every request fails."""
        os.truncate(self.folder / "1.img", 0)
        subprocess.run(["losetup", "--set-capacity", self.device], check=True)

    def turn_read_only(self) -> None:
        """ext4 meets an error, and goes on with what it has in memory; its storage is well."""
        trigger = Path(f"/sys/fs/ext4/{Path(self.device).name}/trigger_fs_error")
        trigger.write_text("by a test")

    def make_it_notice(self) -> None:
        """Somebody flushes a file of his own: the file system finds out that it has no storage."""
        with pytest.raises(OSError), (self.path / "other").open("wb") as file:
            file.write(b"o" * 100_000)
            file.flush()
            os.fsync(file.fileno())

    def verify(self, count: int) -> None:
        """So many records are there, in both files and the map."""
        whole = b"".join(record_of(number) for number in range(count))
        assert (self.path / "log").read_bytes() == whole
        self.verify_all_but_the_log(count)

    def verify_all_but_the_log(self, count: int) -> None:
        """The same, without what is open for writing alone."""
        whole = b"".join(record_of(number) for number in range(count))
        assert (self.path / "table").read_bytes() == whole
        assert (self.path / "counter").read_bytes()[4096:4104] == count.to_bytes(8, "little")

    def verify_at_work(self) -> None:
        """Everything that was accepted is there, and what comes now, too; nothing else is left."""
        accepted = self.running.accepted
        self.verify(accepted)
        self.running.write_more()
        assert self.running.accepted == accepted + 300
        self.verify(accepted + 300)
        assert not any((self.settings.state_directory / "restorations").iterdir())


def outcomes(receipt: Receipt | None) -> dict[str, str]:
    """What became of each file, by its name."""
    assert receipt is not None
    return {Path(each["path"]).name: each["outcome"] for each in receipt.details["saved_writes"]}


@contextmanager
def stage(
    settings: Settings,
    folder: Path,
    *options: str,
    filesystem: str = "ext4",
    image: Path | None = None,
) -> Iterator[Stage]:
    """Its backup has 300 records, its users' memory 300 more. `image`: one that is made already."""
    size_bytes = (64 if filesystem == "ext4" else 320) << 20
    image = image or make_image(folder / "1.img", filesystem, size_bytes)
    with mounted(image, folder / "mnt", *options) as path:
        mount = mount_at(path)
        assert mount is not None
        with writer(path, folder / "record") as running:
            with Holdfast(settings) as holdfast:
                holdfast.adopt_volume("data", str(path))
            subprocess.run(["sync", "--file-system", str(path)], check=True)
            ignored = shutil.ignore_patterns("lost+found")
            shutil.copytree(path, folder / "backup", ignore=ignored)
            running.write_more()
            yield Stage(folder, path, running, mount.source, settings)
