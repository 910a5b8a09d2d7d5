"""What /proc/PID/fdinfo says of a descriptor (proc_pid_fdinfo(5)). Pure: text in, values out."""

from __future__ import annotations

import re
from typing import NamedTuple

from holdfast.late_dataclass import dataclass
from holdfast.model.handle import FileLock, Handle, LockKind
from holdfast.system.files.fanotify import FS_ERROR
from holdfast.system.proc_text import lines, unescaped

O_PATH = 0o10000000
O_DIRECTORY = {"x86_64": 0o200000, "aarch64": 0o40000}
"""asm-generic/fcntl.h and arch/arm64/include/uapi/asm/fcntl.h."""

_MODES = {0: "r", 1: "w", 2: "rw"}
"""O_RDONLY, O_WRONLY, O_RDWR; 3 means: only for ioctl(2)."""

_LOCKS = {
    b"POSIX": LockKind.POSIX,
    b"FLOCK": LockKind.FLOCK,
    b"OFDLCK": LockKind.OPEN_FILE,
    b"LEASE": LockKind.LEASE,
}
"""fs/locks.c, lock_get_status. DELEG belongs to the kernel's NFS server."""

_MINOR_BITS = 20
"""The kernel's own dev_t, which the watch lines print: linux/kdev_t.h."""

_COMMON = re.compile(rb"pos:\t(-?\d+)\nflags:\t0*([0-7]+)\nmnt_id:\t(\d+)\n(?:ino:\t(\d+)\n)?")
"""What a text begins with: seq_show() of fs/proc/fd.c."""

_WATCH = re.compile(
    rb"^inotify wd:([0-9a-f]+) ino:([0-9a-f]+) sdev:([0-9a-f]+) mask:([0-9a-f]+)"
    rb".*?fhandle-type:([0-9a-f]+) f_handle:([0-9a-f]*)",
    re.MULTILINE,
)
_WATCH_WITHOUT_FILE_HANDLE = re.compile(
    rb"^inotify wd:([0-9a-f]+) ino:([0-9a-f]+) sdev:([0-9a-f]+) mask:([0-9a-f]+)", re.MULTILINE
)
_MARK = re.compile(
    rb"^fanotify (?:mnt_id:([0-9a-f]+)|ino:([0-9a-f]+) sdev:([0-9a-f]+)|sdev:([0-9a-f]+))"
    rb" mflags:([0-9a-f]+) mask:([0-9a-f]+) ignored_mask:([0-9a-f]+)"
    rb"(?:.*?fhandle-type:([0-9a-f]+) f_handle:([0-9a-f]*))?",
    re.MULTILINE,
)
_GROUP = re.compile(rb"^fanotify flags:([0-9a-f]+) ", re.MULTILINE)
_TARGET = re.compile(rb"^tfd:\s*(\d+) .*?\bino:([0-9a-f]+) sdev:([0-9a-f]+)", re.MULTILINE)
_REGISTERED = re.compile(rb"^\s*(\d+): (/.*)$", re.MULTILINE)

DeviceNumber = tuple[int, int]


class Information(NamedTuple):
    """The lines that every descriptor has. Made for each descriptor of the host."""

    offset: int
    flags: int
    mount_id: int
    inode: int
    """0 before Linux 5.14."""
    locks: tuple[FileLock, ...]

    @property
    def mode(self) -> str:
        """r | w | rw, or empty for a place (O_PATH)."""
        return "" if self.flags & O_PATH else _MODES.get(self.flags & 3, "")


@dataclass(frozen=True)
class InotifyWatch:
    """What an inotify instance watches."""

    number: int
    """Watch descriptor."""
    inode: int
    device: DeviceNumber
    mask: int
    file_handle_type: int = 0
    file_handle: bytes = b""
    """For open_by_handle_at(2); empty: the file system has none."""


@dataclass(frozen=True)
class FanotifyMark:
    """What a fanotify group has marked: a mount, an inode, or a whole file system."""

    mount_id: int
    """0: not a mount."""
    device: DeviceNumber | None
    """None: a mount."""
    inode: int
    """0: not an inode."""
    flags: int
    """As fanotify_mark(2) takes them."""
    mask: int
    ignored_mask: int
    file_handle_type: int = 0
    file_handle: bytes = b""
    """For open_by_handle_at(2); empty: the file system has none, or it is no inode."""

    @property
    def kind(self) -> str:
        """inode | mount | filesystem."""
        if self.device is None:
            return "mount"
        return "inode" if self.inode else "filesystem"

    @property
    def is_for_errors_only(self) -> bool:
        """Whether it hears of the file system's own errors, as the daemon has it: it uses nothing,
        keeps nothing busy, and whoever watches a place marks what comes there next."""
        return self.kind == "filesystem" and self.mask == FS_ERROR and not self.ignored_mask


