"""Binds a Unix socket to a name in a directory of strangers, and lets it take the name of another.

bind(2) makes a new inode under the very bytes that getsockname(2) tells afterwards, and takes no
descriptor of a directory. So the socket is bound in a hidden directory there, which root alone can
enter, and which is the root of the process that binds: below it the name leads where nobody can
have put a link. From there the inode is moved by descriptor. Whoever may write to the directory can
put another in the place of the hidden one, also what is root's and closed to him: so everything is
in one more directory inside, of the same name, which nobody else can have made. Invariant: what is
removed, or leaves the hidden directory, is the inode that was named by number, or was made here.
Everything may block: for expendable children.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from holdfast.late_dataclass import dataclass
from holdfast.system.files.beneath import path_to
from holdfast.system.files.inode_identity import identity_of
from holdfast.system.raw_call import raw_call

_RENAMEAT2 = 316
"""x86-64, asm/unistd_64.h."""
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2  # <linux/fs.h>
_HIDDEN_MODE = 0o700
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_DEPTH = 60
"""108 bytes are 54 directories at most (UNIX_PATH_MAX)."""

_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class SocketFile:
    """What the file of a socket is to be like."""

    mode: int
    user_id: int
    group_id: int


def bind_hidden(
    folder: int,
    hidden: str,
    name: bytes,
    end: socket.socket,
    like: SocketFile,
    replaces: tuple[str, int] | None,
) -> str:
    """Bind the socket to these bytes in a new directory `hidden` of an open directory.

    Its file is like that which has this name and inode number in the directory, else as `like`
    says. The process stands in there afterwards, and is of no use for anything else. Gives the
    identity of the file; empty: there is none. Raises OSError.
    """
    extended: dict[str, bytes] = {}
    if replaces is not None:
        like, extended = _looks(folder, *replaces, like)
    os.umask(0)
    os.mkdir(hidden, _HIDDEN_MODE, dir_fd=folder)
    within = _entered(folder, hidden)
    if os.listdir(within):  # noqa: PTH208 - a descriptor
        raise FileExistsError(errno.EEXIST, "it is somebody else's")
    os.mkdir(hidden, _HIDDEN_MODE, dir_fd=within)
    os.fchdir(_entered(within, hidden))
    os.close(within)
    os.chroot(".")
    os.chdir("/")
    make_way(name)
    bind_to(end, name)
    os.chown(name, like.user_id, like.group_id, follow_symlinks=False)
    os.chmod(name, stat.S_IMODE(like.mode))  # noqa: PTH101 - root alone is in here
    for attribute in os.listxattr(name, follow_symlinks=False):
        if attribute not in extended:
            with suppress(OSError):
                os.removexattr(name, attribute, follow_symlinks=False)
    for attribute, value in extended.items():
        with suppress(OSError):
            os.setxattr(name, attribute, value, follow_symlinks=False)
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    return identity_of(place)


def put_in_place(folder: int, hidden: str, name: bytes, place: str, replaces: int | None) -> bool:
    """Give a socket that was bound hidden its place; whether it has got it.

    `place`: the name in the directory; empty: none, the file has no name afterwards. `replaces`:
    the inode number of the socket's file that has the name now and loses it; None: nobody may have
    it. Where somebody else has it, nothing of his is touched. The hidden directory is removed.
    Raises OSError.
    """
    *way, last = _way(name)
    with _walked(folder, hidden, way) as there:
        if not place:
            done = True
        elif replaces is None:
            done = _moved(there, last, folder, place)
        else:
            done = _exchanged(there, last, folder, place, replaces)
    remove_hidden(folder, hidden)  # not after an error: what is in there may be a stranger's
    return done


def remove_hidden(folder: int, hidden: str) -> None:
    """Remove such a directory, as far as it is one. Raises OSError."""
    try:
        within = _entered(folder, hidden)
    except FileNotFoundError:
        return
    try:
        with suppress(FileNotFoundError):
            ours = _entered(within, hidden)
            try:
                _empty(ours, _MOST_DEPTH)
            finally:
                os.close(ours)
            os.rmdir(hidden, dir_fd=within)
    finally:
        os.close(within)
    os.rmdir(hidden, dir_fd=folder)


def bind_to(end: socket.socket, name: bytes) -> None:
    """bind(2); Python's own leaves no room for the longest name."""
    address = struct.pack("=H", socket.AF_UNIX) + name
    if _LIBC.bind(end.fileno(), address, len(address)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fsdecode(name))


