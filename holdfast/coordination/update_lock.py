"""The update lock of a container that is an image: seen by every host that mounts its folder.

A small file beside the image, `IMAGE.holdfast-lock`. Who may change the image is decided by two
things together: an open-file-description lock on that file (the kernel gives it back when the
holder dies; NFS and CephFS carry it to other hosts), and what is written in it (owner, host, boot,
lease, fencing token). Rule, when the kernel's lock can be had:

- written by this host in an earlier boot, or by a process that has ended, or given back: taken;
- written by another host: taken only when its lease has run out, judged by the storage's own
  clock (modification times of this file and of a fresh one), never by ours.

Each holder gets a higher token, so that something an earlier holder sent late can be told from
ours. The form has a version, which is written from the second one on (FIRST_VERSION); what a newer
version wrote is refused, also when it was given back: only that one knows what it means.

For a block device there is no place for such a file: there only the exclusive claim of the kernel
protects, on this host alone. Blocks as the storage does, in an expendable child; the lock itself is
held by this process.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.containers import image_behind, path_of
from holdfast.containers.trust import open_believed
from holdfast.errors import ContainerFailed, InUse, NewerVersion, Untrusted
from holdfast.model.bounded import (
    FIRST_VERSION,
    NewerFormat,
    read_object,
    seconds,
    whole,
    with_version,
    without_version,
)
from holdfast.system.boot import boot_id
from holdfast.system.files.durable import write_whole

SUFFIX = ".holdfast-lock"
VERSION = FIRST_VERSION
"""Of its form: the keys that `_claim` writes."""
LEASE_SECONDS = 120.0
"""Longer than any pause: a holder renews when it takes the lock, and the pause has a deadline."""
_LONGEST_LEASE_SECONDS = 86400.0
"""Of whatever version of Holdfast: nobody waits longer than a day for one that has died."""
WAIT_SECONDS = 15.0
_RETRY_SECONDS = (0.01, 0.1)
"""Bounds of the random pause between attempts: two hosts do not move in step."""
_ATTEMPTS = 10
_SET_LOCK, _GET_LOCK = 37, 36  # F_OFD_SETLK, F_OFD_GETLK, <linux/fcntl.h>
_FLOCK = struct.Struct("@hhqqi4x")  # struct flock on 64 bit: type, whence, start, len, pid
_MACHINE = Path("/etc/machine-id")

_held: dict[tuple[str, str], tuple[int, int]] = {}
"""(Path, owner) → (descriptor, token) of the locks that this process holds."""


class UpdateLock:
    """The lock of one container for one restoration."""

    def __init__(self, url: str, volume: str, owner: str) -> None:
        self.path = path_of(url) + SUFFIX
        self._volume = volume
        self._owner = owner

    @property
    def token(self) -> int:
        """The token of the lock that we hold; 0: we do not hold it."""
        return _held.get((self.path, self._owner), (-1, 0))[1]

    def take(self, wait_seconds: float = WAIT_SECONDS) -> None:
        """Take it, waiting a bounded time. Idempotent for the same owner. Raises InUse,
        NewerVersion, ContainerFailed, Untrusted."""
        deadline = time.monotonic() + wait_seconds
        while True:
            refusal = self._attempt()
            if not refusal:
                return
            if time.monotonic() >= deadline:
                raise InUse(
                    f"{self.path} says that {refusal}",
                    "Wait until it has ended; its lease runs out by itself when it has died.",
                )
            time.sleep(random.uniform(*_RETRY_SECONDS))

    def give_back(self) -> None:
        """Give it back, when it is ours. The file stays: it remembers the token. Idempotent."""
        descriptor, _ = _held.pop((self.path, self._owner), (-1, 0))
        try:
            if descriptor < 0:
                descriptor = open_believed(Path(self.path), os.O_RDWR)
        except (OSError, Untrusted):
            return
        try:
            found = _read(descriptor)
            if found.get("owner") == self._owner:
                _write(descriptor, {"token": found.get("token", 0), "owner": ""})
        except NewerFormat:
            return  # we did not write it
        finally:
            os.close(descriptor)

    def _attempt(self) -> str:
        """Why it cannot be taken now, in words; empty when it was taken."""
        if (self.path, self._owner) in _held:
            return ""
        try:
            descriptor = _open(self.path)
        except OSError as error:
            raise ContainerFailed(
                f"{self.path} cannot be made: {error.strerror}",
                "The folder of the image must be writable: the update lock lies in it.",
            ) from error
        try:
            if not _lock(descriptor):
                refusal = f"{_words(_read(descriptor))} is at work on it"
            elif not _is_still(descriptor, self.path):
                refusal = "it was replaced just now"
            else:
                refusal = self._claim(descriptor)
        except NewerFormat as error:
            os.close(descriptor)
            raise NewerVersion(
                f"{self.path}: {error.strerror}",
                "Use that version. When nobody works on the image, on any host, the file can be"
                " removed instead.",
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise ContainerFailed(
                f"{self.path} cannot be written: {error.strerror}",
                "Make room there: the update lock lies in the folder of the image.",
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        if refusal:
            os.close(descriptor)
        return refusal

    def _claim(self, descriptor: int) -> str:
        found = _read(descriptor)
        if not self._may_take(found, descriptor):
            return f"{_words(found)} holds it, and its lease has not run out"
        token = int(found.get("token", 0)) + 1
        _write(
            descriptor,
            {
                "token": token,
                "owner": self._owner,
                "volume": self._volume,
                "host": host_id(),
                "boot": boot_id(),
                "pid": os.getpid(),
                "lease_seconds": LEASE_SECONDS,
            },
        )
        _held[(self.path, self._owner)] = (descriptor, token)
        return ""

    def _may_take(self, found: dict[str, Any], descriptor: int) -> bool:
        """We have the kernel's lock: whether what is written allows it, too."""
        if not found.get("owner") or found["owner"] == self._owner:
            return True
        if found.get("host") == host_id():
            return True  # a holder on this host would have the kernel's lock
        age_seconds = _storage_now(self.path) - os.fstat(descriptor).st_mtime
        return age_seconds > float(found.get("lease_seconds", LEASE_SECONDS))


