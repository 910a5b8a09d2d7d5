"""Loop devices: attach a file as a block device, find, resize and detach it.

Finding reads sysfs only, so a loop device whose backing file hangs cannot block the reader. Must
never detach, or change, what the caller did not find there: numbers of loop devices are used again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from holdfast.errors import CommandFailed, InUse
from holdfast.late_dataclass import dataclass
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.run import run

SECTOR_BYTES = 4096
"""Logical sector of our loop devices: what direct I/O below them needs, and the page size."""

# <linux/loop.h>; LOOP_CONFIGURE is there since Linux 5.8
_LOOP_CLR_FD, _LOOP_SET_STATUS64, _LOOP_GET_STATUS64, _LOOP_CONFIGURE, _LOOP_CTL_GET_FREE = (
    0x4C01, 0x4C04, 0x4C05, 0x4C0A, 0x4C82
)  # fmt: skip
_BLKGETDISKSEQ = 0x80081280  # <linux/fs.h>, since Linux 5.15
_LOOP_INFO64_BYTES = 232  # sizeof(struct loop_info64)
_FLAGS_OFFSET = 52  # offsetof(struct loop_info64, lo_flags)
_LOOP_CONFIG = struct.Struct("=II5Q4I64s64s32s2Q8Q")
"""struct loop_config: fd, block_size, struct loop_info64, reserved."""
_AUTOCLEAR, _DIRECT_IO = 4, 16  # LO_FLAGS_…
_ATTEMPTS = 100
_SYS_BLOCK = Path("/sys/block")
DELETED = " (deleted)"
"""What the kernel appends to the path of a backing file without a name."""
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
    read_only: bool
    """Whether it was attached so, or declared so since. One of a file that was opened for reading
    stays so."""
    sequence: int
    """Which attachment of the device this is, see `attachment`."""


def loop_devices() -> list[LoopDevice]:
    """Every attached loop device; does not touch the backing files."""
    return list(_read_devices())


def _read_devices(backing_file: str | None = None) -> Iterator[LoopDevice]:
    """All of them; or those of one file, and then only the path is read of the others."""
    for folder in sorted(_SYS_BLOCK.glob("loop*")):
        with suppress(OSError):
            if backing_file is None or _backing(folder).removesuffix(DELETED) == backing_file:
                yield _read_device(folder)


def _backing(folder: Path) -> str:
    """As the kernel has it now, perhaps with DELETED. Raises OSError where nothing is attached."""
    return os.fsdecode((folder / "loop/backing_file").read_bytes()).removesuffix("\n")


def _read_device(folder: Path) -> LoopDevice:
    """What sysfs says of this device, all of it of one attachment. Raises OSError where nothing is
    attached."""
    device = f"/dev/{folder.name}"
    while True:
        sequence = attachment(device)
        backing = _backing(folder)
        found = LoopDevice(
            device=device,
            backing_file=backing.removesuffix(DELETED),
            deleted=backing.endswith(DELETED),
            direct_io=(folder / "loop/dio").read_text().strip() == "1",
            read_only=(folder / "ro").read_text().strip() == "1",
            sequence=sequence,
        )
        if attachment(device) == sequence:
            return found


def attachment(device: str) -> int:
    """Which attachment of a loop device this is (sysfs diskseq); 0 before Linux 5.15.

    It belongs to one file, and never comes again in one boot.
    """
    try:
        return int((_SYS_BLOCK / Path(device).name / "diskseq").read_text())
    except (OSError, ValueError):
        return 0


def loop_device_at(device: str) -> LoopDevice | None:
    """What is attached at `/dev/loopN` now."""
    folder = _SYS_BLOCK / Path(device).name
    if device == f"/dev/{folder.name}":
        with suppress(OSError):
            return _read_device(folder)
    return None


def loop_devices_of(backing_file: str | os.PathLike[str]) -> list[LoopDevice]:
    """The loop devices attached to this path, also when the file was deleted since."""
    wanted = os.path.normpath(os.fspath(backing_file))
    return [device for device in _read_devices(wanted) if device.backing_file == wanted]


def attach_loop(backing_file: str | os.PathLike[str], *, sector_bytes: int = SECTOR_BYTES) -> str:
    """Attach the file to a free loop device with direct I/O and return `/dev/loopN`.

    Idempotent: a device that has this file already is returned, and stays, also where it was to be
    detached with its last user. Asks the file. Raises OSError, CommandFailed, also when the file
    does not allow direct I/O (double caching would break our durability).
    """
    path = str(Path(backing_file).parent.resolve() / Path(backing_file).name)
    for existing in loop_devices_of(path):
        if not existing.deleted and _stays(existing):
            return existing.device
    found = run(
        ["losetup", "--find", "--show", "--direct-io=on", f"--sector-size={sector_bytes}", path],
        deadline_seconds=_ATTACH_SECONDS,
    )
    device = found.stdout.strip()
    made = just_attached(device)
    if not made.direct_io:
        detach_loop(made)
        raise CommandFailed(
            f"{path} does not allow direct I/O under a loop device",
            "The file system below it lacks O_DIRECT: use another one.",
        )
    return device


def _stays(loop: LoopDevice) -> bool:
    try:
        return not detaches_by_itself(loop.device) or keep_attached(loop)
    except OSError as error:
        if error.errno == errno.ENXIO:  # it is just going
            return False
        raise


def detaches_by_itself(device: str) -> bool:
    """Whether a loop device is detached with its last user, or was already."""
    try:
        return (_SYS_BLOCK / Path(device).name / "loop/autoclear").read_text().strip() == "1"
    except OSError:
        return True


def just_attached(device: str) -> LoopDevice:
    """The attachment that `losetup --show` has just made. Raises CommandFailed if it is gone
    already."""
    made = loop_device_at(device)
    if made is None:
        raise CommandFailed(f"somebody else detached {device} at once", "Try again.")
    return made


def attach_private_loop(
    backing_file: str,
    size_bytes: int = 0,
    *,
    offset_bytes: int = 0,
    sector_bytes: int = SECTOR_BYTES,
    read_only: bool = False,
) -> tuple[str, int]:
    """A loop device over `size_bytes` bytes of a file or device (0: all), and its descriptor.

    Direct I/O where the storage allows it. It detaches by itself when the descriptor is closed and
    nothing is mounted from it. Raises OSError, InUse when no loop device can be had.
    """
    access = os.O_RDONLY if read_only else os.O_RDWR
    backing = _open_direct(backing_file, access)
    control = -1
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        for _ in range(_ATTEMPTS):
            device = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            try:
                loop = os.open(device, access | os.O_CLOEXEC)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    continue  # somebody was faster, and it is being detached already
                raise
            try:
                _configure(loop, backing, (offset_bytes, size_bytes), sector_bytes)
            except OSError as error:
                os.close(loop)
                if error.errno == errno.EBUSY:
                    continue  # somebody was faster
                raise
            return device, loop
    finally:
        os.close(backing)
        if control >= 0:
            os.close(control)
    raise InUse("every free loop device was taken by somebody else", "Try again.")


def _open_direct(path: str, access: int) -> int:
    try:
        return os.open(path, access | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, access | os.O_CLOEXEC)


def _configure(loop: int, backing: int, part: tuple[int, int], sector_bytes: int) -> None:
    direct = fcntl.fcntl(backing, fcntl.F_GETFL) & os.O_DIRECT
    flags = _AUTOCLEAR | (_DIRECT_IO if direct else 0)
    # lo_device, lo_inode, lo_rdevice, lo_offset, lo_sizelimit; number, encrypt type, encrypt key
    # size, flags; file name, crypt name, key; init
    values = (0, 0, 0, *part, 0, 0, 0, flags, b"", b"", b"", 0, 0, *([0] * 8))
    fcntl.ioctl(loop, _LOOP_CONFIGURE, _LOOP_CONFIG.pack(backing, sector_bytes, *values))


def detach_loop(loop: LoopDevice) -> bool:
    """Detach what was found there; False when it is not attached any more.

    Never detaches what got the device meanwhile. Returns only when the kernel has let go of the
    file. Raises InUse while somebody has the device open; the kernel detaches it by itself then,
    when the last user closes it.
    """
    if not in_expendable_child(lambda: _clear(loop), _ATTACH_SECONDS, loop.device):
        return False
    deadline = time.monotonic() + _DETACH_SECONDS
    while is_attached(loop):
        if time.monotonic() > deadline:
            raise InUse(
                f"{loop.device} is still open",
                "It detaches by itself when its last user closes it: fuser -v names them.",
            )
        time.sleep(_POLL_SECONDS)
    return True


def _clear(loop: LoopDevice) -> bool:
    descriptor = open_attached(loop)
    if descriptor is None:
        return False
    try:
        fcntl.ioctl(descriptor, _LOOP_CLR_FD)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    finally:
        os.close(descriptor)
    return True


def open_attached(loop: LoopDevice) -> int | None:
    """A descriptor of the device, where it is still that attachment; it stays so until the
    descriptor is closed, because only the last user's close(2) frees the device."""
    try:
        descriptor = os.open(loop.device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if _sequence_behind(descriptor) == loop.sequence and is_attached(loop):
        return descriptor
    os.close(descriptor)
    return None


def _sequence_behind(descriptor: int) -> int:
    """As `attachment`, of the device itself: in a container a node may be another device's."""
    try:
        answer = fcntl.ioctl(descriptor, _BLKGETDISKSEQ, bytes(8))
    except OSError:
        return 0
    sequence: int = struct.unpack("=Q", answer)[0]
    return sequence


def is_attached(loop: LoopDevice) -> bool:
    """Whether this attachment is still there. Does not block."""
    now = loop_device_at(loop.device)
    if now is None:
        return False
    if loop.sequence:
        return now.sequence == loop.sequence
    return now.backing_file == loop.backing_file


def keep_attached(loop: LoopDevice) -> bool:
    """Let it stay when nobody has it open any more, which `mount -o loop` has arranged otherwise.

    False when it is not attached any more. Idempotent. Asks the backing file, and hangs when it
    does. Raises OSError.
    """
    descriptor = open_attached(loop)
    if descriptor is None:
        return False
    try:
        info = bytearray(fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_BYTES)))
        (flags,) = struct.unpack_from("=I", info, _FLAGS_OFFSET)
        struct.pack_into("=I", info, _FLAGS_OFFSET, flags & ~_AUTOCLEAR)
        fcntl.ioctl(descriptor, _LOOP_SET_STATUS64, bytes(info))
    finally:
        os.close(descriptor)
    return True


def filesystem_behind(device: str) -> int:
    """st_dev of the file system that its backing file lies on. Hangs when that does.

    Raises OSError.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        info = fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64_BYTES))
    finally:
        os.close(descriptor)
    number: int = struct.unpack_from("=Q", info)[0]  # lo_device
    return number


def set_loop_capacity(device: str) -> None:
    """Make the device as large as its backing file is now. Idempotent."""
    run(["losetup", "--set-capacity", device], deadline_seconds=_ATTACH_SECONDS)
