"""Whether a file or directory that claims to be ours is ours: owner, mode, kind, links, way to it.

Holdfast is root among people it does not trust. What they can make, exchange or write into is never
believed. Invariant: a path is entered one component at a time through descriptors, so what was
judged is what is used. "Ours" is what root owns, or whoever runs this process. A directory that
others may write to is passed only where it is sticky (/tmp): there nobody can rename or remove what
is root's, and the next component must be root's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.errors import Untrusted
from holdfast.system.mounts.mount_table import Mount, mount_number, mounts

_MOST_LINKS = 40
"""As the kernel follows (path_resolution(7))."""

_BY_SERVERS = ("fuse", "fuseblk")
"""File systems whose server is a process, which may be anybody's (user_id= in mountinfo)."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ANYTHING = stat.S_IRWXG | stat.S_IRWXO

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


def fault_of(
    status: os.stat_result, kind: int = stat.S_IFREG, *, private: bool = False, links: int = 1
) -> str:
    """What speaks against believing this file, in words; empty: it is ours. Pure.

    `kind`: what it must be (S_IFREG, S_IFDIR, S_IFSOCK …). `private`: nobody else may even read it.
    `links`: how many names a file may have: one more, and somebody else can reach it by theirs.
    """
    found = stat.S_IFMT(status.st_mode)
    if found != kind:
        return f"it is {_KINDS.get(found, 'of an unknown kind')}, not {_KINDS[kind]}"
    if not _is_ours(status.st_uid):
        return f"it belongs to user {status.st_uid}, not to root"
    mode = stat.S_IMODE(status.st_mode)
    if mode & (_OTHERS_ANYTHING if private else _OTHERS_WRITE):
        return f"others may {'read or write' if private else 'write'} it (mode {mode:04o})"
    if kind != stat.S_IFDIR and status.st_nlink > links:
        return f"it has {status.st_nlink} names (hard links)"
    return ""


