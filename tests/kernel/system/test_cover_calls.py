"""Every call that takes a path waits at a cover, and is done on what is there afterwards."""

# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH115, PTH116, PTH208, PTH211

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.system.fuse.cover import make_covers
from holdfast.system.fuse.cover_server import release
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import MNT_DETACH
from tests.waiting import wait_until

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
OPENAT2, FANOTIFY_INIT, FANOTIFY_MARK, STATX = 437, 300, 301, 332
DONT_SYNC = 0x4000
IN_CREATE = 0x100


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def made(path: str, flags: int) -> None:
    os.write(os.open(path, flags | os.O_CREAT | os.O_WRONLY, 0o600), b"written")


def openat2(path: str, resolve: int) -> None:
    how = struct.pack("QQQ", os.O_RDONLY, 0, resolve)
    check(LIBC.syscall(OPENAT2, AT_FDCWD, os.fsencode(path), how, len(how)))


def statx(path: str) -> None:
    buffer = ctypes.create_string_buffer(256)
    check(LIBC.syscall(STATX, AT_FDCWD, os.fsencode(path), DONT_SYNC, 0x7FF, buffer))


def watch(path: str) -> None:
    check(LIBC.inotify_add_watch(LIBC.inotify_init1(0), os.fsencode(path), IN_CREATE))


def mark(path: str) -> None:
    group = check(LIBC.syscall(FANOTIFY_INIT, 0, 0))
    event = ctypes.c_ulong(0x20)  # FAN_OPEN
    check(LIBC.syscall(FANOTIFY_MARK, group, 1, event, AT_FDCWD, os.fsencode(path)))


def bind(path: str) -> None:
    socket.socket(socket.AF_UNIX).bind(path)


def connect(path: str) -> None:
    socket.socket(socket.AF_UNIX).connect(path)


def enter(path: str, how: Callable[[str], None]) -> None:
    how(path)
    assert "mine" in os.listdir(".")


def change_root(path: str) -> None:
    os.chroot(path)
    os.chdir("/")


def mount_on(path: str) -> None:
    check(LIBC.mount(b"none", os.fsencode(path), b"tmpfs", 0, None))


def below_descriptor(path: str) -> None:
    descriptor = os.open(path, os.O_PATH)
    with suppress(OSError):  # so that it is kept over the change
        os.stat(f"{path}/file")
    os.stat("file", dir_fd=descriptor)


GO_ON: dict[str, Callable[[str], object]] = {
    "stat": os.stat,
    "stat below": lambda at: os.stat(f"{at}/file"),
    "open": lambda at: os.open(f"{at}/file", os.O_RDWR),
    "create": lambda at: made(f"{at}/new1", 0),
    "create exclusively": lambda at: made(f"{at}/new2", os.O_EXCL),
    "create deeper": lambda at: made(f"{at}/folder/new", 0),
    "create without a name": lambda at: os.open(at, os.O_TMPFILE | os.O_RDWR),
    "open by O_PATH": lambda at: os.open(f"{at}/file", os.O_PATH),
    "openat2 without links": lambda at: openat2(f"{at}/file", 0x4),
    "list": lambda at: enter(at, os.chdir),
    "change root": lambda at: enter(at, change_root),
    "change directory": lambda at: os.chdir(f"{at}/folder"),
    "access": lambda at: os.access(at, os.W_OK) or os.stat("/none"),
    "access below": lambda at: os.access(f"{at}/file", os.W_OK) or os.stat("/none"),
    "readlink": lambda at: os.readlink(f"{at}/link"),
    "unlink": lambda at: os.unlink(f"{at}/unlinked"),
    "rmdir": lambda at: os.rmdir(f"{at}/removed"),
    "rename": lambda at: os.rename(f"{at}/renamed", f"{at}/renamed2"),
    "rename deeper": lambda at: os.rename(f"{at}/moved", f"{at}/folder/moved"),
    "link": lambda at: os.link(f"{at}/file", f"{at}/linked"),
    "symlink": lambda at: os.symlink("x", f"{at}/symbolic"),
    "mkdir": lambda at: os.mkdir(f"{at}/made"),
    "mkdir deeper": lambda at: os.mkdir(f"{at}/folder/made"),
    "mkfifo": lambda at: os.mkfifo(f"{at}/fifo"),
    "bind": lambda at: bind(f"{at}/bound"),
    "connect": lambda at: connect(f"{at}/socket"),
    "execve": lambda at: os.execv(f"{at}/program", ["true"]),
    "mount": lambda at: mount_on(f"{at}/mounted"),
    "inotify": lambda at: watch(f"{at}/folder"),
    "fanotify": lambda at: mark(f"{at}/folder"),
    "statfs": os.statvfs,
    "truncate": lambda at: os.truncate(f"{at}/truncated", 1),
    "utime": os.utime,  # only one may change the top at a time: the next one waits for it
    "chmod": lambda at: os.chmod(f"{at}/file", 0o755),
    "chown": lambda at: os.chown(f"{at}/file", 0, 0),
    "setxattr": lambda at: os.setxattr(f"{at}/file", "user.a", b"1"),
    "listxattr": os.listxattr,
    "through a link": lambda at: os.stat(f"{at}-link/file"),
    "statx without asking": lambda at: statx(f"{at}/file"),
}

