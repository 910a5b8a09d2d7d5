"""A control group of its own, for a process that others depend on: it does not share their fate.

A process is born in the group of whoever starts it: a session, a service, a container. With that
group it would be ended or frozen, and its memory counts against a limit that others in there can
fill. Owns the groups `holdfast/NAME` at the top of what this host's mounts show: in version 2, and
in those hierarchies of version 1 that can make a process wait. Must never move anyone but those it
is told to, and never believe a group that is not its own user's alone.

Mounts that somebody makes in a user namespace do not reach this mount namespace
(mount_namespaces(7)); what the mount table says is compared with what is opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.late_dataclass import dataclass
from holdfast.system.mounts.mount_table import Mount, mounts
from holdfast.system.proc import read_record
from holdfast.system.proc_text import lines, parse_control_groups

FOLDER = "holdfast"
_FILES = frozenset({"tasks", "notify_on_release"})
"""What version 1 has in every group, without a point in its name: no group can be called so."""
_CONTROLLERS = frozenset({"freezer", "memory", "pids"})
"""Of version 1: those whose groups keep a process from going on, or from being succeeded."""
_TEXT_BYTES = 8192
"""Of /proc/PID/cgroup: more than the dozen lines of any host; a longer text is compared so far."""
_TRIES = 3
"""A group may be removed by its last user in the moment when the next one opens it."""
_UNLIMITED_BYTES = (2**63 - 1) // 4096 * 4096
"""What version 1 says where there is no limit (PAGE_COUNTER_MAX, linux/page_counter.h)."""


@dataclass
class _Kept:
    """A process that is looked after."""

    descriptor: int
    """Its /proc/PID/cgroup: leads to this process only, whoever gets the number afterwards."""
    seen: bytes = b""
    """What it said when there was nothing to do, or nothing that could be done."""


class OwnGroup:
    """The group `holdfast/NAME` of some processes, as long as this object lives.

    Looking costs one system call for each process, and memory that is there already.
    """

    def __init__(self, name: str) -> None:
        self._name = _folder_name(name)
        self._doors: list[tuple[Mount, int]] = []
        """`cgroup.procs` of the group, one for each hierarchy."""
        self._kept: dict[int, _Kept] = {}

    def keep(self, *pids: int) -> set[int]:
        """Look after these processes, and nobody else, from now on; as `look`."""
        for pid in self._kept.keys() - set(pids):
            os.close(self._kept.pop(pid).descriptor)
        for pid in pids:
            if pid not in self._kept:
                with suppress(OSError):  # it has ended
                    descriptor = os.open(f"/proc/{pid}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
                    self._kept[pid] = _Kept(descriptor)
        return self.look()

    def look(self) -> set[int]:
        """Move those in who are elsewhere, and say who; whoever cannot be moved stays there."""
        found = set()
        for pid, kept in self._kept.items():
            with suppress(OSError):  # it has ended
                text = os.pread(kept.descriptor, _TEXT_BYTES, 0)
                if text == kept.seen:
                    continue
                if not self._is_inside(text):
                    found.add(pid)
                    entered = self._move(pid)
                    text = os.pread(kept.descriptor, _TEXT_BYTES, 0)
                    if entered and not self._is_inside(text):
                        continue  # moved away again: the next look is for that
                kept.seen = text
        return found

    def close(self) -> None:
        """Look after nobody any more; the processes stay where they are."""
        self.keep()
        self._close_doors()

    def _move(self, pid: int) -> bool:
        """Whether it could be moved, in each hierarchy."""
        for _ in range(_TRIES):
            self._doors = self._doors or _open_doors(self._name)
            refused = [door for _, door in self._doors if not _enter(door, pid)]
            if not refused:
                return bool(self._doors)
            self._close_doors()
        return False

    def _is_inside(self, text: bytes) -> bool:
        """Whether /proc/PID/cgroup says this of a process in the group."""
        place = f"{FOLDER}/{self._name}"
        places = {_place(mount, text) for mount, _ in self._doors}
        return places == {place}

    def _close_doors(self) -> None:
        while self._doors:
            os.close(self._doors.pop()[1])


def move_to_own_group(pid: int, name: str) -> None:
    """Move a process into the groups of that name, where that is possible."""
    group = OwnGroup(name)
    group.keep(pid)
    group.close()


def remove_group(name: str) -> None:
    """Remove the empty groups of that name; one that is in use stays."""
    for mount in _hierarchies():
        with suppress(OSError), _opened(mount) as top:
            with _own(top, FOLDER) as folder, suppress(FileNotFoundError):
                os.rmdir(_folder_name(name), dir_fd=folder)
            os.rmdir(FOLDER, dir_fd=top)  # unless there are others in it


def memory_limit(pid: int) -> int | None:
    """The lowest limit, in bytes, that the memory of a process counts against; None: there is none.

    As far as this host's mounts show it: version 1 tells of groups above as well, version 2 does
    not. Does not block. Raises OSError when the process has ended.
    """
    text = read_record(f"/proc/{pid}/cgroup")
    return _lowest(_limit(mount, _place(mount, text)) for mount in _hierarchies())


def memory_limit_of_own_group() -> int | None:
    """As memory_limit, for a process that moved into a group of its own, where it can."""
    text = read_record("/proc/self/cgroup")
    return _lowest(
        _limit(mount, "" if _may_move(mount) else _place(mount, text)) for mount in _hierarchies()
    )


def _folder_name(name: str) -> str:
    return f"{name}-group" if name in _FILES else name


def _hierarchies() -> list[Mount]:
    """The mounts that show the most of the hierarchies in question, one for each."""
    found: dict[str, Mount] = {}
    for mount in sorted(mounts(), key=_preference):
        hierarchy = _hierarchy(mount)
        if hierarchy and hierarchy not in found:
            with suppress(OSError), _opened(mount):
                found[hierarchy] = mount
    return list(found.values())


def _hierarchy(mount: Mount) -> str:
    """What tells a hierarchy in question from the others; empty: it is none."""
    if mount.filesystem == "cgroup":
        return ",".join(sorted(_CONTROLLERS.intersection(mount.super_options.split(","))))
    return mount.filesystem if mount.filesystem == "cgroup2" else ""


def _preference(mount: Mount) -> tuple[int, int, bool, bool]:
    """Least for the highest group, then for mounts that can be written and are where one looks.

    A root of `/..` is above the root of this process's control group namespace.
    """
    levels = len([part for part in mount.root.split("/") if part not in ("", "..")])
    return (
        -mount.root.count("/.."),
        levels,
        mount.read_only,
        not mount.path.startswith("/sys/fs/cgroup"),
    )


@contextmanager
def _opened(mount: Mount) -> Iterator[int]:
    """The mount's top. Raises OSError where another mount covers it."""
    top = os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        number = os.fstat(top).st_dev
        if f"{os.major(number)}:{os.minor(number)}" != mount.device_number:
            raise OSError(errno.ESTALE, "another file system is mounted there", mount.path)
        yield top
    finally:
        os.close(top)


