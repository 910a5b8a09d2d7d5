"""Whoever keeps a mount busy is found: descriptor, deleted file, map, directory, namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.mounts.users import MountUser, users_of_device
from tests.faults.mounting import mount, unmount


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount("busy", folder, "tmpfs", "size=1048576")
    yield folder
    unmount(folder)


def users(point: Path, **wanted: bool) -> dict[int, MountUser]:
    entry = mount_at(point)
    assert entry is not None
    return {user.pid: user for user in users_of_device(entry.device_number, **wanted)}


PROGRAMS = {
    "descriptor": "f = open('x', 'w')",
    "deleted": "f = open('x', 'w'); os.unlink('x')",
    "map": "f = open('x', 'w+b'); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096); f.close()",
    "cwd": "stay = True",
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_user_is_found_by(kind: str, point: Path) -> None:
    program = f"""
import mmap, os, sys
os.chdir({str(point)!r})
{PROGRAMS[kind]}
if {kind != "cwd"}:
    os.chdir('/')
print('ready', flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        user = users(point)[process.pid]
        assert process.stdin is not None
        process.stdin.close()
    words = {"descriptor": "descriptor", "deleted": "descriptor", "map": "map", "cwd": "cwd"}
    assert any(handle.startswith(words[kind]) for handle in user.handles)
    assert f"process {process.pid}" in str(user)
    assert process.pid not in users(point)


def test_an_idle_mount_has_no_users(point: Path) -> None:
    assert not users(point)


def test_another_mount_namespace_is_found(point: Path) -> None:
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", "echo ready; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert process.pid not in users(point)
        found = users(point, foreign_namespaces=True)
        assert process.stdin is not None
        process.stdin.close()
    assert found[process.pid].handles == ("mount namespace",)


def test_own_use_is_found_too(point: Path) -> None:
    with (point / "file").open("w") as file:
        assert users(point)[os.getpid()].handles == (f"descriptor {file.fileno()}",)
