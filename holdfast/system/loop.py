"""Loop devices: attach a file as a block device, find, resize and detach it.

Finding reads sysfs only, so a loop device whose backing file hangs cannot block the reader;
`backing_identity` asks the backing file itself and can. Must never detach a device that the caller
did not name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import CommandFailed, InUse
from holdfast.system.expendable import in_expendable_child
from holdfast.system.run import run

SECTOR_BYTES = 4096
"""Logical sector of our loop devices: what direct I/O below them needs, and the page size."""

_LOOP_CLR_FD = 0x4C01  # linux/loop.h
_LOOP_GET_STATUS64 = 0x4C05
_LOOP_INFO64_BYTES = 232  # sizeof(struct loop_info64)
_SYS_BLOCK = Path("/sys/block")
_DELETED = " (deleted)"
_ATTACH_SECONDS = 20.0
_DETACH_SECONDS = 8.0
"""Another mount namespace that has a copy of the mount often ends soon."""
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class LoopDevice:
    """A loop device that has a backing file."""

    device: str
    """`/dev/loop3`"""
    backing_file: str
    """Path at the time of attaching, as seen from this mount namespace, without `(deleted)`."""
    deleted: bool
    """Whether the backing file has no name any more (or lies on a dead mount)."""
    direct_io: bool


def loop_devices() -> list[LoopDevice]:
    """Every attached loop device; does not touch the backing files."""
    return list(_read_devices())


def _read_devices() -> Iterator[LoopDevice]:
    for folder in sorted(_SYS_BLOCK.glob("loop*")):
        with suppress(OSError):
            backing = os.fsdecode((folder / "loop/backing_file").read_bytes()).rstrip("\n")
            direct_io = (folder / "loop/dio").read_text().strip() == "1"
            yield LoopDevice(
                device=f"/dev/{folder.name}",
                backing_file=backing.removesuffix(_DELETED),
                deleted=backing.endswith(_DELETED),
                direct_io=direct_io,
            )


def loop_devices_of(backing_file: str | os.PathLike[str]) -> list[LoopDevice]:
    """The loop devices attached to this path, also when the file was deleted since."""
    wanted = os.path.normpath(os.fspath(backing_file))
    return [device for device in loop_devices() if device.backing_file == wanted]


def backing_identity(device: str) -> tuple[int, int] | None:
    """(st_dev, st_ino) of the backing file, None when the device has none.

    Asks the backing file system and hangs when it does: call it from an expendable child.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        answer = fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_BYTES))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    number, inode = struct.unpack_from("=QQ", answer)
    return number, inode


def attach_loop(backing_file: str | os.PathLike[str], *, sector_bytes: int = SECTOR_BYTES) -> str:
    """Attach the file to a free loop device with direct I/O and return `/dev/loopN`.

    Idempotent: a device that has this file already is returned. Raises CommandFailed, also when
    the file does not allow direct I/O (double caching would break our durability).
    """
    path = str(Path(backing_file).parent.resolve() / Path(backing_file).name)
    for existing in loop_devices_of(path):
        if not existing.deleted:
            return existing.device
    found = run(
        ["losetup", "--find", "--show", "--direct-io=on", f"--sector-size={sector_bytes}", path],
        deadline_seconds=_ATTACH_SECONDS,
    )
    device = found.stdout.strip()
    if (_SYS_BLOCK / Path(device).name / "loop/dio").read_text().strip() != "1":
        detach_loop(device, path)
        raise CommandFailed(
            f"{path} does not allow direct I/O under a loop device",
            "The file system below it lacks O_DIRECT: use another one.",
        )
    return device


def detach_loop(device: str, backing_file: str | os.PathLike[str]) -> bool:
    """Detach this file from a loop device; False when it is not attached to it (any more).

    Never detaches another file that got the device meanwhile. Returns only when the kernel has let
    go of the file. Raises InUse while somebody has the device open; the kernel detaches it by
    itself then, when the last user closes it.
    """
    wanted = os.path.normpath(os.fspath(backing_file))
    if not in_expendable_child(lambda: _clear(device, wanted), _ATTACH_SECONDS, device):
        return False
    deadline = time.monotonic() + _DETACH_SECONDS
    while _backing_of(device) == wanted:
        if time.monotonic() > deadline:
            raise InUse(
                f"{device} is still open",
                "It detaches by itself when its last user closes it: fuser -v names them.",
            )
        time.sleep(_POLL_SECONDS)
    return True


def _clear(device: str, wanted: str) -> bool:
    """While we have it open, nobody can give the device another file."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if _backing_of(device) != wanted:
            return False
        fcntl.ioctl(descriptor, _LOOP_CLR_FD)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    finally:
        os.close(descriptor)
    return True


def _backing_of(device: str) -> str | None:
    """Path of the backing file, None when there is none."""
    try:
        text = os.fsdecode((_SYS_BLOCK / Path(device).name / "loop/backing_file").read_bytes())
    except OSError:
        return None
    return text.rstrip("\n").removesuffix(_DELETED)


def set_loop_capacity(device: str) -> None:
    """Make the device as large as its backing file is now. Idempotent."""
    run(["losetup", "--set-capacity", device], deadline_seconds=_ATTACH_SECONDS)
