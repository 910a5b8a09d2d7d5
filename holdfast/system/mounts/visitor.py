"""An expendable child's way through several mount namespaces, one after the other.

Invariant: only a forked child, which has one thread, ever enters; the calling process stays where
it is. Once inside, paths mean what the namespace's owner made of them, so nothing is imported there
(that would run the owner's code). Must never enter a namespace that is not the one asked for: pids
are used again, namespace numbers are compared.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from holdfast.model.mountpoint import MountPoint
from holdfast.system.mounts.mount_table import Mount, parse_mount
from holdfast.system.proc_text import lines, number_of

_PROC = Path("/proc")
_CLONE_NEWNS = 0x00020000  # <linux/sched.h>
_MS_REC, _MS_PRIVATE, _MS_SLAVE = 1 << 14, 1 << 18, 1 << 19  # <linux/mount.h>
_NS_GET_USERNS, _NS_GET_PARENT, _NS_GET_OWNER_UID = 0xB701, 0xB702, 0xB704  # <linux/nsfs.h>
_UID_BYTES = 4  # uid_t
_MNT_EXPIRE, _UMOUNT_NOFOLLOW = 4, 8  # <linux/fs.h>
_LIBC = ctypes.CDLL(None, use_errno=True)


class Owner(NamedTuple):
    """Who answers for the mounts in a user namespace that is not ours."""

    uid: int
    """The user who made it."""
    space: int
    """The inode number of one that we made ourselves: each is a container of its own. Else 0."""


@contextmanager
def ways_to(points: Iterable[MountPoint]) -> Iterator[dict[int, int]]:
    """Descriptors of the mount namespaces of these mounts, by number; closed in the end.

    Another process that lives there stands in for a witness that ended. A namespace without any
    process is left out: its mounts are gone too, unless a descriptor or a bind mount keeps them.
    """
    ways = _open_namespaces(points)
    try:
        yield ways
    finally:
        for way in ways.values():
            os.close(way)


def _open_namespaces(points: Iterable[MountPoint]) -> dict[int, int]:
    found: dict[int, int] = {}
    missing: set[int] = set()
    for point in points:
        number = point.namespace
        if number not in found:
            descriptor = _open_of(str(point.witness_pid), number)
            if descriptor is None:
                missing.add(number)
            else:
                found[number] = descriptor
                missing.discard(number)
    for entry in _PROC.iterdir() if missing else ():
        for number in tuple(missing) if entry.name.isdigit() else ():
            descriptor = _open_of(entry.name, number)
            if descriptor is not None:
                found[number] = descriptor
                missing.discard(number)
    return found


def has_foreign_owner(namespace_descriptor: int) -> bool:
    """Whether a mount namespace belongs to another user namespace than this process's.

    Mounts that were copied into such a one are locked there (mount_namespaces(7)).
    """
    try:
        return foreign_owner(namespace_descriptor) is not None
    except OSError:
        return True


def user_namespace_of(namespace_descriptor: int) -> int:
    """The inode number of the user namespace that a mount namespace belongs to. Raises OSError:
    EPERM for one that does not lie within ours."""
    space = fcntl.ioctl(namespace_descriptor, _NS_GET_USERNS)
    try:
        return os.fstat(space).st_ino
    finally:
        os.close(space)


def foreign_owner(namespace_descriptor: int) -> Owner | None:
    """Who answers for the other user namespace that a mount namespace belongs to.

    None: it belongs to this process's own. Else the user who made it, and whatever lies between it
    and ours: whoever has subordinate users cannot pass for many people. Raises OSError where that
    is not to be found out: EPERM for one that does not lie within ours.
    """
    own = (_PROC / "self/ns/user").stat().st_ino
    space = fcntl.ioctl(namespace_descriptor, _NS_GET_USERNS)
    try:
        number = os.fstat(space).st_ino
        if number == own:
            return None
        while True:
            above = fcntl.ioctl(space, _NS_GET_PARENT)
            if os.fstat(above).st_ino == own:
                os.close(above)
                break
            os.close(space)
            space, number = above, os.fstat(above).st_ino
        answer = fcntl.ioctl(space, _NS_GET_OWNER_UID, bytes(_UID_BYTES))
        uid = int.from_bytes(answer, sys.byteorder)
        return Owner(uid, number if uid == os.geteuid() else 0)
    finally:
        os.close(space)


class Visitor:
    """Goes through mount namespaces; never used in a process that matters.

    Made before the first entry: it keeps the way to this process's own folder in /proc, where its
    mount table is read anew in each namespace.
    """

    def __init__(self) -> None:
        self._self = os.open(f"/proc/{os.getpid()}", os.O_PATH | os.O_CLOEXEC)
        self._seen: dict[bytes, Mount | None] = {}

    def enter(self, namespace_descriptor: int) -> None:
        """Go into a mount namespace, at its root. Raises OSError (EPERM without the rights)."""
        _import_nothing()
        _check(_LIBC.setns(namespace_descriptor, _CLONE_NEWNS))

    def retire(self, *, hears_of_others: bool = False) -> None:
        """Go into a new mount namespace: a copy of this one that sends nothing.

        It exists until this process ends, also while it visits others. `hears_of_others`: what is
        dismounted outside goes here, too, so that nobody finds his device busy for our sake (as far
        as it is shared there); and what is mounted there comes. Otherwise nothing changes here.
        """
        _check(_LIBC.unshare(_CLONE_NEWNS))
        relation = _MS_SLAVE if hears_of_others else _MS_PRIVATE
        _check(_LIBC.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | relation), None))
        os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._self)

    def mounts(self) -> list[Mount]:
        """The mount table of the namespace this process is in; does not touch the mounts.

        A stranger's may be long: a line that was seen before is not taken apart again, which takes
        five times as long as to have it from the kernel.
        """
        text, seen = self._read("mountinfo"), self._seen
        for line in lines(text):
            if line not in seen:
                seen[line] = parse_mount(line)
        return [mount for line in lines(text) if (mount := seen[line]) is not None]

    def table_length(self) -> int:
        """How many mounts the namespace has: what reading its table takes grows with that."""
        return self._read("mountinfo").count(b"\n")

    def mount_number(self, descriptor: int) -> int:
        """The mount (mountinfo, first field) that a descriptor of ours is open on."""
        return number_of(self._read(f"fdinfo/{descriptor}"), b"mnt_id") or 0

    def dismount(self, path: str, flags: int = 0) -> None:
        """umount2(2) of the topmost mount at a path of this namespace. Raises OSError."""
        _check(_LIBC.umount2(os.fsencode(path), _UMOUNT_NOFOLLOW | flags))

    def dismount_exactly(self, root: int, flags: int = 0) -> None:
        """umount2(2) of the very mount whose root a descriptor of ours is open at (O_PATH).

        It must be one of this namespace. Moves the working directory. Raises OSError: EBUSY while
        it is used, or something is mounted on it, but for MNT_DETACH, which takes that along.
        """
        os.fchdir(self._self)
        _check(_LIBC.umount2(b"fd/%d" % root, flags))

    def expire(self, path: str) -> bool:
        """Whether the topmost mount at a path could be dismounted now; changes nothing.

        umount2(2), MNT_EXPIRE: it refuses a mount that is in use, and only marks one that is not.
        What is done with the mount next takes the mark away. Raises OSError otherwise.
        """
        try:
            self.dismount(path, _MNT_EXPIRE)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EBUSY):
                raise
            return error.errno == errno.EAGAIN
        return True  # it was marked before, by somebody else: now it is gone

    def mount(self, source: str, path: str, filesystem: str) -> None:
        """mount(2) of a file system that needs no options. Raises OSError."""
        kind = os.fsencode(filesystem)
        _check(_LIBC.mount(os.fsencode(source), os.fsencode(path), kind, ctypes.c_ulong(0), None))

    def _read(self, name: str) -> bytes:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._self)
        with open(descriptor, "rb") as stream:
            return stream.read()


def _open_of(pid: str, namespace: int) -> int | None:
    with suppress(OSError):
        descriptor = os.open(_PROC / pid / "ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        if os.fstat(descriptor).st_ino == namespace:
            return descriptor
        os.close(descriptor)
    return None


def _import_nothing() -> None:
    """From now on an import fails, in place of running what lies at our paths in there."""
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path.clear()


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
