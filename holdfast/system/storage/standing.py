"""What files, block devices and mounts stand on, all the way down: one walk for everybody who asks.

Owns every way in which storage lies on other storage: a mount on its device, or on all of them
(btrfs, bcachefs, ZFS); an overlay on its layers; a FUSE file system on the paths that its source
names, and on what its server has open; an NFS mount of this very host on the exported directory;
tmpfs on swap; a loop device on its file; device mapper, RAID and bcache on their members; a
partition on its disk; zram on its backing device; nbd on what its server has open. Out of sight:
servers on other hosts, and those that open files only when asked. Must never change anything.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.late_dataclass import dataclass
from holdfast.system.fuse.connections import connection_number
from holdfast.system.mounts.mount_table import Mount, mount_holding
from holdfast.system.proc_text import unescape
from holdfast.system.storage.block import swap_paths
from holdfast.system.storage.loop import loop_devices

_CLASS_BLOCK = Path("/sys/class/block")
_NUMBERS = Path("/sys/dev/block")
_DEVICES = ("/dev", "/")
"""A name below /dev on one of these mounts, not on one below (/dev/shm), is asked without harm."""
FUSE_TYPES = ("fuse", "fuseblk")
"""What the type of every FUSE file system begins with, up to the dot."""
_BTRFS = Path("/sys/fs/btrfs")
_LAYERS = frozenset({"lowerdir", "upperdir", "workdir", "lowerdir+", "datadir+"})
"""Options of overlayfs that name directories (Documentation/filesystems/overlayfs.rst)."""
_NETWORK = re.compile(r"(?:[^@/]*@)?(\[[^\]]+\]|[^:/]+):(/.*)")
"""`host:/path`, `user@host:/path`, `[address]:/path`."""


@dataclass(frozen=True)
class Part:
    """One of the things that storage stands on."""

    path: str
    block_device: str
    """Its name in /sys/class/block; empty: it is no block device."""
    mount: Mount | None
    """The mount that it lies on, or that it is; None for block devices."""


Known = Callable[[str], Sequence[str] | None]
"""What a path stands on, for a caller who knows; None: look."""


def parts_below(
    paths: Sequence[str],
    mounts: Sequence[Mount] = (),
    *,
    may_block: bool,
    swap: bool = True,
    known: Known = lambda path: None,
) -> list[Part]:
    """These paths and mounts, and everything that they stand on, nearest first, each once.

    `may_block`: names are resolved, and what servers have open is followed; that blocks as the
    storage does: call it from an expendable child. Without it only what the kernel says of numbers
    and of names in /dev is followed. `swap`: whether what is kept in memory stands on swap (not
    where it is locked in memory).
    """
    found = [Part(mount.path, "", mount) for mount in mounts]
    waiting = [path for mount in mounts for path in below_mount(mount, may_block, swap)]
    waiting += paths
    seen: set[str] = set()
    while waiting:
        part = _part(waiting.pop(0), may_block)
        if part.path in seen or not part.path.startswith("/"):
            continue
        seen.add(part.path)
        found.append(part)
        below = known(part.path)
        if below is not None:
            waiting += below
        elif part.block_device:
            waiting += below_block_device(part.block_device, may_block)
        elif part.mount is not None:
            waiting += below_mount(part.mount, may_block, swap)
    return found


def _part(path: str, may_block: bool) -> Part:
    """What is at this path; links in /dev are followed always, others where it may block."""
    if may_block:
        path = os.path.realpath(path)
    mount = mount_holding(path)
    if mount is None or not path.startswith("/dev/") or mount.path not in (*_DEVICES, path):
        return Part(path, "", mount)
    path = os.path.realpath(path)  # /dev/mapper/x is a link to /dev/dm-N
    name = Path(path).name
    is_device = path.startswith("/dev/") and (_CLASS_BLOCK / name).exists()
    return Part(path, name, None) if is_device else Part(path, "", mount)


def below_block_device(name: str, may_block: bool) -> list[str]:
    """Files and devices that this block device stands on directly."""
    folder = _CLASS_BLOCK / name
    found = [loop.backing_file for loop in loop_devices() if loop.device == f"/dev/{name}"]
    with suppress(OSError):
        found += [f"/dev/{slave.name}" for slave in (folder / "slaves").iterdir()]
    if (folder / "partition").exists():
        found.append(f"/dev/{folder.resolve().parent.name}")
    with suppress(OSError):
        backing = (folder / "backing_dev").read_text().strip()  # zram
        found += [backing] if backing.startswith("/") else []
    server = nbd_server(name) if may_block else None
    return found + (_opened_by(server) if server else [])


def nbd_server(name: str) -> int | None:
    """The process that brought the connection of this block device, where it is an nbd device."""
    with suppress(OSError, ValueError):
        return int((_CLASS_BLOCK / name / "pid").read_text())
    return None


def below_mount(mount: Mount, may_block: bool, swap: bool = True) -> list[str]:
    """Paths and devices that what is mounted there stands on directly."""
    kind = mount.filesystem.partition(".")[0]
    if kind == "overlay":
        return overlay_layers(mount.super_options)
    if kind == "tmpfs":
        return swap_paths() if swap else []
    found = _device_of_number(mount.device_number)
    found += _named_paths(mount, may_block)
    if kind == "btrfs":
        found += _btrfs_members(found)
    if kind in FUSE_TYPES and may_block:
        for pid in _servers_of(mount.device_number):
            found += _opened_by(pid)
    return found


def overlay_layers(super_options: str) -> list[str]:
    """The layers of an overlay that are named absolutely. Pure.

    The kernel escapes twice: `:` and `,` within a name by a backslash, and that, octally, as any
    unusual character in mountinfo.
    """
    text = super_options.replace("\\134:", "\\072").replace("\\134,", "\\054")
    found = []
    for word in text.split(","):
        name, _, value = word.partition("=")
        if name in _LAYERS:
            for part in value.split(":"):
                path = os.fsdecode(unescape(os.fsencode(part)))
                if path.startswith("/"):
                    found.append(path)
    return found


def _device_of_number(number: str) -> list[str]:
    """The block device with this MAJOR:MINOR, by its own name."""
    with suppress(OSError):
        return [f"/dev/{(_NUMBERS / number).readlink().name}"]
    return []


def _named_paths(mount: Mount, may_block: bool) -> list[str]:
    """What the source of a mount names: one path, several (`/a:/b`, `/a=RW:/b`), or this host's."""
    source = mount.source
    if not may_block:
        return [source] if source.startswith("/dev/") else []
    network = _NETWORK.fullmatch(source)
    if network is not None:
        addresses = [network[1].strip("[]")]
        words = dict(word.partition("=")[::2] for word in mount.super_options.split(","))
        addresses += [words["addr"]] if "addr" in words else []
        return [network[2]] if any(_is_this_host(each) for each in addresses) else []
    if not source.startswith("/"):
        return []
    if os.path.lexists(source):
        return [source]
    parts = [part.partition("=")[0] for part in source.split(":")]
    return [part for part in parts if part.startswith("/")]


