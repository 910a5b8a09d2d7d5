"""What mountinfo and fstab say, read without touching a mount."""

from __future__ import annotations

from pathlib import Path

from holdfast.system.mounts.mount_table import (
    fstab_line,
    is_under,
    mounts,
    parse_mountinfo,
    topmost,
)

TEXT = rb"""23 28 0:21 / /proc rw,relatime shared:13 master:1 - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
42 28 7:0 / /srv/two\040words\011and\134more rw,noatime - xfs /dev/loop0 ro,inode64
43 28 0:55 /sub /srv/b rw - btrfs /dev/loop1 rw,subvol=/sub
a line of another kernel
"""


def test_every_field_of_a_mount_is_read() -> None:
    entry = parse_mountinfo(TEXT)[2]
    assert entry.path == "/srv/two words\tand\\more"
    assert entry.device_number == "7:0"
    assert entry.options == "rw,noatime"
    assert entry.filesystem == "xfs"
    assert entry.source == "/dev/loop0"
    assert entry.super_options == "ro,inode64"


def test_lines_of_unknown_shape_are_skipped() -> None:
    assert [entry.identifier for entry in parse_mountinfo(TEXT)] == [23, 28, 42, 43]


def test_a_file_system_that_turned_read_only_is_seen() -> None:
    assert [entry.read_only for entry in parse_mountinfo(TEXT)] == [False, False, True, False]


def test_the_topmost_is_told_from_one_that_was_put_beneath_it_later() -> None:
    table = parse_mountinfo(rb"""28 1 254:0 / / rw - ext4 /dev/vda rw
42 51 7:0 / /srv/a rw - ext4 /dev/loop0 rw
51 28 0:60 / /srv/a rw - fuse.cover x rw
""")
    found = topmost(table, "/srv/a")
    assert found is not None
    assert found.identifier == 42
    assert topmost(table, "/srv") is None


def test_own_mount_table_has_a_root() -> None:
    assert any(entry.path == "/" for entry in mounts())


def test_is_under_goes_by_whole_names() -> None:
    assert is_under("/srv/a", "/srv/a")
    assert is_under("/srv/a/b", "/srv/a")
    assert is_under("/srv", "/")
    assert not is_under("/srv/ab", "/srv/a")


def test_fstab_line_is_found_by_mount_path(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text(
        "# /srv/a is a comment\nUUID=1 / ext4 defaults 0 1\n"
        "  /dev/x /srv/a\\040b/ xfs noatime 0 2 \n"
    )
    assert fstab_line("/srv/a b", fstab) == "/dev/x /srv/a\\040b/ xfs noatime 0 2"
    assert fstab_line("/srv/a", fstab) == ""
    assert fstab_line("/srv/a", tmp_path / "absent") == ""