def open_file(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """Open a file of ours; with O_CREAT it is made. Its parents are judged by `open_parent`.

    Neither follows a link nor waits for a FIFO. A file that others may read is made private when it
    was opened for writing. Raises Untrusted, OSError.
    """
    with open_parent(path) as (folder, name):
        return _open_in(folder, name, path, flags, mode)


class OwnFolder:
    """A directory of ours that is entered again and again.

    The way to it, and its file system, are judged as by `open_parent` when it is another one than
    the last time: the mount table, which may be long, is not read each time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._judged: tuple[int, int, int] | None = None
        """Mount, device and inode."""

    @contextmanager
    def entered(self) -> Iterator[int]:
        """The directory, as a descriptor. Raises Untrusted, OSError."""
        if self._judged is not None:
            place = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                status = os.fstat(place)
                if _identity(place, status) == self._judged:
                    believe(self._path, _fault_on_the_way(status))
                    yield place
                    return
            finally:
                os.close(place)
        with open_parent(self._path / "in it") as (folder, _):
            self._judged = _identity(folder, os.fstat(folder))
            yield folder

    def open_file(self, place: int, name: str, flags: int, mode: int = 0o600) -> int:
        """As the function of that name, of a file in the directory that was entered."""
        return _open_in(place, name, self._path / name, flags, mode, judged=mount_number(place))


def _identity(descriptor: int, status: os.stat_result) -> tuple[int, int, int]:
    return mount_number(descriptor), status.st_dev, status.st_ino


def _open_in(
    folder: int,
    name: str,
    path: str | os.PathLike[str],
    flags: int,
    mode: int,
    judged: int | None = None,
) -> int:
    """As `open_file`, in a folder that is ours. `judged`: a mount of which that was seen to."""
    try:
        descriptor = os.open(
            name, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode, dir_fd=folder
        )
    except OSError:
        with suppress(FileNotFoundError):  # rather say what it is than that it cannot be opened
            believe(path, fault_of(os.stat(name, dir_fd=folder, follow_symlinks=False)))
        raise
    try:
        if judged is None or mount_number(descriptor) != judged:
            believe(path, fault_behind(descriptor))
        status = os.fstat(descriptor)
        believe(path, fault_of(status))
        if flags & os.O_ACCMODE != os.O_RDONLY and status.st_mode & _OTHERS_ANYTHING & ~mode:
            os.fchmod(descriptor, mode)
        os.set_blocking(descriptor, not flags & os.O_NONBLOCK)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def own_file(path: str | os.PathLike[str]) -> None:
    """See to it that a file is there and ours, with mode 0600; its parents are judged.

    Neither made nor judged through a descriptor that could read it: a process that closes such a
    one loses all record locks that it has on that file (fcntl_locking(2)), SQLite's for instance.
    Raises Untrusted, OSError.
    """
    with open_parent(path) as (folder, name):
        with suppress(FileExistsError):
            os.mknod(name, stat.S_IFREG | 0o600, dir_fd=folder)
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        believe(path, fault_behind(place))
        status = os.fstat(place)
        believe(path, fault_of(status))
        if status.st_mode & _OTHERS_ANYTHING:
            Path(f"/proc/self/fd/{place}").chmod(0o600)
    finally:
        os.close(place)


def own_directory(path: str | os.PathLike[str], *, private: bool = True) -> None:
    """See to it that a directory is there and ours, 0700 where it is `private`.

    Made when missing, parents too. One that others could only read is made private; one into which
    others could write is refused: what is in it may be theirs. Raises Untrusted, OSError.
    """
    parent = _absolute(path).parent
    if not os.path.lexists(parent):
        own_directory(parent, private=False)
    with open_parent(path) as (folder, name):
        with suppress(FileExistsError):
            os.mkdir(name, 0o700 if private else 0o755, dir_fd=folder)
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = _believe_directory(path, place)
        if private and status.st_mode & _OTHERS_ANYTHING:
            Path(f"/proc/self/fd/{place}").chmod(0o700)
    finally:
        os.close(place)


def judge_directory(path: str | os.PathLike[str]) -> None:
    """Raise Untrusted unless a directory is ours, or could be made by nobody else. Changes nothing.

    Raises OSError when it, or something above it, is not there or is no directory.
    """
    with open_parent(path) as (folder, name):
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        _believe_directory(path, place)
    finally:
        os.close(place)


def is_own_directory(path: str | os.PathLike[str], *, private: bool = True) -> bool:
    """Whether a directory is ours as it stands, and so is the way to it. Changes nothing."""
    try:
        with open_parent(path) as (folder, name):
            place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            status = _believe_directory(path, place)
        finally:
            os.close(place)
    except (OSError, Untrusted):
        return False
    return not fault_of(status, stat.S_IFDIR, private=private)


@contextmanager
def open_parent(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """The directory that a path's last name is in, as a descriptor, and that name.

    Every directory on the way is one that strangers cannot exchange; a symbolic link is followed
    only where it is root's, and what it names is judged likewise. Raises Untrusted, OSError.
    """
    whole = _absolute(path)
    descriptor = _enter(str(whole.parent))
    try:
        yield descriptor, whole.name or "."
    finally:
        os.close(descriptor)


def believe(path: str | os.PathLike[str], fault: str) -> None:
    """Raise Untrusted, naming the file and what to do, unless there is no fault."""
    if fault:
        raise Untrusted(
            f"{os.fspath(path)} is not to be trusted: {fault}",
            "Find out who made it and what they put there. Then remove it, name another place"
            " (HOLDFAST_HOME for Holdfast's own), or make it root's alone: chown root:root and"
            " chmod go-w, for every directory above it too.",
        )


def fault_behind(descriptor: int) -> str:
    """What speaks against the file system that an open file lies on, in words; empty: nothing."""
    return fault_of_server(mount_behind(descriptor))


def mount_behind(descriptor: int) -> Mount | None:
    """The mount that a file was opened through; None: it is not in this mount namespace."""
    number = mount_number(descriptor)
    return next((mount for mount in mounts() if mount.identifier == number), None)


def fault_of_server(mount: Mount | None) -> str:
    """As `fault_behind`, of a mount. Nothing is asked of it.

    A FUSE server of somebody else's may say "root, 0600" of anything.
    """
    if mount is None or mount.filesystem.partition(".")[0] not in _BY_SERVERS:
        return ""
    options = dict(word.partition("=")[::2] for word in mount.super_options.split(","))
    user = options.get("user_id", "0")
    if user.isdecimal() and not _is_ours(int(user)):
        return f"a server of user {user} says whose it is ({mount.filesystem})"
    return ""


def _believe_directory(path: str | os.PathLike[str], place: int) -> os.stat_result:
    """What it is. Raises Untrusted, NotADirectoryError."""
    believe(path, fault_behind(place))
    status = os.fstat(place)
    if stat.S_ISREG(status.st_mode) and _is_ours(status.st_uid):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
    believe(path, fault_of(status, stat.S_IFDIR))
    return status


def _enter(path: str) -> int:
    """Walk to a directory, judging each component. Caller closes the O_PATH descriptor."""
    pending = _names(path)
    links = 0
    here, shown = _root(), "/"
    try:
        believe(shown, _fault_on_the_way(os.fstat(here)))
        while pending:
            seen = f"{shown.rstrip('/')}/{pending[-1]}"
            step = os.open(pending.pop(), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            target = _judged(step, seen, here)
            if target is None:
                here, shown = _exchange(here, step), seen
                continue
            os.close(step)
            links += 1
            if links > _MOST_LINKS:
                believe(path, "too many symbolic links lead to it")
            pending += _names(target)
            if target.startswith("/"):
                here, shown = _exchange(here, _root()), "/"
    except BaseException:
        os.close(here)
        raise
    return here


def _judged(step: int, seen: str, here: int) -> str | None:
    """Judge a component; what a link says, None for a directory. Closes it when it is refused.

    Its file system only where another one begins than that of the directory `here`.
    """
    try:
        if mount_number(step) != mount_number(here):
            believe(seen, fault_behind(step))
        status = os.fstat(step)
        believe(seen, _fault_on_the_way(status))
        if stat.S_ISLNK(status.st_mode):
            return os.fsdecode(os.readlink(b"", dir_fd=step))
    except BaseException:
        os.close(step)
        raise
    return None


def _fault_on_the_way(status: os.stat_result) -> str:
    if not _is_ours(status.st_uid):
        return f"it belongs to user {status.st_uid}, who may exchange what is below it"
    if stat.S_ISLNK(status.st_mode):
        return ""
    if not stat.S_ISDIR(status.st_mode):
        return fault_of(status, stat.S_IFDIR)
    if status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX:
        return f"others may exchange what is below it (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def _is_ours(user: int) -> bool:
    return user in (0, os.geteuid())


def _absolute(path: str | os.PathLike[str]) -> Path:
    """The absolute path as the kernel will read it: `..` is kept, since it may follow a link."""
    return Path(path).absolute()


def _names(path: str) -> list[str]:
    """The components of a path, last one first."""
    return [name for name in path.split("/") if name not in ("", ".")][::-1]


def _root() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _exchange(old: int, new: int) -> int:
    os.close(old)
    return new
