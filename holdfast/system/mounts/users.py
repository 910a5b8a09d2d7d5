"""Who keeps a mount busy: processes by descriptor, map, working directory, root or program.

Reads /proc only and compares mount numbers, never paths or files, so a dead or held file system
below cannot block it, deleted files are found too, and so are users in other mount namespaces.
Processes that end meanwhile are skipped. Must never stop or signal anyone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from holdfast.late_dataclass import dataclass
from holdfast.model.listing import first_of
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.mounts.mount_table import parse_mountinfo
from holdfast.system.proc import name_of, read, read_record
from holdfast.system.proc_text import OPENING_FIFO, number_of, parse_maps

_PROC = Path("/proc")
_SHOWN = 5
"""Handles that are named: a process may have very many."""
_ITEM_SECONDS, _BUDGET_SECONDS = 1.0, 5.0
"""For the maps of one process, and of all: as long as `applications.maps` waits."""


@dataclass(frozen=True)
class MountUser:
    """One process and every way in which it uses the mount."""

    pid: int
    name: str
    handles: tuple[str, ...]
    """`descriptor 3`, `map`, `cwd`, `root`, `program`, `mount namespace`."""

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid}: {first_of(self.handles, _SHOWN)})"


def users_of_device(
    device_number: str, *, foreign_namespaces: bool = False, suspects: bool = False
) -> list[MountUser]:
    """The processes that use any mount of the file system with this `major:minor`.

    `foreign_namespaces`: also list one process per foreign mount namespace that merely has the
    mount. `suspects`: also those whose maps cannot be read in time, for words only: anybody can
    bring that about. Blocks for a few seconds at most, when processes hang.
    """
    seen: dict[int, tuple[str, ...]] = {}
    known: dict[str, frozenset[int]] = {}
    own = _namespace(os.getpid())
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        with suppress(OSError):
            namespace = _namespace(pid)
            first = namespace not in known
            if first:
                known[namespace] = _mount_numbers(pid, device_number)
            numbers = known[namespace]
            handles = tuple(dict.fromkeys(_handles(entry, numbers)))
            if foreign_namespaces and first and numbers and namespace != own:
                handles += ("mount namespace",)
            seen[pid] = handles
    return list(_named(seen, _mapping(sorted(seen), device_number), suspects))


def _named(
    seen: Mapping[int, tuple[str, ...]], maps: Mapping[int, bool | None], suspects: bool
) -> Iterator[MountUser]:
    for pid in sorted(seen):
        handles = seen[pid]
        if maps[pid]:
            handles += ("map",)
        elif maps[pid] is None and suspects:
            handles += ("perhaps maps, which cannot be read in time",)
        if handles:
            with suppress(OSError):
                yield MountUser(pid, name_of(pid), handles)


def _mapping(pids: Sequence[int], device_number: str) -> dict[int, bool | None]:
    """Whether these processes have mapped files of this file system; None: no answer in time.

    Maps wait for the memory lock of their process, which it may hold for ever.
    """
    major, _, minor = device_number.partition(":")
    here = f"{int(major):02x}:{int(minor):02x}".encode()  # mountinfo writes it in decimal
    answers = ask_each(
        partial(_has_maps, here), pids, item_seconds=_ITEM_SECONDS, budget_seconds=_BUDGET_SECONDS
    )
    return dict(zip(pids, answers, strict=True))


def _has_maps(here: bytes, pid: int) -> bool:
    """Runs in an expendable child."""
    try:
        return bool(parse_maps(read(f"/proc/{pid}/maps"), (here,)))
    except OSError:
        return False


def descriptors_on_their_way() -> list[MountUser]:
    """The processes with a socket in which descriptors wait to be received (SCM_RIGHTS).

    Those keep mounts busy; of which files they are, nothing tells. Does not block.
    """
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                handles = tuple(_sockets_with_descriptors(entry))
                if handles:
                    found.append(MountUser(int(entry.name), name_of(int(entry.name)), handles))
    return sorted(found, key=lambda user: user.pid)


def _sockets_with_descriptors(process: Path) -> Iterator[str]:
    for entry in (process / "fdinfo").iterdir():
        with suppress(OSError):
            if number_of(read_record(str(entry)), b"scm_fds"):
                yield f"descriptor {entry.name}"


def waiting_to_open_fifos() -> list[MountUser]:
    """The processes with a thread that waits in open(2) of a FIFO for somebody at its other end.

    It keeps the mount busy, in no table; which FIFO it is, nothing tells when that has lost the
    name by which it was reached. Does not block.
    """
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                handles = tuple(_threads_that_open(entry))
                if handles:
                    found.append(MountUser(int(entry.name), name_of(int(entry.name)), handles))
    return sorted(found, key=lambda user: user.pid)


def _threads_that_open(process: Path) -> Iterator[str]:
    for entry in (process / "task").iterdir():
        with suppress(OSError):
            if read_record(str(entry / "wchan")) in OPENING_FIFO:
                yield f"thread {entry.name}"


def _namespace(pid: int) -> str:
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    return ""


def _mount_numbers(pid: int, device_number: str) -> frozenset[int]:
    entries = parse_mountinfo(read(f"/proc/{pid}/mountinfo"))
    return frozenset(each.identifier for each in entries if each.device_number == device_number)


def _handles(process: Path, mount_numbers: frozenset[int]) -> Iterator[str]:
    if mount_numbers:
        for name in ("cwd", "root"):
            if _mount_number_of_link(process / name) in mount_numbers:
                yield name
        with suppress(OSError):
            for entry in (process / "fdinfo").iterdir():
                with suppress(OSError):
                    if _mount_number(entry) in mount_numbers:
                        yield f"descriptor {entry.name}"
        if _mount_number_of_link(process / "exe") in mount_numbers:
            yield "program"


def _mount_number(information: Path) -> int | None:
    return number_of(read_record(str(information)), b"mnt_id")


def _mount_number_of_link(link: Path) -> int | None:
    """The mount behind one of /proc's magic links; O_PATH jumps there without asking storage."""
    try:
        descriptor = os.open(link, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _mount_number(Path(f"/proc/self/fdinfo/{descriptor}"))
    finally:
        os.close(descriptor)
