"""Programs that use a mount in one way each, and what find_users says of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.applications.users import find_users
from holdfast.model.handle import Handle, User
from holdfast.model.mountpoint import MountPoint
from holdfast.system.mounts.all_namespaces import all_mount_points
from tests.faults.mounting import mount, unmount

PREAMBLE = """
import ctypes, fcntl, mmap, os, select, signal, socket, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
point = sys.argv[1]
"""
STAY = """
print('ready', flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Path]:
    """A mounted tmpfs whose path has a blank in it."""
    folder = tmp_path / "a b"
    folder.mkdir()
    mount("used", folder, "tmpfs", "size=16777216")
    yield folder
    unmount(folder)


def only(handles: tuple[Handle, ...]) -> Handle:
    """The one handle that there is."""
    assert len(handles) == 1, handles
    return handles[0]


@contextmanager
def program(source: str, point: Path, *wrapper: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has run `source` (with `point`) and waits; ended afterwards."""
    command = [*wrapper, sys.executable, "-c", PREAMBLE + source + STAY, str(point)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


def mounts_at(point: Path) -> list[MountPoint]:
    """The mounts whose mount point is this path."""
    return [mount for mount in all_mount_points() if mount.path == str(point)]


def users_at(point: Path) -> dict[int, User]:
    """The users of what is mounted there, by pid."""
    return {user.pid: user for user in find_users(mounts_at(point))}


def handles_of(source: str, point: Path, *wrapper: str) -> tuple[Handle, ...]:
    """What is found of a process that has run `source`."""
    with program(source, point, *wrapper) as process:
        return users_at(point)[process.pid].handles
