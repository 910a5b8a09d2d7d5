"""Mounts of all mount namespaces, as values: where a file system is mounted on this host.

Reads /proc only, so a hung or dead file system cannot block it. Paths are those that the root of
the namespace sees, whatever the witness's own root is. Must never stat a mount point. Out of sight
are namespaces that no process is in (kept by a bind mount or a descriptor alone).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.model.mountpoint import MountPoint
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.mount_table import Mount, parse_mountinfo
from holdfast.system.mounts.namespace import enter_mount_namespace, mount_namespace
from holdfast.system.proc import read
from holdfast.system.proc_text import lines

_CHILD_SECONDS = 5.0

_TABLES_KEPT = 64
"""Of mounts: a host with containers has some dozens of namespaces."""

_LOOKS = 5
_LINKS_OF_ONE = 3
"""Links of the folder `task` of a process with one thread: proc_task_getattr() of fs/proc/base.c
adds their number to those of an empty folder."""
_RELATIONS = re.compile(rb"^(\d+) (\d+) ", re.MULTILINE)
"""A mount's number and that of its parent (proc_pid_mountinfo(5))."""


def read_mount_points(pid: int, device_number: str = "") -> list[MountPoint]:
    """Every mount of the mount namespace that this process (or thread) is in, in mount order.

    `device_number`: of this super block (MAJOR:MINOR) only. Does not block. Raises OSError
    (FileNotFoundError, ProcessLookupError) when the process ended.
    """
    namespace = mount_namespace(pid)
    root = _root(pid)
    if root == "/":
        text = read(f"/proc/{pid}/mountinfo")
        return list(_as_points(text, pid, namespace, "/", device_number))
    with suppress(HoldfastError, OSError):
        text = in_expendable_child(
            lambda: _read_inside(pid), _CHILD_SECONDS, "reading the mounts of another namespace"
        )
        return list(_as_points(text, pid, namespace, "/", device_number))
    # Mounts outside of this process's root stay hidden: better some than none.
    return list(_as_points(read(f"/proc/{pid}/mountinfo"), pid, namespace, root, device_number))


def all_mount_points(device_number: str = "") -> list[MountPoint]:
    """Every mount of every mount namespace that a process is in; does not block.

    `device_number`: of this super block (MAJOR:MINOR) only, which is ten times as fast where
    somebody has thousands of others.
    """
    found: dict[int, list[MountPoint]] = {}
    for _ in range(_LOOKS):
        missed = False
        for namespace, witness in witnesses().items():
            if namespace in found:
                continue
            try:
                found[namespace] = read_mount_points(witness, device_number)
            except OSError:  # the witness has ended: is there another?
                missed = True
        if not missed:
            break
    return [point for points in found.values() for point in points]


def witnesses() -> dict[int, int]:
    """One process (or thread) in each mount namespace, by the namespace's inode number.

    This process stands for its own namespace; elsewhere one that is not chrooted is preferred.
    """
    found: dict[int, int] = {mount_namespace(os.getpid()): os.getpid()}
    chrooted: set[int] = set()
    for pid in _tasks():
        with suppress(OSError):
            namespace = mount_namespace(pid)
            if namespace in found and namespace not in chrooted:
                continue
            whole = _root(pid) == "/"
            if whole:
                found[namespace] = pid
                chrooted.discard(namespace)
            elif namespace not in found:
                found[namespace] = pid
                chrooted.add(namespace)
    return found


def _root(pid: int) -> str:
    return str(Path(f"/proc/{pid}/root").readlink())


def _tasks() -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names, not paths
        if name.isdigit():
            yield int(name)
            with suppress(OSError):
                if os.stat(f"/proc/{name}/task").st_nlink != _LINKS_OF_ONE:  # noqa: PTH116
                    threads = os.listdir(f"/proc/{name}/task")  # noqa: PTH208
                    yield from (int(thread) for thread in threads if thread != name)


def _read_inside(pid: int) -> bytes:
    """The mountinfo of a process at the namespace's own root; read in an expendable child."""
    folder = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    enter_mount_namespace(pid)
    descriptor = os.open(f"{os.getpid()}/mountinfo", os.O_RDONLY, dir_fd=folder)
    with open(descriptor, "rb") as stream:
        return stream.read()


@lru_cache(maxsize=_TABLES_KEPT)
def _as_points(
    text: bytes, pid: int, namespace: int, root: str, device_number: str
) -> tuple[MountPoint, ...]:
    """Kept, because a table is read again and again while applications stand, and rarely changes.
    The values are the text's alone."""
    parents = {int(parent) for number, parent in _RELATIONS.findall(text) if parent != number}
    if device_number:
        field = b" %s " % device_number.encode()
        text = b"\n".join(line for line in lines(text) if field in line)
    return tuple(
        as_mount_point(each, pid, namespace, root, each.identifier in parents)
        for each in parse_mountinfo(text)
        if device_number in ("", each.device_number)
    )


def as_mount_point(
    mount: Mount, pid: int, namespace: int, root: str = "/", nested: bool = False
) -> MountPoint:
    """A line of the mountinfo of a process whose own root lies at `root`."""
    groups = dict(tag.partition(":")[::2] for tag in mount.tags)
    path = mount.path if root == "/" else (root + mount.path).rstrip("/")
    return MountPoint(
        id=mount.identifier,
        namespace=namespace,
        witness_pid=pid,
        path=path,
        inside=mount.root.lstrip("/"),
        options=mount.options,
        super_options=mount.super_options,
        filesystem=mount.filesystem,
        source=mount.source,
        device=mount.device_number,
        propagation=_propagation(groups),
        peer_group=int(groups.get("shared", "0")),
        master_group=int(groups.get("master", "0")),
        nested=nested,
        parent=mount.parent,
    )


def _propagation(groups: dict[str, str]) -> str:
    if "shared" in groups:
        return "shared-slave" if "master" in groups else "shared"
    if "master" in groups:
        return "slave"
    return "unbindable" if "unbindable" in groups else "private"