def _is_this_host(address: str) -> bool:
    """Whether an address or name is one of ours; names are only compared, never looked up."""
    if address in ("localhost", os.uname().nodename):
        return True
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            socket.inet_pton(family, address)
            probe.bind((address, 0))
            return True
    return False


def _btrfs_members(sources: list[str]) -> list[str]:
    """All devices of the btrfs that these are some of."""
    names = {Path(os.path.realpath(source)).name for source in sources}
    for folder in _BTRFS.glob("*/devices"):
        members = {entry.name for entry in folder.iterdir()}
        if not names.isdisjoint(members):
            return [f"/dev/{member}" for member in sorted(members)]
    return []


def _servers_of(device_number: str) -> Iterator[int]:
    """Processes that hold the connection of the FUSE file system with this MAJOR:MINOR."""
    wanted = b"fuse_connection:\t%d\n" % connection_number(device_number)
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            for entry in (process / "fd").iterdir():
                with suppress(OSError):
                    is_connection = os.readlink(entry) == "/dev/fuse"  # noqa: PTH115
                    if is_connection and wanted in (process / "fdinfo" / entry.name).read_bytes():
                        yield int(process.name)
                        break


def _opened_by(pid: int) -> list[str]:
    """Paths of the files and directories that a process has open."""
    found = []
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                path = os.readlink(entry)  # noqa: PTH115
                device = path.startswith("/dev/") and not (_CLASS_BLOCK / Path(path).name).exists()
                if path.startswith("/") and not path.startswith("/proc/") and not device:
                    found.append(path)
    return found
