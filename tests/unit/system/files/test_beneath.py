"""What lies below a directory is reached through descriptors, and nothing leads out of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.system.files.beneath import names_in, open_beneath, path_to, reopen


@pytest.fixture
def base(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "base/folder").mkdir(parents=True)
    (tmp_path / "base/folder/file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside")
    descriptor = os.open(tmp_path / "base", os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("path", ["link/file", "../outside/file", "/etc/hostname", "link"])
def test_no_path_leads_outside(base: int, tmp_path: Path, path: str) -> None:
    (tmp_path / "base/link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError) as caught:
        os.close(open_beneath(base, path, os.O_RDONLY))
    assert caught.value.errno in (errno.ELOOP, errno.EXDEV)


def test_a_link_itself_is_opened_by_o_path(base: int, tmp_path: Path) -> None:
    (tmp_path / "base/link").symlink_to("/etc/hostname")
    descriptor = open_beneath(base, "link", os.O_PATH | os.O_NOFOLLOW)
    try:
        assert os.readlink(b"", dir_fd=descriptor) == b"/etc/hostname"
        os.utime(path_to(descriptor), ns=(1, 2))
        assert (tmp_path / "base/link").lstat().st_mtime_ns == 2
    finally:
        os.close(descriptor)


def test_what_was_looked_at_is_opened_although_its_name_leads_elsewhere(
    base: int, tmp_path: Path
) -> None:
    looked_at = open_beneath(base, "folder/file", os.O_PATH)
    (tmp_path / "base/folder").rename(tmp_path / "base/away")
    (tmp_path / "base/folder").symlink_to(tmp_path / "outside")
    descriptor = reopen(looked_at, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        assert os.read(descriptor, 100) == b"inside"
    finally:
        os.close(descriptor)
        os.close(looked_at)


def test_a_path_longer_than_the_kernel_takes_at_once(base: int) -> None:
    name = b"n" * 250
    folder = os.dup(base)
    for _ in range(20):
        os.mkdir(name, dir_fd=folder)
        deeper = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    path = b"/".join([name] * 20)
    assert len(path) > 4096
    descriptor = open_beneath(base, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert names_in(descriptor) == [b"file"]
    finally:
        os.close(descriptor)
