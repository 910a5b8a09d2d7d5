"""Who must never be frozen: whoever serves the storage below a volume, ourselves, PID 1.

Freezing a server of the volume is a deadlock: its users would wait for it, and the thaw for them.
What a volume stands on is followed through loop devices, device mapper and RAID, partitions,
overlays, FUSE and nbd, by names and numbers alone: nothing asks storage. A server that the kernel
names nobody for (of NFS, SMB or iSCSI on this very host, of ublk) cannot be found this way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.mountpoint import MountPoint
from holdfast.system.loop import loop_devices
from holdfast.system.mounts import mount_holding
from holdfast.system.proc import read_record
from holdfast.system.proc_text import number_of
from holdfast.system.process_state import ancestors_of, read_state

_CLASS_BLOCK = Path("/sys/class/block")
_NUMBERS = Path("/sys/dev/block")
_DEVICES = ("/dev", "/")
"""A name below /dev on one of these mounts, not on one below (/dev/shm), is asked without harm."""
_MINOR_BITS = 20
"""<linux/kdev_t.h>: how a FUSE connection's number is made of its device number."""

ANY = -1
"""A FUSE connection of unknown number: where there is doubt nobody is frozen."""


@dataclass(frozen=True)
class Servers:
    """What a volume stands on, as far as processes serve it."""

    connections: frozenset[int] = frozenset()
    """Numbers of FUSE connections, as fdinfo has them."""
    pids: frozenset[int] = frozenset()
    """Processes that serve an nbd device."""


@dataclass(frozen=True)
class Protection:
    """Who is left alone, and why."""

    servers: Servers
    spared: frozenset[int] = frozenset()
    """Ourselves and those we descend from."""

    def reason(self, pid: int) -> str:
        """Why this process must not be frozen, in words; empty: it may be."""
        if pid == 1:
            return "is the first process of the system"
        state = read_state(pid)
        if state is None or state.kernel_thread:
            return "is a thread of the kernel" if state else "has ended"
        if pid == os.getpid():
            return "is Holdfast itself"
        if pid in self.spared:
            return "is Holdfast itself, or started the command: it could not tell you any more"
        if pid in self.servers.pids:
            return "serves the network block device below the volume"
        connections = self.servers.connections
        if connections and not (connections | {ANY}).isdisjoint(_serves(pid)):
            return "serves storage below the volume, which would wait for it for ever"
        return ""


def ourselves() -> frozenset[int]:
    """This process and everyone it descends from."""
    return frozenset({os.getpid(), *ancestors_of(os.getpid())})


def servers_below(points: Sequence[MountPoint], containers: Sequence[str] = ()) -> Servers:
    """Who serves what these mounts stand on, and these files and block devices. Does not block."""
    connections: set[int] = set()
    pids: set[int] = set()
    seen: set[str] = set()
    waiting = [word for point in points for word in _below_mount(point)] + list(containers)
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.startswith("connection:"):
            connections.add(int(current.partition(":")[2]))
        elif current.startswith("device:"):
            waiting += _below_number(current.partition(":")[2])
        elif current.startswith("/"):
            mount = mount_holding(current)
            if mount is not None and current.startswith("/dev/") and mount.path in _DEVICES:
                waiting += _below_block(_block_name(current), pids)
            elif mount is not None:
                words = (mount.device_number, mount.filesystem, mount.source, mount.super_options)
                waiting += _below(*words)
    return Servers(frozenset(connections), frozenset(pids))


def _below_mount(point: MountPoint) -> list[str]:
    return _below(point.device, point.filesystem, point.source, point.super_options)


def _below(device: str, filesystem: str, source: str, super_options: str) -> list[str]:
    found = [f"device:{device}"]
    if filesystem.partition(".")[0] in ("fuse", "fuseblk"):
        major, _, minor = device.partition(":")
        found.append(f"connection:{int(major) << _MINOR_BITS | int(minor)}")
    if source.startswith("/dev/"):
        found.append(source)  # btrfs has a device number of its own
    if filesystem == "overlay":
        options = dict(word.partition("=")[::2] for word in super_options.split(","))
        for name in ("upperdir", "lowerdir", "workdir"):
            found += [path for path in options.get(name, "").split(":") if path.startswith("/")]
    return found


def _below_number(number: str) -> list[str]:
    with suppress(OSError):
        return [f"/dev/{(_NUMBERS / number).readlink().name}"]
    return []


def _block_name(device: str) -> str:
    """Name in /sys/class/block, also of /dev/mapper/x, which is a link to /dev/dm-N."""
    return Path(os.path.realpath(device)).name


def _below_block(name: str, pids: set[int]) -> list[str]:
    folder = _CLASS_BLOCK / name
    if not folder.exists():
        return []
    found = [loop.backing_file for loop in loop_devices() if loop.device == f"/dev/{name}"]
    with suppress(OSError):
        found += [f"/dev/{slave.name}" for slave in (folder / "slaves").iterdir()]
    if (folder / "partition").exists():
        found.append(f"/dev/{folder.resolve().parent.name}")
    with suppress(OSError, ValueError):
        pids.add(int((folder / "pid").read_text()))  # nbd: who brought the connection
    return found


def _serves(pid: int) -> Iterator[int]:
    """FUSE connections that a process has open; ANY where the kernel does not say which."""
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208
            with suppress(OSError):
                if os.readlink(f"{folder}/{name}") == "/dev/fuse":  # noqa: PTH115
                    yield from _connection(f"/proc/{pid}/fdinfo/{name}")


def _connection(path: str) -> Iterator[int]:
    connection = number_of(read_record(path), b"fuse_connection")
    yield ANY if connection is None else connection
