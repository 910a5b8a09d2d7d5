"""Properties that a file got after it was opened, and that keep it from being opened so again.

chattr +i and +a, or a directory that nobody may enter any more: they bind whoever opens, not who
has it open. They are set aside for an instant and given back, on the inode itself. Invariant: what
a file has is on disk in the record directory, flushed, before it is taken away; whoever comes after
a death gives it back first. Everything here blocks when the storage does, but for the two contexts
of the agent, which let an expendable child do it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import read_object, typed
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.beneath import path_to, reopen
from holdfast.system.files.inode_flags import PROTECTING, flags_of, set_flags
from holdfast.system.files.inode_identity import identity_of, open_identity

_PREFIX = "set-aside-"
_ABOUT = "the new storage"


@dataclass(frozen=True)
class _SetAside:
    """What was taken away from one file, as it is on disk."""

    mount_id: int
    identity: str
    flags: int | None = None
    mode: int | None = None


@contextmanager
def without_protection(place: int, mount_id: int, directory: Path) -> Iterator[None]:
    """Within the context an open file (O_PATH) is neither immutable nor append-only.

    Raises OSError, PermissionError when nothing of that kind is in the way.
    """
    left = _take_protection(place, mount_id, directory)
    try:
        yield
    finally:
        _put_back(place, left)


@contextmanager
def agent_without_protection(place: int, mount_id: int, directory: Path) -> Iterator[None]:
    """The same for the agent: whatever the storage does, it waits some seconds at most."""
    left = in_expendable_child(partial(_take_protection, place, mount_id, directory), doing=_ABOUT)
    try:
        yield
    finally:
        in_expendable_child(partial(_put_back, place, left), doing=_ABOUT)


@contextmanager
def agent_with_entry(place: int, mount_id: int, directory: Path, who: int) -> Iterator[None]:
    """Within the context a directory (O_PATH) may be searched, by whom `who` (S_IXUSR …) says."""
    left = in_expendable_child(partial(_take_mode, place, mount_id, directory, who), doing=_ABOUT)
    try:
        yield
    finally:
        in_expendable_child(partial(_put_back, place, left), doing=_ABOUT)


def is_set_aside(directory: Path) -> bool:
    """Whether protection is lifted from any file, also by a process that has died since. Reads the
    record directory only."""
    return any(directory.glob(f"{_PREFIX}*"))


def give_back(bases: Mapping[int, int], directory: Path) -> None:
    """What somebody who died had set aside. Idempotent. Raises OSError."""
    for path in directory.glob(f"{_PREFIX}*"):
        try:
            left = _read(path)
        except ValueError:  # torn: nothing was taken away yet
            path.unlink(missing_ok=True)
            continue
        base = bases.get(left.mount_id)
        if base is None:
            continue
        mount = reopen(base, os.O_RDONLY)
        try:
            place = open_identity(mount, left.identity)
        except (OSError, ValueError):
            # another file system has taken its place, where it was never taken away
            path.unlink(missing_ok=True)
            continue
        finally:
            os.close(mount)
        try:
            _put_back(place, path)
        finally:
            os.close(place)


def _take_protection(place: int, mount_id: int, directory: Path) -> Path:
    """Take it away; where it is written down."""
    readable = reopen(place, os.O_RDONLY | os.O_NONBLOCK)
    try:
        flags = flags_of(readable)
        if not flags & PROTECTING:
            raise PermissionError(1, "it may not be opened like that any more")
        path = _write_down(directory, mount_id, place, {"flags": flags})
        set_flags(readable, flags & ~PROTECTING)
        return path
    finally:
        os.close(readable)


def _take_mode(place: int, mount_id: int, directory: Path, who: int) -> Path:
    mode = stat.S_IMODE(os.fstat(place).st_mode)
    path = _write_down(directory, mount_id, place, {"mode": mode})
    os.chmod(path_to(place), mode | who)  # noqa: PTH101
    return path


def _put_back(place: int, path: Path) -> None:
    """Give it back what is written down, and forget that. Raises OSError, and nothing is forgotten
    then."""
    left = _read(path)
    if left.mode is not None:
        os.chmod(path_to(place), left.mode)  # noqa: PTH101
    if left.flags is not None:
        readable = reopen(place, os.O_RDONLY | os.O_NONBLOCK)
        try:
            set_flags(readable, left.flags)
        finally:
            os.close(readable)
    path.unlink()


def _read(path: Path) -> _SetAside:
    """Raises ValueError when it is torn or damaged, OSError."""
    return typed(_SetAside, read_object(path.read_bytes()))


def _write_down(directory: Path, mount_id: int, place: int, what: Mapping[str, int]) -> Path:
    identity = identity_of(place)
    if not identity:
        raise PermissionError(1, "its file system has no name for it that would last")
    path = directory / f"{_PREFIX}{os.getpid()}-{os.fstat(place).st_ino}"
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        data = json.dumps({"mount_id": mount_id, "identity": identity, **what}).encode()
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path
