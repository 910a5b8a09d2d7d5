"""A file of ours on a disk that is full, or in the middle of a kill: whole, old or new."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.gate.members.configuration import (
    FILE_NAME,
    GateConfiguration,
    LegEntry,
    load_configuration,
    save_configuration,
)
from holdfast.gate.runtime.incidents import Incidents
from holdfast.system.files.durable import replace_durably
from tests.faults import SmallDisk
from tests.waiting import wait_until

PAGE_BYTES = 4096
KILLS = 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 16 pages."""
    with SmallDisk(tmp_path / "disk", 16 * PAGE_BYTES) as small:
        yield small


def leave_pages(disk: SmallDisk, pages: int) -> None:
    """Fill the disk but for so many pages."""
    with (disk.path / "ballast").open("wb", buffering=0) as file:
        while disk.free_bytes() > pages * PAGE_BYTES:
            file.write(bytes(PAGE_BYTES))


def of_many_legs(epoch: int) -> GateConfiguration:
    """A gate.json of more than one page."""
    long = "x" * 80
    legs = (LegEntry(number, "id" * 18, f"file:/srv/{number}/{long}") for number in range(1, 21))
    return GateConfiguration("shop", "id", 1 << 30, epoch, tuple(legs))


@pytest.mark.parametrize("pages", [0, 1])
def test_a_full_disk_leaves_the_old_file(disk: SmallDisk, pages: int) -> None:
    save_configuration(disk.path, of_many_legs(1))
    assert (disk.path / FILE_NAME).stat().st_size > pages * PAGE_BYTES
    leave_pages(disk, pages)
    with pytest.raises(OSError, match="No space") as caught:
        save_configuration(disk.path, of_many_legs(2))
    assert caught.value.errno == errno.ENOSPC
    assert load_configuration(disk.path).epoch == 1
    assert sorted(entry.name for entry in disk.path.iterdir()) == ["ballast", FILE_NAME]
    disk.free()
    save_configuration(disk.path, of_many_legs(2))
    assert load_configuration(disk.path).epoch == 2


def test_a_receipt_waits_until_there_is_room(disk: SmallDisk) -> None:
    spool = disk.path / "spool"
    incidents = Incidents("shop", spool)
    leave_pages(disk, 0)
    incidents.begin("failover", "y" * 2 * PAGE_BYTES).resolve("continued")
    incidents.close_finished([])
    assert incidents.unwritten
    assert not list(spool.glob("*")) if spool.exists() else True
    disk.free()
    incidents.close_finished([])
    assert not incidents.unwritten
    [receipt] = spool.iterdir()
    assert json.loads(receipt.read_text())["strategy"] == "failover"


def test_a_kill_leaves_a_whole_file_and_no_litter(tmp_path: Path) -> None:
    file = tmp_path / "file"
    program = (
        "import sys; from pathlib import Path\n"
        "from holdfast.system.files.durable import replace_durably\n"
        "for number in range(1 << 30): replace_durably(Path(sys.argv[1]), f'{number} ' * 20000)\n"
    )
    for _ in range(KILLS):
        file.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", program, str(file)])
        try:
            wait_until(file.exists)
            time.sleep(int.from_bytes(os.urandom(1)) / 255 * 0.02)  # anywhere in a replacement
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        words = file.read_text().split()
        assert len(words) == 20000
        assert len(set(words)) == 1
    replace_durably(file, "whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, file = tmp_path / "victim", tmp_path / "file"
    victim.write_text("somebody else's")
    file.symlink_to(victim)
    replace_durably(file, "ours")
    assert (victim.read_text(), file.read_text()) == ("somebody else's", "ours")
    assert file.lstat().st_mode & 0o177777 == 0o100600