@contextmanager
def _own(parent: int, name: str) -> Iterator[int]:
    """A group that this user alone may change. Raises OSError."""
    folder = os.open(
        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
    )
    try:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EPERM, "the control group is somebody else's", name)
        yield folder
    finally:
        os.close(folder)


def _open_doors(name: str) -> list[tuple[Mount, int]]:
    """Make the groups of that name, and open them for moving; left out where it is impossible."""
    doors = []
    for mount in _hierarchies():
        with suppress(OSError), _opened(mount) as top:
            with suppress(FileExistsError):
                os.mkdir(FOLDER, 0o755, dir_fd=top)
            with _own(top, FOLDER) as folder:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=folder)
                with _own(folder, name) as group:
                    flags = os.O_WRONLY | os.O_CLOEXEC
                    doors.append((mount, os.open("cgroup.procs", flags, dir_fd=group)))
    return doors


def _enter(door: int, pid: int) -> bool:
    """Move a process with all its threads; False when it could not be moved there."""
    try:
        os.write(door, b"%d" % pid)
    except ProcessLookupError:
        return True  # it has ended
    except OSError:
        return False
    return True


def _may_move(mount: Mount) -> bool:
    procs = Path(mount.path) / "cgroup.procs"
    return not mount.read_only and os.access(mount.path, os.W_OK) and os.access(procs, os.W_OK)


def _place(mount: Mount, text: bytes) -> str | None:
    """Where below the mount's top a process is, of which /proc/PID/cgroup says this text. Pure.

    None: outside of what the mount shows.
    """
    for number, controllers, path in parse_control_groups(text):
        matches = _hierarchy(mount) == (
            "cgroup2"
            if number == "0"
            else ",".join(sorted(_CONTROLLERS.intersection(controllers.split(","))))
        )
        root, group = mount.root.rstrip("/"), path.removesuffix(" (deleted)")
        if matches and f"{group}/".startswith(f"{root}/"):
            return group[len(root) :].strip("/")
    return None


def _limit(mount: Mount, place: str | None) -> int | None:
    if place is None:
        return None
    group = Path(mount.path) / place
    if mount.filesystem == "cgroup":
        with suppress(OSError, ValueError):  # not the memory controller's, or gone
            for line in lines((group / "memory.stat").read_bytes()):
                name, _, number = line.partition(b" ")
                if name == b"hierarchical_memory_limit":
                    return int(number) if int(number) < _UNLIMITED_BYTES else None
        return None
    top = Path(mount.path)
    groups = [group, *(each for each in group.parents if each.is_relative_to(top))]
    return _lowest(_value(each / name) for each in groups for name in ("memory.max", "memory.high"))


def _value(path: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None  # `max`, or the controller is not in use there


def _lowest(limits: Iterator[int | None]) -> int | None:
    return min((each for each in limits if each is not None), default=None)
