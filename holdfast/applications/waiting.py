"""Threads that wait in open(2) of a FIFO until somebody opens its other end.

No descriptor says so, and they keep the file system busy. Where a thread waits the kernel tells
without asking anybody; which path it opens lies in its memory, which may hang, so expendable
children read it. Only a path that leads there by its words, through no link, is looked up, below
the root of the mount: nobody can make us look anywhere else. Changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from holdfast.applications.places import Places, inside_of
from holdfast.applications.tasks import Table
from holdfast.model.handle import Handle, HandleKind
from holdfast.model.mountpoint import MountPoint
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.files.beneath import open_beneath
from holdfast.system.proc import ProcessFacts, link, opened_folder, read_record
from holdfast.system.proc_text import OPENING_FIFO
from holdfast.system.processes.calls_of_32_bits import has_32_bits, number_for_64_bits

_CALLS = {
    "x86_64": {2: 0, 85: 0, 257: 1, 437: 1},
    "aarch64": {56: 1, 437: 1},
    "riscv64": {56: 1, 437: 1},
}
"""open, creat, openat, openat2: which argument is the path; one before it is the directory's."""

_HERE = -100  # AT_FDCWD
_LONGEST_PATH_BYTES = 4096  # PATH_MAX of <linux/limits.h>, with the zero byte
_ITEM_SECONDS, _BUDGET_SECONDS = 0.25, 0.5
"""There may be strangers whose memory hangs, while others stand and wait."""


class _Opening(NamedTuple):
    task: int
    table: Table


def waiting_in_open(
    processes: Sequence[ProcessFacts],
    tables_of: Mapping[int, Sequence[Table]],
    places: Places,
) -> list[Handle]:
    """A handle for each thread that waits to open a FIFO on one of these file systems."""
    found = [each for facts in processes for each in _waiting(facts, tables_of[facts.pid])]
    if not found:
        return []
    answers = ask_each(
        partial(_handle, places),
        found,
        item_seconds=_ITEM_SECONDS,
        budget_seconds=_BUDGET_SECONDS,
    )
    return [handle for handle in answers if handle is not None]


def _waiting(facts: ProcessFacts, table_list: Sequence[Table]) -> list[_Opening]:
    if not table_list:
        return []
    with suppress(OSError):
        if facts.threads == 1:
            is_one = read_record(f"/proc/{facts.pid}/wchan") in OPENING_FIFO
            return [_Opening(facts.pid, table_list[0])] if is_one else []
        with opened_folder(f"/proc/{facts.pid}/task") as tasks:
            names = [name for name in os.listdir(tasks) if _waits(name, tasks)]  # noqa: PTH208
        return [_Opening(int(name), _table_of(int(name), table_list)) for name in names]
    return []


def _waits(name: str, tasks: int) -> bool:
    with suppress(OSError):
        return read_record(f"{name}/wchan", tasks) in OPENING_FIFO
    return False


def _table_of(task: int, table_list: Sequence[Table]) -> Table:
    own = [each for each in table_list if each.thread_id == task and each.directories]
    return [*own, table_list[0]][0]


def _handle(places: Places, opening: _Opening) -> Handle | None:
    """Runs in an expendable child."""
    with suppress(OSError, ValueError, OverflowError):
        path = _path_of(opening.task)
        mount = places.may_hold(path, opening.table.namespace)
        if mount is None:
            return None
        inode = _fifo_on(mount, path)
        if inode:
            return Handle(
                kind=HandleKind.OPENING,
                pid=opening.table.pid,
                path=path,
                mount_id=mount.id,
                inside=inside_of(mount, path),
                thread_id=None if opening.task == opening.table.pid else opening.task,
                inode=inode,
            )
    return None


def _path_of(task: int) -> str:
    """What a thread opens, by its words. Raises ValueError, OSError where these do not tell."""
    words = read_record(f"/proc/{task}/syscall").split()
    number = int(words[0])
    if os.uname().machine == "x86_64" and has_32_bits(task):
        number = number_for_64_bits(number)
    place = _CALLS.get(os.uname().machine, {}).get(number)
    if place is None:
        raise ValueError("it opens nothing")
    path = os.fsdecode(_text_at(task, int(words[1 + place], 16)))
    folder = "root"
    if not path.startswith("/"):
        number = int(words[1], 16) & 0xFFFFFFFF if place else _HERE & 0xFFFFFFFF
        folder = "cwd" if number == _HERE & 0xFFFFFFFF else f"fd/{number}"
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names:
        raise ValueError("its words do not say where that is")
    return "/".join([link(f"/proc/{task}/{folder}").rstrip("/"), *names])


def _text_at(task: int, address: int) -> bytes:
    memory = os.open(f"/proc/{task}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text, end, _ = os.pread(memory, _LONGEST_PATH_BYTES, address).partition(b"\0")
    finally:
        os.close(memory)
    if not end:
        raise ValueError("no path is as long")
    return text


def _fifo_on(mount: MountPoint, path: str) -> int:
    """The number of the FIFO at this path on a mount; 0: there is none."""
    flags = os.O_PATH | os.O_CLOEXEC
    root = os.open(f"/proc/{mount.witness_pid}/root{mount.path}", flags | os.O_NOFOLLOW)
    try:
        place = open_beneath(root, path[len(mount.path) :].strip("/"), flags | os.O_NOFOLLOW)
        try:
            status = os.fstat(place)
        finally:
            os.close(place)
    finally:
        os.close(root)
    return status.st_ino if stat.S_ISFIFO(status.st_mode) else 0
