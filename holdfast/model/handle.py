"""What keeps a volume busy: the handles of processes, and what can be done about each."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import Number, Signed, SignedHalf, Word


class HandleKind(StrEnum):
    """By what a process keeps a volume busy."""

    FILE = "file"
    """A descriptor of a regular file."""
    DIRECTORY = "directory"
    PATH = "path"
    """A descriptor opened with O_PATH: a place, not a file."""
    MAP = "map"
    """A memory map of a file, shared or private."""
    EXECUTABLE = "executable"
    """The program that the process runs (`/proc/PID/exe`)."""
    WORKING_DIRECTORY = "working-directory"
    ROOT = "root"
    INOTIFY = "inotify"
    """A watch of an inotify instance on something on the volume; one handle per watch."""
    FANOTIFY = "fanotify"
    """A mark of a fanotify group on something on the volume; one handle per mark."""
    FIFO = "fifo"
    OPENING = "opening"
    """A thread that waits in open(2) of a FIFO until somebody opens the other end."""
    DEVICE = "device"
    """A descriptor of a device node that lies on the volume; without a number: a map of one."""
    SOCKET = "socket"
    """A Unix socket that is bound to a path on the volume."""
    SENDER = "sender"
    """A Unix datagram socket that is connected to one which is bound to a path on the volume."""
    CONNECTION = "connection"
    """An end of a connection of Unix sockets that was made through a path on the volume."""
    LOOP = "loop"
    """A loop device whose image lies on the volume."""
    MOUNT = "mount"
    """A mount below the volume's mount point."""
    SWAP = "swap"
    UNREAD = "unread-maps"
    """Memory maps that could not be read in time: some may be of this volume."""
    REGISTERED = "registered"
    """A file that is registered with a ring of io_uring; the number is the ring's."""
    OTHER = "other"
    """Anything else that pins the volume."""


DESCRIPTORS = frozenset(
    {
        HandleKind.FILE,
        HandleKind.DIRECTORY,
        HandleKind.PATH,
        HandleKind.FIFO,
        HandleKind.DEVICE,
        HandleKind.SOCKET,
        HandleKind.SENDER,
        HandleKind.CONNECTION,
    }
)
"""Kinds each of which is one number in a table of descriptors."""


class LockKind(StrEnum):
    """The locks of Linux: fcntl_locking(2), flock(2), F_OFD_SETLK, F_SETLEASE."""

    POSIX = "posix"
    FLOCK = "flock"
    OPEN_FILE = "ofd"
    LEASE = "lease"


@dataclass(frozen=True)
class FileLock:
    """A lock that a process or an open file description holds."""

    kind: LockKind
    mode: str
    """read | write."""
    start: Signed = 0
    end: Signed | None = None
    """Last byte that is locked; None: to the end of the file, however it grows."""
    holder_pid: SignedHalf = 0
    """Who has taken it, as our /proc counts; 0: not told, or nobody in particular (OFD)."""


@dataclass(frozen=True)
class Handle:
    """One handle of one process. Which fields mean something depends on the kind."""

    kind: HandleKind
    pid: int
    path: str
    """As the process's mount namespace knows it, for people."""
    mount_id: int = 0
    """The mount (mountinfo, first field) through which it was opened; 0: unknown."""
    inside: str = ""
    """Path below the root of the file system, no leading slash; empty: that root itself."""
    mode: str = ""
    """r | w | rw for descriptors; rwx and s or p for maps, as in /proc/PID/maps; of a socket
    `listening` (it accepts connections), `datagram`, `connected-datagram`, or nothing of these; of
    a connection `named` (this end keeps the volume busy), `closed` (so does this, and the other end
    is closed) or `waiting` (nobody has accepted it yet); `peer`: it keeps nothing busy, but is
    connected to what does; of a fanotify mark `inode`, `mount` or `filesystem`."""
    number: Number | None = None
    """The descriptor's number."""
    thread_id: Number | None = None
    """A thread with a table of descriptors or directories of its own; None: the process's."""
    offset: Signed = 0
    """File position in bytes; of a map: where in the file it begins; of a directory whatever its
    file system says (FUSE and NFS: any 64 bits); of a datagram socket for what shutdown(2) was
    called (1 receiving, 2 sending)."""
    flags: int = 0
    """Open flags as in fdinfo, with O_CLOEXEC where the descriptor has it; of an inotify watch or
    fanotify mark its mask."""
    start: Word = 0
    """First address of a map; of an inotify watch its number; of datagram sockets, and of what is
    connected to one, the number of that socket itself; of a connection that of the other end's, 0:
    there is none (any more); of a character device which one it is (st_rdev); of a fanotify mark
    the device number of its file system, 0: it is on a mount; of a
    registered file its slot."""
    end: Word = 0
    """Address after the last of a map; of a socket that listens how many connections may wait, but
    one (its backlog); of a datagram socket with a name the number of the one that it is connected
    to, 0: none."""
    inode: Word = 0
    deleted: bool = False
    """The file has no name any more."""
    locks: tuple[FileLock, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class HandleVerdict(StrEnum):
    """What a rebind does with a handle; `blocks` keeps the whole rebind from being begun."""

    MOVED = "moved"
    """The process cannot tell the difference."""
    RECREATED = "recreated"
    """An equal one takes its place: same number, same meaning."""
    LOST = "lost"
    BLOCKS = "blocks"


class HandleOutcome(StrEnum):
    """What became of a handle, as receipts say it."""

    IDENTICAL = "identical"
    ROLLED_BACK = "rolled-back"
    """The file is there, with contents that differ from those at the time of the stop."""
    FILE_MISSING = "file-missing"
    """The handle returns errors from now on."""
    LOST = "lost"


@dataclass(frozen=True)
class JudgedHandle:
    """A line of the feasibility scan."""

    handle: Handle
    verdict: HandleVerdict
    reason: str = ""
    waiting: str = ""
    """What keeps its process from being stopped at the moment."""


@dataclass(frozen=True)
class Application:
    """What a process belongs to, for people: a systemd unit or a control group, a container."""

    name: str
    """The unit's name, else the container's, else the last part of the control group, else the
    command."""
    unit: str = ""
    cgroup: str = ""
    container: str = ""


@dataclass(frozen=True)
class User:
    """A process that keeps a volume busy."""

    pid: int
    start_time: int
    """Clock ticks after boot (proc_pid_stat(5), field 22): with the pid it names a process for
    good."""
    name: str
    command: str
    user_id: int
    application: Application
    threads: tuple[int, ...]
    mount_namespace: int
    """Inode number of /proc/PID/ns/mnt."""
    handles: tuple[Handle, ...] = ()
    state: str = ""
    """proc_pid_stat(5), field 3: R, S, D, T, t, Z …"""
    read_bytes: int | None = None
    """From storage since the process began (proc_pid_io(5)); None: not told."""
    written_bytes: int | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether nothing speaks for its use of the volume but that its maps could not be read.

        Nobody may be kept from anything, or stopped, for that: anybody can bring it about.
        """
        return bool(self.handles) and all(
            handle.kind is HandleKind.UNREAD for handle in self.handles
        )

    @property
    def only_talks(self) -> bool:
        """Whether it has nothing of the volume, and is connected to what somebody else has: whoever
        moves that needs both, nobody else needs this one."""
        return bool(self.handles) and all(handle.mode == "peer" for handle in self.handles)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
