"""fanotify(7): marking, unmarking, and emptying the queue of a group.

The group may belong to another process. Looking a path up may block, and so may reading an event,
which opens its file: on storage that may hang, only an expendable child does it.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import re
import struct
import termios
from contextlib import suppress
from pathlib import Path

ADD, REMOVE, FLUSH = 0x1, 0x2, 0x80
"""linux/fanotify.h, as all numbers here."""

IGNORED_MASK, SURVIVES_CHANGE, EVICTABLE, IGNORE = 0x20, 0x40, 0x200, 0x400

BEFORE_CONTENTS = 0x100000
"""FAN_PRE_ACCESS: whoever is asked may fetch what a file is to contain."""
PERMISSION = 0x10000 | 0x20000 | 0x40000 | BEFORE_CONTENTS
"""Events for which whoever causes them waits until the group has answered: FAN_OPEN_PERM,
FAN_ACCESS_PERM, FAN_OPEN_EXEC_PERM, FAN_PRE_ACCESS."""

LINK = "anon_inode:[fanotify]"
"""What leads to a group in /proc/PID/fd."""
KINDS = {"inode": 0, "mount": 0x10, "filesystem": 0x100}
"""FAN_MARK_INODE, FAN_MARK_MOUNT, FAN_MARK_FILESYSTEM"""

_REPORT_FID, _REPORT_DIR_FID = 0x200, 0x400

_EVENT = struct.Struct("=IBBHQii")
"""struct fanotify_event_metadata: length, version, nothing, its own length, mask, file, process."""
_READ_BYTES = 64 * _EVENT.size
"""So many files are open at most that events have opened."""

_LIBC = ctypes.CDLL(None, use_errno=True)


def names_files(group_flags: int) -> bool:
    """Whether events of a group with these flags only name files; else each has one open."""
    return bool(group_flags & (_REPORT_FID | _REPORT_DIR_FID))


def mark(group: int, flags: int, mask: int, path: str) -> None:
    """fanotify_mark(2). Raises OSError."""
    path_bytes = os.fsencode(path)
    result = _LIBC.fanotify_mark(group, ctypes.c_uint(flags), ctypes.c_uint64(mask), -1, path_bytes)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def calls_for(mask: int, ignored_mask: int, mark_flags: int, act: int) -> list[tuple[int, int]]:
    """Flags and masks of the calls that make a mark, or take it off. Pure."""
    calls = []
    if mask:
        calls.append((act | mark_flags & EVICTABLE, mask))
    if ignored_mask:
        flags = mark_flags & (IGNORE | SURVIVES_CHANGE | EVICTABLE)
        if not flags & IGNORE:
            flags |= IGNORED_MASK
        calls.append((act | flags, ignored_mask))
    return calls


def unread_events(group: int) -> int:
    """How many events wait to be read. Raises OSError."""
    count = array.array("i", [0])
    fcntl.ioctl(group, termios.FIONREAD, count)
    return count[0] // _EVENT.size


def drain(group: int) -> None:
    """Take all events out of the queue, and close what they have open: for groups whose events have
    files open, when nobody else reads and nothing happens any more."""
    for _ in range(unread_events(group)):
        data = b""
        with suppress(OSError):  # what cannot be opened is out of the queue as well
            if not unread_events(group):
                return
            data = os.read(group, _READ_BYTES)
        while len(data) >= _EVENT.size:
            length, *_, descriptor, _ = _EVENT.unpack_from(data)
            if descriptor >= 0:
                os.close(descriptor)
            data = data[max(length, _EVENT.size) :]


FS_ERROR = 0x8000
"""FAN_FS_ERROR: the file system found an error in itself, or could not read or write itself."""

_NONBLOCK, _CLOEXEC = 0x2, 0x1
_ERROR_INFO, _FID_INFO = 5, 1
_INFO = struct.Struct("=BBH")
"""struct fanotify_event_info_header: kind, nothing, its length."""
_ERROR = struct.Struct("=iI")
"""struct fanotify_event_info_error, behind its header: errno, how many there were."""
_FILE_SYSTEM = struct.Struct("=II")
"""__kernel_fsid_t, behind the header of a struct fanotify_event_info_fid."""
_REPORTS_BYTES = 1 << 16
_HEARD = re.compile(rb"^fanotify sdev:([0-9a-f]+) ", re.MULTILINE)
_MINOR_BITS, _MINOR_MASK = 20, (1 << 20) - 1
"""Of a dev_t inside the kernel (linux/kdev_t.h), as fdinfo has it."""


class ErrorGroup:
    """A group that hears of errors of file systems: fanotify(7), Linux 5.16."""

    def __init__(self) -> None:
        """Raises OSError: the kernel has none, or all groups that there may be are made."""
        self.descriptor = _LIBC.fanotify_init(_REPORT_FID | _NONBLOCK | _CLOEXEC, os.O_RDONLY)
        if self.descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def add(self, path: str) -> None:
        """Hear of the file system there from now on. Looks the path up. Raises OSError, also where
        it is of a kind that tells nothing."""
        mark(self.descriptor, ADD | KINDS["filesystem"], FS_ERROR, path)

    def heard(self) -> frozenset[str]:
        """The device numbers of the file systems that it hears of: one that was dismounted by all
        is none of them any more, whatever is mounted there now. Raises OSError."""
        text = Path(f"/proc/self/fdinfo/{self.descriptor}").read_bytes()
        numbers = (int(each, 16) for each in _HEARD.findall(text))
        return frozenset(f"{each >> _MINOR_BITS}:{each & _MINOR_MASK}" for each in numbers)

    def read(self) -> list[tuple[int, int, int]]:
        """The file system (as `os.statvfs` calls it), errno, and how many there were since the last
        report: of each report that waits. Does not wait, and opens nothing."""
        found: list[tuple[int, int, int]] = []
        while True:
            try:
                data = os.read(self.descriptor, _REPORTS_BYTES)
            except OSError:
                return found
            found += parse_errors(data)


def parse_errors(data: bytes) -> list[tuple[int, int, int]]:
    """What `ErrorGroup.read` gives, of what the kernel gave. Pure."""
    found: list[tuple[int, int, int]] = []
    while len(data) >= _EVENT.size:
        length, _, _, head_bytes, *_ = _EVENT.unpack_from(data)
        event, data = data[head_bytes:length], data[max(length, _EVENT.size) :]
        code = count = None
        system = None
        while len(event) >= _INFO.size:
            kind, _, size = _INFO.unpack_from(event)
            body, event = event[_INFO.size : size], event[max(size, _INFO.size) :]
            if kind == _ERROR_INFO and len(body) >= _ERROR.size:
                code, count = _ERROR.unpack_from(body)
            elif kind == _FID_INFO and len(body) >= _FILE_SYSTEM.size:
                low, high = _FILE_SYSTEM.unpack_from(body)
                system = high << 32 | low
        if code is not None and count is not None and system is not None:
            found.append((system, abs(code), count))
    return found
