"""ext4 finds its own metadata damaged, and the daemon hears it from the file system itself."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.detection.fs_errors import FileSystemErrors
from holdfast.service import Holdfast
from holdfast.system.files.fanotify import parse_errors
from holdfast.system.mounts.mount_table import Mount, parse_mountinfo
from tests.kernel.mountpoints.bench import MountBench, run

BLOCK = 4096


def table() -> list[Mount]:
    return parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())


def test_a_damaged_directory_is_reported(settings: Settings, ram_directory: Path) -> None:
    with MountBench(ram_directory) as bench, Holdfast(settings) as holdfast:
        device = bench.device("data")
        path = bench.mount(device, "mnt/data")
        (path / "folder").mkdir()
        (path / "folder/file").touch()
        run("umount", path)
        (where, *_) = run("debugfs", "-R", "blocks /folder", device).split()
        bench.mount(device, "mnt/data")
        holdfast.adopt_volume("data", str(path))
        errors = FileSystemErrors()
        if not errors.descriptors():
            pytest.skip("this kernel has no FAN_FS_ERROR")
        errors.look(holdfast.list_volumes(), table())
        assert list(errors.evidence()) == [] and not errors.take_in()
        assert not holdfast.users("data").users, "who hears of errors uses nothing"
        disk = os.open(device, os.O_WRONLY)
        os.pwrite(disk, b"\xff" * BLOCK, int(where) * BLOCK)
        os.fsync(disk)
        os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(disk)
        with pytest.raises(OSError, match=os.strerror(errno.EBADMSG)):
            (path / "folder/file").open()
        assert errors.take_in()
        (found,) = errors.evidence()
        assert (found.volume, found.about, found.grave) == ("data", "state", False)
        assert "reports errors of itself (" in found.words
        assert os.strerror(errno.EBADMSG) in found.words
        run("umount", path)
        bench.mount(device, "mnt/data")
        errors.look(holdfast.list_volumes(), table())
        assert list(errors.evidence()) == [], "it was mounted anew"


def test_reports_that_are_cut_or_odd_are_none() -> None:
    for length in (0, 3, 24, 60):
        assert parse_errors(b"\x18" + bytes(length)) == []
        assert parse_errors(b"\xff" * length) == []
