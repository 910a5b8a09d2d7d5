r"""The texts of /proc taken apart, in one place. Pure: bytes in, values out.

Strangers choose names that stand in them: of processes, files, mounts. Invariants: a line ends
with \n and with nothing else (`splitlines` also ends it at \r, \f, U+0085 …); fields end where the
kernel ends them, never at "any blank"; a text is bytes until it is apart, and then os.fsdecode,
which every name survives. Must never be given text that was decoded before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import NamedTuple

from holdfast.late_dataclass import dataclass

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")

_EXITING = 0x00000004
"""PF_EXITING, include/linux/sched.h."""
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD, include/linux/sched.h."""

OPENING_FIFO = (b"wait_for_partner", b"fifo_open")
"""Where fs/pipe.c lets a thread wait in open(2) for a FIFO's other end (wchan);
the first one may be compiled into the second."""


def lines(text: bytes) -> list[bytes]:
    """The lines, without their ends; none for an empty text."""
    found = text.split(b"\n")
    if not found[-1]:
        found.pop()
    return found


def unescape(text: bytes) -> bytes:
    r"""A name as mountinfo, swaps and fstab write it (`\040` for a space), made plain."""
    if b"\\" not in text:
        return text
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), text)


def unescaped(text: bytes) -> str:
    """As `unescape`, as a path."""
    return os.fsdecode(unescape(text))


def field(text: bytes, name: bytes) -> bytes | None:
    """What follows `name:` in a text of status, fdinfo or io; None: there is no such line.

    The first line that begins with the name: what strangers choose (Name, in status) is escaped by
    the kernel, or comes later.
    """
    wanted = name + b":"
    if text.startswith(wanted):
        start = len(wanted)
    else:
        found = text.find(b"\n" + wanted)
        if found < 0:
            return None
        start = found + 1 + len(wanted)
    end = text.find(b"\n", start)
    return text[start : end if end >= 0 else len(text)].strip(b" \t")


def number_of(text: bytes, name: bytes, base: int = 10) -> int | None:
    """The number that follows `name:`, as `field`; what stands behind it (kB) is left out."""
    words = (field(text, name) or b"").split()
    return int(words[0], base) if words else None


class Stat(NamedTuple):
    """A text of stat (proc_pid_stat(5)): its first fields, and all behind the name."""

    pid: int
    name: str
    fields: list[bytes]
    """Field 3, the state, is the first."""

    @property
    def state(self) -> str:
        """R, S, D, T (stopped), t (traced), Z …"""
        return self.fields[0].decode()

    @property
    def parent(self) -> int:
        """Field 4."""
        return int(self.fields[1])

    @property
    def session(self) -> int:
        """Field 6."""
        return int(self.fields[3])

    @property
    def kernel_thread(self) -> bool:
        """Field 9, flags."""
        return bool(int(self.fields[6]) & _KERNEL_THREAD)

    @property
    def exiting(self) -> bool:
        """Field 9, flags: inside exit(2), it runs no code of its own any more."""
        return bool(int(self.fields[6]) & _EXITING)

    @property
    def threads(self) -> int:
        """Field 20."""
        return int(self.fields[17])

    @property
    def start_time(self) -> int:
        """Field 22, in clock ticks after boot."""
        return int(self.fields[19])


def parse_stat(text: bytes) -> Stat:
    """The name may hold anything, blanks and `)` too: it ends at the last one.

    Raises ValueError for what is no such text (of a process that ended: empty).
    """
    opening, closing = text.index(b"("), text.rindex(b")")
    fields = text[closing + 1 :].split()
    if len(fields) < 20:
        raise ValueError(f"stat has only {len(fields) + 2} fields")
    return Stat(int(text[:opening]), os.fsdecode(text[opening + 1 : closing]), fields)


class Map(NamedTuple):
    """A line of maps (proc_pid_maps(5))."""

    start: int
    end: int
    mode: str
    """As there: `rw-s`."""
    offset: int
    inode: int
    path: str
    """Of a file, or what the kernel calls it: `[stack]`; empty for anonymous memory."""
    device: tuple[int, int]


def parse_maps(text: bytes, devices: Collection[bytes] | None = None) -> list[Map]:
    """The maps of a process, or those of files on these devices (`07:1a`, as there)."""
    found, devices_of, paths = [], {}, {b"": ""}  # few different ones
    for start, end, mode, offset, device, inode, path in _MAP.findall(text):
        if devices is not None and device not in devices:
            continue
        if device not in devices_of:
            major, _, minor = device.partition(b":")
            devices_of[device] = int(major, 16), int(minor, 16)
        if path not in paths:
            paths[path] = os.fsdecode(path.replace(b"\\012", b"\n"))
        found.append(
            Map(
                int(start, 16),
                int(end, 16),
                mode.decode(),
                int(offset, 16),
                int(inode),
                paths[path],
                devices_of[device],
            )
        )
    return found


_MAP = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) (\S+) (\d+) *(.*)$", re.MULTILINE)
"""The path is padded with blanks and may hold anything but a newline, which is escaped."""


@dataclass(frozen=True)
class Swap:
    """A line of /proc/swaps (proc_swaps(5))."""

    path: str
    is_file: bool
    size_bytes: int
    used_bytes: int = 0
    priority: int = 0


def parse_swaps(text: bytes) -> list[Swap]:
    """What the kernel swaps to; the first line is a heading."""
    found = []
    for line in lines(text)[1:]:
        fields = line.split()
        if len(fields) >= 5:
            size, used, priority = map(int, fields[2:5])
            path, is_file = unescaped(fields[0]), fields[1] == b"file"
            found.append(Swap(path, is_file, size * 1024, used * 1024, priority))
    return found


def parse_control_groups(text: bytes) -> list[tuple[str, str, str]]:
    """Lines of /proc/PID/cgroup (cgroups(7)): number, controllers, path, which may hold a colon."""
    found = []
    for line in lines(text):
        number, _, rest = os.fsdecode(line).partition(":")
        controllers, _, path = rest.partition(":")
        found.append((number, controllers, path))
    return found