def _looks(
    folder: int, name: str, inode: int, otherwise: SocketFile
) -> tuple[SocketFile, dict[str, bytes]]:
    """How the file of that name is, with its extended attributes; `otherwise` if it is gone."""
    try:
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return otherwise, {}
    try:
        status = os.fstat(place)
        if not _is(status, inode):
            return otherwise, {}
        found = {}
        with suppress(OSError):
            for attribute in os.listxattr(path_to(place)):
                found[attribute] = os.getxattr(path_to(place), attribute)
        return SocketFile(status.st_mode, status.st_uid, status.st_gid), found
    finally:
        os.close(place)


def _is(status: os.stat_result, inode: int) -> bool:
    return stat.S_ISSOCK(status.st_mode) and status.st_ino == inode


def _entered(folder: int, hidden: str) -> int:
    """The hidden directory, open. Raises OSError when somebody has put another in its place."""
    within = os.open(hidden, _ENTER, dir_fd=folder)
    status = os.fstat(within)
    if status.st_uid != 0 or status.st_mode & 0o777 != _HIDDEN_MODE:
        os.close(within)
        raise PermissionError(errno.EPERM, "it is somebody else's")
    return within


def _way(name: bytes) -> list[bytes]:
    """The directories that lead to a name from the root, which nobody leaves, and the last one."""
    found: list[bytes] = []
    for part in name.split(b"/")[:-1]:
        if part == b"..":
            del found[-1:]
        elif part not in (b"", b"."):
            found.append(part)
    return [*found, name.split(b"/")[-1]]


def make_way(name: bytes) -> None:
    """Make every directory that the kernel goes through."""
    here = b""
    for part in name.split(b"/")[:-1]:
        here += part + b"/"
        if part not in (b"", b".", b".."):
            with suppress(FileExistsError):
                os.mkdir(here, _HIDDEN_MODE)  # noqa: PTH102 - bytes, which are no text


@contextmanager
def _walked(folder: int, hidden: str, way: list[bytes]) -> Iterator[int]:
    there = _entered(folder, hidden)
    try:
        for part in (os.fsencode(hidden), *way):
            deeper = os.open(part, _ENTER, dir_fd=there)
            os.close(there)
            there = deeper
        yield there
    finally:
        os.close(there)


def _moved(there: int, last: bytes, folder: int, place: str) -> bool:
    """Take a name that nobody has."""
    rename = partial(_rename, there, last, folder, os.fsencode(place))
    try:
        _or_link(lambda: rename(_RENAME_NOREPLACE), lambda: _linked(there, last, folder, place))
    except FileExistsError:
        return False
    return True


def _or_link(rename: Callable[[], None], link: Callable[[], None]) -> None:
    """Network file systems know no flags of renameat2(2)."""
    try:
        rename()
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        link()


def _linked(there: int, last: bytes, folder: int, place: str) -> None:
    os.link(last, os.fsencode(place), src_dir_fd=there, dst_dir_fd=folder, follow_symlinks=False)


def _exchanged(there: int, last: bytes, folder: int, place: str, replaces: int) -> bool:
    """Exchange it with what has the name, and back again when that is not what it was to be."""
    exchange = partial(_rename, there, last, folder, os.fsencode(place), _RENAME_EXCHANGE)
    try:
        exchange()
    except FileNotFoundError:
        return _moved(there, last, folder, place)  # removed since
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        return _moved_away(there, last, folder, place, replaces)
    if _is(os.stat(last, dir_fd=there, follow_symlinks=False), replaces):
        return True
    exchange()
    return False


def _moved_away(there: int, last: bytes, folder: int, place: str, replaces: int) -> bool:
    """As an exchange, in two moves: for an instant nobody has the name."""
    aside = b".replaced"
    os.rename(place, aside, src_dir_fd=folder, dst_dir_fd=there)
    if _is(os.stat(aside, dir_fd=there, follow_symlinks=False), replaces):
        return _moved(there, last, folder, place)
    _linked(there, aside, folder, place)
    os.unlink(aside, dir_fd=there)
    return False


def _rename(from_: int, name: bytes, to: int, other: bytes, flags: int) -> None:
    raw_call(_RENAMEAT2, from_, name, to, other, flags)


def _empty(directory: int, depth: int) -> None:
    """Remove what was made in there: sockets, and directories that root alone can enter."""
    for name in os.listdir(directory):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISSOCK(status.st_mode):
            os.unlink(name, dir_fd=directory)
        elif stat.S_ISDIR(status.st_mode) and depth:
            deeper = _entered(directory, name)
            try:
                _empty(deeper, depth - 1)
            finally:
                os.close(deeper)
            os.rmdir(name, dir_fd=directory)
