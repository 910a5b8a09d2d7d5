"""Reopening files on another mount as they were open before."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.applications.rebind.opening.reopening import Reopening, lock_structure
from holdfast.applications.rebind.opening.requests import Expected, OpenRequest
from holdfast.applications.rebind.parking.observed import observe
from holdfast.model.handle import FileLock, HandleOutcome, LockKind

MOUNT = 11
WANTED = OpenRequest("key", MOUNT, "folder/file", os.O_RDWR, Expected.FILE, offset=3)


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Reopening]:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder/file").write_text("contents")
    base = os.open(root, os.O_PATH)
    yield Reopening({MOUNT: base}, tmp_path)
    os.close(base)


def test_offset_and_flags(opening: Reopening) -> None:
    opened = opening.open(replace(WANTED, flags=os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC))
    assert opened.descriptor is not None
    assert os.read(opened.descriptor, 10) == b"tents"
    flags = fcntl.fcntl(opened.descriptor, fcntl.F_GETFL)
    assert flags & os.O_APPEND and not flags & os.O_NONBLOCK
    os.close(opened.descriptor)


@pytest.mark.parametrize("path", ["folder/none", "folder", "folder/file/x", "../root/folder/file"])
def test_missing(opening: Reopening, path: str) -> None:
    opened = opening.open(replace(WANTED, path=path))
    assert (opened.descriptor, opened.outcome) == (None, HandleOutcome.FILE_MISSING)


def test_links_lead_nowhere(opening: Reopening, tmp_path: Path) -> None:
    (tmp_path / "root/link").symlink_to("folder/file")
    (tmp_path / "root/way").symlink_to("folder")
    for path in ("link", "way/file"):
        assert opening.open(replace(WANTED, path=path)).outcome is HandleOutcome.FILE_MISSING


def test_a_mount_that_did_not_come_back(opening: Reopening) -> None:
    assert opening.open(replace(WANTED, mount_id=99)).outcome is HandleOutcome.FILE_MISSING


def test_a_file_without_a_name_is_shared_by_its_descriptions(
    opening: Reopening, tmp_path: Path
) -> None:
    (tmp_path / "contents-1").write_text("nobody else has this")
    wanted = replace(WANTED, deleted=True, contents="contents-1", before=observe(str(tmp_path)))
    wanted = replace(wanted, before=observe(str(tmp_path / "contents-1")))
    one, other = opening.open(wanted), opening.open(replace(wanted, key="other", offset=0))
    assert one.descriptor is not None and other.descriptor is not None
    assert os.read(one.descriptor, 6) == b"ody el"
    os.pwrite(one.descriptor, b"N", 0)
    assert os.read(other.descriptor, 6) == b"Nobody"
    assert os.fstat(one.descriptor).st_nlink == 0
    assert os.listdir(tmp_path / "root") == ["folder"]  # noqa: PTH208
    for each in (one.descriptor, other.descriptor, *opening.carried.values()):
        os.close(each)


def test_contents_that_differ_are_not_given_to_a_program(
    opening: Reopening, tmp_path: Path
) -> None:
    (tmp_path / "contents-1").write_text("the old program")
    opened = opening.open(replace(WANTED, contents="contents-1", flags=os.O_RDONLY, offset=0))
    assert opened.outcome is HandleOutcome.ROLLED_BACK
    assert opened.descriptor is not None
    assert os.read(opened.descriptor, 20) == b"the old program"
    for each in (opened.descriptor, *opening.carried.values()):
        os.close(each)


def test_a_lock_that_somebody_has(opening: Reopening, tmp_path: Path) -> None:
    lock = FileLock(LockKind.OPEN_FILE, "write")
    with open(tmp_path / "root/folder/file") as other:
        fcntl.lockf(other, fcntl.LOCK_SH)
        opened = opening.open(replace(WANTED, locks=(lock,)))
    assert (opened.outcome, opened.lost_locks) == (HandleOutcome.LOST, (lock,))
    assert opened.descriptor is not None
    os.close(opened.descriptor)


def test_lock_structure() -> None:
    assert lock_structure(FileLock(LockKind.POSIX, "read", 5, 9))[8:24] == bytes(
        [5, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]
    )
    assert lock_structure(FileLock(LockKind.POSIX, "read", 5, None))[16:24] == bytes(8)
