"""Per-mount options as mountinfo writes them become the flags of mount_setattr(2)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_api import attributes_of

ACCESS_TIME = 0x70


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ("rw,relatime", 0),
        ("rw", 0x20),
        ("ro,nosuid,nodev,noexec,noatime", 0x1 | 0x2 | 0x4 | 0x8 | 0x10),
        ("rw,nodiratime,relatime,nosymfollow", 0x80 | 0x200000),
    ],
)
def test_options_become_flags_and_all_others_are_cleared(options: str, flags: int) -> None:
    found = attributes_of(options)
    assert found.set_flags == flags
    assert found.clear_flags & ACCESS_TIME == ACCESS_TIME, "else the kernel refuses with EINVAL"
    assert found.clear_flags & ~ACCESS_TIME & found.set_flags == 0
    assert found.clear_flags | found.set_flags == 0x2000FF


def test_what_move_mount_knows_is_asked_without_mounting() -> None:
    """A flag that no kernel has stands for one that older kernels lack."""
    if os.geteuid():
        pytest.skip("move_mount(2) refuses everything to who may not mount")
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    before = Path("/proc/self/mountinfo").read_text()
    assert mount_api.can_attach_beneath() == (release >= (6, 5))
    assert not mount_api._knows(0x4000_0000)
    assert Path("/proc/self/mountinfo").read_text() == before