ARE_REFUSED: dict[str, tuple[int, Callable[[str], object]]] = {
    "not there": (errno.ENOENT, lambda at: os.stat(f"{at}/none")),
    "no attribute": (errno.ENODATA, lambda at: os.getxattr(at, "user.none")),
    "rename from elsewhere": (errno.EXDEV, lambda at: os.rename(f"{at}-file", f"{at}/x")),
}
"""As they would have been on the new storage."""

ARE_NOT_MADE_AGAIN: dict[str, tuple[int, Callable[[str], object]]] = {
    "inotify at the top": (errno.ESTALE, watch),
    "fanotify at the top": (errno.ESTALE, mark),
    "below a descriptor of the top": (errno.ESTALE, below_descriptor),
}
"""What docs/restoration.md says in its limits."""

DO_NOT_WAIT: dict[str, tuple[int, Callable[[str], object]]] = {
    "make the mount point": (errno.EEXIST, os.mkdir),
    "read it as a link": (errno.EINVAL, os.readlink),
    "statx of the top without asking": (0, statx),
    "only what is in memory": (errno.EAGAIN, lambda at: openat2(f"{at}/file", 0x20)),
}


@dataclass
class Caller:
    """A process that makes one call."""

    pid: int
    answer: int

    def has_called(self) -> bool:
        """It waits at the cover, or has ended."""
        wchan = Path(f"/proc/{self.pid}/wchan").read_text()
        return "request_wait_answer" in wchan or self.has_ended()

    def has_ended(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    def result(self) -> str:
        """Empty: it went well. Else what it ended with."""
        with open(self.answer, "rb") as stream:
            words = stream.read().decode()
        os.waitpid(self.pid, 0)
        return words


def calls(what: Callable[[str], object], at: str) -> Caller:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        words = ""
        try:
            what(at)
        except OSError as error:
            words = errno.errorcode[error.errno or 0]
        except BaseException as error:
            words = repr(error)
        os.write(writing, words.encode())
        os._exit(0)
    os.close(writing)
    return Caller(pid, reading)


@contextmanager
def new_storage(path: Path) -> Iterator[None]:
    """A tmpfs with something for each call."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(path)], check=True)
    try:
        for name in ("file", "unlinked", "renamed", "moved", "truncated"):
            (path / name).write_text("text")
        for name in ("mine", "folder", "removed", "mounted"):
            (path / name).mkdir()
        (path / "link").symlink_to("file")
        shutil.copy(shutil.which("true") or "/bin/true", path / "program")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path / "socket"))
            listening.listen(1)
            yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def place(ram_directory: Path) -> Path:
    path = ram_directory / "place"
    path.mkdir()
    (ram_directory / "place-link").symlink_to("place")
    (ram_directory / "place-file").touch()
    return path


def test_each_goes_on(place: Path) -> None:
    covers = make_covers(time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 120 * 10**9)
    with ExitStack() as stack:
        stack.callback(covers.close)
        stack.callback(release, covers.server)
        new = place.with_name("new")
        stack.enter_context(new_storage(new))
        spot = mount_api.open_place(str(place))
        mount_api.attach_tree(covers.directory, spot)
        stack.callback(subprocess.run, ["umount", "--lazy", str(place)], capture_output=True)
        os.close(spot)
        expected = dict.fromkeys(GO_ON, "")
        wanted = dict(GO_ON)
        for table in (ARE_REFUSED, ARE_NOT_MADE_AGAIN, DO_NOT_WAIT):
            for name, (number, call) in table.items():
                expected[name] = errno.errorcode[number] if number else ""
                wanted[name] = call
        callers = {name: calls(call, str(place)) for name, call in wanted.items()}
        wait_until(lambda: [n for n, each in callers.items() if not each.has_called()] == [])
        assert {name for name, each in callers.items() if each.has_ended()} == set(DO_NOT_WAIT)
        put_in_place(new, place)
        release(covers.server)
        assert {name: each.result() for name, each in callers.items()} == expected
        names = {"new1", "new2", "made", "linked", "symbolic", "fifo", "bound", "renamed2"}
        assert names <= {each.name for each in place.iterdir()}


def put_in_place(new: Path, place: Path) -> None:
    """Mount it below the cover, and take that away."""
    source, top = mount_api.open_place(str(new)), mount_api.open_place(str(place))
    tree = mount_api.clone_tree(source)
    mount_api.attach_beneath(tree, top)
    check(LIBC.umount2(f"/proc/self/fd/{top}".encode(), MNT_DETACH))
    for each in (source, top, tree):
        os.close(each)