def mount_id_of(text: bytes) -> int:
    """The number of the descriptor's mount; reads nothing else, so it is quick."""
    start = text.find(b"mnt_id:")
    return int(text[start + 7 : text.index(b"\n", start)]) if start >= 0 else 0


def parse_information(text: bytes) -> Information:
    """The common lines of a fdinfo text."""
    common = _COMMON.match(text)
    if common is not None and common[4] and b"\nlock:" not in text:  # nearly always
        offset, flags, mount_id, inode = common.groups()
        return Information(int(offset), int(flags, 8), int(mount_id), int(inode), ())
    values: dict[bytes, bytes] = {}
    locks = []
    for line in lines(text):
        name, _, value = line.partition(b":")
        if name == b"lock":
            lock = parse_lock(value)
            if lock is not None:
                locks.append(lock)
        else:
            values.setdefault(name, value)
    return Information(
        offset=int(values.get(b"pos", b"0")),
        flags=int(values.get(b"flags", b"0"), 8),
        mount_id=int(values.get(b"mnt_id", b"0")),
        inode=int(values.get(b"ino", b"0")),
        locks=tuple(locks),
    )


def common_lines(handle: Handle) -> bytes:
    """What the text of a descriptor begins with, from Linux 5.14 on, without its locks."""
    return (
        f"pos:\t{handle.offset}\nflags:\t0{handle.flags:o}\n"
        f"mnt_id:\t{handle.mount_id}\nino:\t{handle.inode}\n"
    ).encode()


def parse_lock(text: bytes) -> FileLock | None:
    """A lock as in /proc/locks: `1: POSIX  ADVISORY  WRITE 4711 00:27:258 5 14`."""
    fields = text.split()
    kind = _LOCKS.get(fields[1]) if len(fields) >= 8 else None
    if kind is None:
        return None
    return FileLock(
        kind=kind,
        mode=fields[3].decode().lower(),
        start=int(fields[6]),
        end=None if fields[7] == b"EOF" else int(fields[7]),
        holder_pid=max(int(fields[4]), 0),
    )


def parse_watches(text: bytes) -> list[InotifyWatch]:
    """The watches of an inotify instance."""
    full = {int(match[1], 16): match for match in _WATCH.finditer(text)}
    watches = []
    for match in _WATCH_WITHOUT_FILE_HANDLE.finditer(text):
        number = int(match[1], 16)
        handle = full.get(number)
        watches.append(
            InotifyWatch(
                number=number,
                inode=int(match[2], 16),
                device=_device(match[3]),
                mask=int(match[4], 16),
                file_handle_type=int(handle[5], 16) if handle else 0,
                file_handle=bytes.fromhex(handle[6].decode()) if handle else b"",
            )
        )
    return watches


def parse_marks(text: bytes) -> list[FanotifyMark]:
    """The marks of a fanotify group."""
    return [
        FanotifyMark(
            mount_id=int(mount_id or b"0", 16),
            device=_device(inode_device or device) if not mount_id else None,
            inode=int(inode or b"0", 16),
            flags=int(flags, 16),
            mask=int(mask, 16),
            ignored_mask=int(ignored, 16),
            file_handle_type=int(handle_type or b"0", 16),
            file_handle=bytes.fromhex((handle or b"").decode()),
        )
        for mount_id, inode, inode_device, device, flags, mask, ignored, handle_type, handle in (
            _MARK.findall(text)
        )
    ]


def parse_group_flags(text: bytes) -> int:
    """The flags with which a fanotify group was made (fanotify_init(2))."""
    found = _GROUP.search(text)
    return int(found[1], 16) if found else 0


def parse_targets(text: bytes) -> list[tuple[int, int, DeviceNumber]]:
    """What an epoll instance waits for: number of the descriptor, inode and device of its file."""
    return [
        (int(match[1]), int(match[2], 16), _device(match[3])) for match in _TARGET.finditer(text)
    ]


def parse_registered_files(text: bytes) -> list[tuple[int, str]] | None:
    """Slots and paths of the files registered with an io_uring instance; None: it was too busy to
    tell."""
    start = text.find(b"UserFiles:")
    if start < 0:
        return None
    end = text.find(b"UserBufs:", start)
    part = text[start : end if end >= 0 else len(text)]
    return [(int(slot), unescaped(path)) for slot, path in _REGISTERED.findall(part)]


def _device(text: bytes) -> DeviceNumber:
    number = int(text, 16)
    return number >> _MINOR_BITS, number & ((1 << _MINOR_BITS) - 1)
