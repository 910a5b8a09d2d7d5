"""Who must never be frozen: whoever serves the storage below a volume, ourselves, PID 1.

Freezing a server of the volume is a deadlock: its users would wait for it, and the thaw for them.
What a volume stands on is followed by names and numbers alone: nothing asks storage. A server that
the kernel names nobody for (of NFS, SMB or iSCSI on this very host, of ublk) cannot be found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.model.mountpoint import MountPoint
from holdfast.system.fuse.connections import connection_number
from holdfast.system.mounts.mount_table import Mount
from holdfast.system.proc import read_record
from holdfast.system.proc_text import number_of
from holdfast.system.processes.process_state import ancestors_of, read_state
from holdfast.system.storage.standing import FUSE_TYPES, nbd_server, parts_below

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
    """Which processes must not be frozen, and why."""

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
    below = parts_below(containers, list(map(_as_mount, points)), may_block=False, swap=False)
    connections = {
        connection_number(part.mount.device_number)
        for part in below
        if part.mount is not None and part.mount.filesystem.partition(".")[0] in FUSE_TYPES
    }
    pids = {nbd_server(part.block_device) for part in below if part.block_device}
    return Servers(frozenset(connections), frozenset(pid for pid in pids if pid is not None))


def _as_mount(point: MountPoint) -> Mount:
    """The point as a mount table has it; of its place only the path."""
    return Mount(
        identifier=point.id,
        parent=point.parent,
        device_number=point.device,
        root=f"/{point.inside}",
        path=point.path,
        options=point.options,
        filesystem=point.filesystem,
        source=point.source,
        super_options=point.super_options,
    )


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