def forget(url: str) -> None:
    """Remove the lock file of an image, when that is not there any more. Idempotent."""
    image = image_behind(url)
    with suppress(OSError):
        if image and not Path(image).exists():
            Path(image + SUFFIX).unlink()


def host_id() -> str:
    """What this host is called in locks: its machine id, else its name."""
    with suppress(OSError):
        found = _MACHINE.read_text().strip()
        if found:
            return found
    return os.uname().nodename


def _open(path: str) -> int:
    """The lock file, made when it is not there; never one that a stranger made in its place."""
    for _ in range(_ATTEMPTS):
        with suppress(FileExistsError):
            return open_believed(Path(path), os.O_RDWR | os.O_CREAT | os.O_EXCL)
        with suppress(FileNotFoundError):  # it went with its image just now
            return open_believed(Path(path), os.O_RDWR)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def _lock(descriptor: int) -> bool:
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(descriptor, _SET_LOCK, request)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _is_still(descriptor: int, path: str) -> bool:
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _storage_now(path: str) -> float:
    """The time as the storage's own clock has it: of a file that is made now."""
    probe = f"{path}.{os.urandom(8).hex()}"
    descriptor = open_believed(Path(probe), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(descriptor, b"x")
        os.fsync(descriptor)
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        Path(probe).unlink(missing_ok=True)


def _read(descriptor: int) -> dict[str, Any]:
    """What is written in it. On a server anybody may have done that: what is used of it is bounded.

    Empty where it is torn, or not ours: whoever wrote that has no lock any more. Raises
    NewerFormat.
    """
    try:
        found = read_object(os.pread(descriptor, 4096, 0) or b"{}", 4096)
        without_version(found, "the update lock", VERSION)
        whole(found.get("token", 0), "token")
        seconds(found.get("lease_seconds", LEASE_SECONDS), "lease", _LONGEST_LEASE_SECONDS)
    except ValueError:
        return {}
    return found


def _write(descriptor: int, values: dict[str, Any]) -> None:
    data = json.dumps(with_version(values, VERSION)).encode()
    write_whole(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))
    os.fsync(descriptor)


def _words(found: dict[str, Any]) -> str:
    here = found.get("host") == host_id()
    where = "this host" if here else f"host {found.get('host', 'unknown')}"
    return f"process {found.get('pid', 'unknown')} of {where}"
