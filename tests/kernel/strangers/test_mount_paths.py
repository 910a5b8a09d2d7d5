"""Below a directory of somebody else's a volume is mounted at its path, wherever his links lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldfastError, InvalidOption, Untrusted
from holdfast.model.volume import MountProperties, Volume
from holdfast.mountpoints.mounting import give_root, mount_at_path
from holdfast.system.mounts.mount_table import mount_at, unmount
from holdfast.volumes.checks.new_volume import check_mount_place

STRANGER = 12345


@pytest.fixture(name="his")
def _his(ram_directory: Path) -> Path:
    """A directory of a stranger's, with one in it, and what he must not get."""
    his = ram_directory / "his"
    for each in (his, his / "way", his / "way" / "data", ram_directory / "roots"):
        each.mkdir()
        os.chown(each, STRANGER, STRANGER)
    os.chown(ram_directory / "roots", 0, 0)
    return his


def test_no_link_of_his_is_followed(his: Path) -> None:
    path, roots = his / "way" / "data", his.parent / "roots"
    mount_at_path("tmpfs", str(path), "tmpfs", "nosuid,size=1m")
    found = mount_at(str(path))
    assert found is not None and found.filesystem == "tmpfs" and "nosuid" in found.options
    give_root(str(path), "tmpfs", (STRANGER, STRANGER), 0o750)
    assert (path.stat().st_uid, path.stat().st_mode & 0o7777) == (STRANGER, 0o750)
    # Now he exchanges the directory above it: whose owner is changed?
    (his / "way").rename(his / "away")
    (his / "way").mkdir()
    for made in ("a link", "a directory"):
        path.symlink_to(roots) if made == "a link" else path.mkdir()
        with pytest.raises((Untrusted, OSError)):
            give_root(str(path), "tmpfs", (STRANGER, STRANGER), 0o750)
        path.unlink() if made == "a link" else path.rmdir()
    assert roots.stat().st_uid == 0
    unmount(his / "away" / "data")
    path.symlink_to(roots)
    with pytest.raises(InvalidOption, match="link"):
        mount_at_path("tmpfs", str(path), "tmpfs")
    assert mount_at(str(roots)) is None


def test_where_one_is_to_be_made(his: Path, settings: Settings) -> None:
    def checked(path: Path) -> str | HoldfastError:
        volume = Volume("shop", "", "gated", 1 << 30, MountProperties(str(path), "ext4"))
        try:
            return check_mount_place(settings, volume, ()).path
        except HoldfastError as error:
            return error

    roots = his.parent / "roots"
    (his / "link").symlink_to(roots)
    assert isinstance(checked(his / "link"), InvalidOption)
    assert isinstance(checked(his / "link" / "new"), InvalidOption)
    (his.parent / "own-link").symlink_to(roots)
    assert checked(his.parent / "own-link") == str(roots)
    assert checked(his.parent / "own-link" / "new") == str(roots / "new")
