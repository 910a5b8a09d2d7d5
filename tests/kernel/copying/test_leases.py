"""Nobody feels that files are copied: no lease is broken, no access time changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked
from holdfast.restoration.copying.passes import Replica
from holdfast.service import Holdfast, MigrateRequest, RestoreRequest
from holdfast.system.files.leases import broken_by_reading, is_among
from tests.kernel.restoration.bench import make_image, mounted

HOLDER = """
import fcntl, os, sys
for path in sys.argv[2:]:
    kind = getattr(fcntl, sys.argv[1])
    descriptor = os.open(path, os.O_RDONLY if kind == fcntl.F_RDLCK else os.O_RDWR)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, kind)
print("ready", flush=True)
sys.stdin.readline()
print("there", flush=True)
"""


@contextmanager
def holder(kind: str, *paths: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with leases, which a signal would end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def is_well(process: subprocess.Popen[str]) -> bool:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline() == "there\n"


def test_the_table_of_locks() -> None:
    table = (
        b"1: POSIX  ADVISORY  WRITE 62 00:14:42 0 EOF\n"
        b"2: LEASE  ACTIVE    WRITE 63 fe:00:131085 0 EOF\n"
        b"3: LEASE  ACTIVE    READ 63 fe:00:5 0 EOF\n"
        b"4: LEASE  BREAKING  READ 63 fe:00:6 0 EOF\n"
        b"5: DELEG  ACTIVE    WRITE 64 00:2a:300 0 EOF\n"
        b"2: -> LEASE  BREAKER   READ 63 fe:00:131085 0 EOF\n"
    )
    found = broken_by_reading(table)
    assert found == {(0xFE, 0, 131085), (0xFE, 0, 6), (0, 0x2A, 300)}
    assert is_among(os.makedev(0xFE, 0), 6, found)
    assert not is_among(os.makedev(0xFE, 1), 6, found)
    assert is_among(os.makedev(0, 0x63), 300, found), "a subvolume of btrfs has its own device"


def test_a_leased_file_is_left_out_until_nobody_has_it_open(ram_directory: Path) -> None:
    source, target = ram_directory / "source", ram_directory / "target"
    for folder in (source, target):
        folder.mkdir()
    (source / "leased").write_text("contents")
    (source / "free").write_text("x")
    copier = Replica(os.fsencode(source), os.fsencode(target), lambda: None)
    with holder("F_WRLCK", source / "leased") as process:
        result = copier.run_pass()
        assert (result.leased_files, result.leased_bytes, result.leased) == (1, 8, ["leased"])
        assert [path.name for path in target.iterdir()] == ["free"]
        assert is_well(process)
    copier.take_source(os.fsencode(source))
    assert copier.run_pass(verify=True).differences == []
    assert (target / "leased").read_text() == "contents"


def test_a_read_lease_keeps_nobody_from_reading(ram_directory: Path) -> None:
    source, target = ram_directory / "source", ram_directory / "target"
    for folder in (source, target):
        folder.mkdir()
    (source / "leased").write_text("contents")
    copier = Replica(os.fsencode(source), os.fsencode(target), lambda: None)
    with holder("F_RDLCK", source / "leased") as process:
        assert copier.run_pass(verify=True).differences == []
        assert is_well(process)


@pytest.mark.parametrize("kind", ["F_WRLCK", "F_RDLCK"])
def test_a_process_with_a_lease_survives_a_migration(
    settings: Settings, ram_directory: Path, kind: str
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "leased").write_text("contents")
        holdfast.adopt_volume("data", str(path))
        with holder(kind, path / "leased") as process:
            holdfast.restorations.migrate(
                MigrateRequest("data", (f"file:{ram_directory}/2.img",), filesystem="ext4")
            )
            assert is_well(process)
        assert (path / "leased").read_text() == "contents"


def test_contents_whose_leases_nobody_would_give_back_are_refused(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    backup = ram_directory / "backup"
    backup.mkdir()
    (backup / "leased").write_text("contents")
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with holder("F_WRLCK", backup / "leased") as process:
            with pytest.raises(Blocked, match="have a lease"):
                holdfast.restorations.restore(RestoreRequest("data", str(backup)))
            assert is_well(process)


def test_access_times_stay_what_they_are(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt", "strictatime") as path:
        with Holdfast(settings) as holdfast:
            (path / "folder").mkdir()
            (path / "folder/file").write_text("x")
            (path / "link").symlink_to("folder")
            holdfast.adopt_volume("data", str(path))
            long_ago = (1_000_000_000, 1_000_000_000)
            for name in ("folder", "folder/file", "link"):
                os.utime(path / name, ns=long_ago, follow_symlinks=False)
            holdfast.restorations.migrate(
                MigrateRequest("data", (f"file:{ram_directory}/2.img",), filesystem="ext4")
            )
        with mounted(image, ram_directory / "look", "ro,noatime") as old:
            for name in ("folder", "folder/file", "link"):
                for place in (old, path):
                    assert (place / name).lstat().st_atime_ns == long_ago[0], (place, name)


def test_the_holder_of_the_tests_would_have_felt_it(ram_directory: Path) -> None:
    (ram_directory / "leased").write_text("contents")
    with holder("F_WRLCK", ram_directory / "leased") as process:
        with pytest.raises(BlockingIOError):
            os.open(ram_directory / "leased", os.O_RDONLY | os.O_NONBLOCK)
        assert process.wait(10) == -signal.SIGIO
