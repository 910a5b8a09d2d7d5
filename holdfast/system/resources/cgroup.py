"""Control groups (version 2): who is where, and stopping whole groups.

Version 1 hierarchies that are mounted beside are never changed; only whether somebody is frozen by
one is looked at. Must never move anyone but those it is told to.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from holdfast.system.mounts.mount_table import mounts
from holdfast.system.proc import read_record
from holdfast.system.proc_text import parse_control_groups

_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


def unified_mount() -> Path | None:
    """Where the version 2 hierarchy is mounted, or None (cgroups(7))."""
    usual = next((path for path in _MOUNTS if os.access(f"{path}/cgroup.procs", os.F_OK)), None)
    if usual is not None:
        return usual
    whole = (each for each in mounts() if each.filesystem == "cgroup2" and each.root == "/")
    return next((Path(each.path) for each in whole), None)


def group_of(pid: int) -> str | None:
    """The version 2 group of a process or thread, relative to the mount; `/`: the root.

    None when it is gone, has none, or lies outside of what this host's mount shows.
    """
    with suppress(OSError), open(f"/proc/{pid}/cgroup", "rb") as file:
        for line in file:
            if line.startswith(b"0::/"):
                path = os.fsdecode(line[3:].rstrip(b"\n")).removesuffix(" (deleted)")
                return None if path.startswith("/..") else path
    return None


def frozen_by(pid: int, thread_id: int | None = None) -> str | None:
    """The frozen group that a process or thread is in, of either version; None: it is in none.

    Asked of a process that is gone, or lies outside of what this host's mounts show: None.
    """
    place = f"/proc/{pid}" + ("" if thread_id is None else f"/task/{thread_id}")
    groups: list[tuple[str, str, str]] = []
    with suppress(OSError):
        groups = parse_control_groups(read_record(f"{place}/cgroup"))
    for number, controllers, path in groups:
        group = path.removesuffix(" (deleted)").strip("/")
        if group.startswith(".."):
            continue
        if number == "0":
            if frozen := _frozen_above(group):
                return frozen
        elif "freezer" in controllers.split(","):
            old = _freezer_mount()
            with suppress(OSError):
                if old is not None and (old / group / "freezer.state").read_text() != "THAWED\n":
                    return str(old / group)
    return None


def _frozen_above(group: str) -> str | None:
    """The first of a version 2 group and those that it lies in which is to be frozen."""
    mount = unified_mount()
    while mount is not None and group:
        if freeze_requested(f"{mount}/{group}"):
            return f"{mount}/{group}"
        group = group.rpartition("/")[0]
    return None


@cache
def _freezer_mount() -> Path | None:
    """Where the hierarchy of version 1 that freezes is mounted (cgroups(7))."""
    found = (
        each
        for each in mounts()
        if each.filesystem == "cgroup" and each.root == "/" and "freezer" in each.super_options
    )
    return next((Path(each.path) for each in found), None)


def members(group: Path) -> list[int]:
    """Processes directly in a group; empty when it is gone. Threaded groups have none to show."""
    with suppress(OSError):
        return [int(word) for word in (group / "cgroup.procs").read_text().split()]
    return []


def members_below(group: Path) -> list[int]:
    """Processes in a group and in every group below it."""
    found = members(group)
    with suppress(OSError):
        for entry in os.scandir(group):
            if entry.is_dir(follow_symlinks=False):
                found += members_below(Path(entry.path))
    return found


def is_domain(group: Path) -> bool:
    """Whether threads of one process cannot be in different groups here (cgroups(7))."""
    try:
        return (group / "cgroup.type").read_text().strip() == "domain"
    except FileNotFoundError:
        return not (group / "cgroup.freeze").exists()  # the root has neither


def move(pid: int, group: Path) -> bool:
    """Move a process with all its threads; False when it is gone. Raises OSError."""
    try:
        (group / "cgroup.procs").write_text(str(pid))
    except ProcessLookupError:
        return False
    return True


def freeze_requested(group: str | Path) -> bool:
    """Whether this very group is to be frozen; False for the root, and when it is gone."""
    with suppress(OSError):
        return read_record(f"{group}/cgroup.freeze").strip() == b"1"
    return False


def request_freeze(group: Path, frozen: bool) -> bool:
    """Freeze or thaw a group, all below included; False when it is gone. Does not wait."""
    try:
        (group / "cgroup.freeze").write_text("1" if frozen else "0")
    except FileNotFoundError:
        return False
    return True


def is_frozen(group: Path) -> bool:
    """Whether every process of the group stands still now, or the group is gone."""
    try:
        return "frozen 1" in (group / "cgroup.events").read_text()
    except OSError:
        return True


def wait_until_frozen(group: Path, timeout_seconds: float) -> bool:
    """Wait until every process of the group stands still; False when that takes longer.

    A process that waits inside the kernel (state D) joins when it returns.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        descriptor = os.open(group / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLPRI)
        while b"frozen 1" not in os.pread(descriptor, 256, 0):
            remaining_seconds = deadline - time.monotonic()
            if remaining_seconds <= 0:
                return False
            poller.poll(int(remaining_seconds * 1000) + 1)
        return True
    except OSError:
        return True  # ENODEV: the group was removed
    finally:
        os.close(descriptor)
