"""Uprobes set through tracefs: each keeps the file system of its file, and no process has it.

Documentation/trace/uprobetracer.rst. Those of `perf_event_open` show in no table; whoever has perf
events open may have one. Touches no file of a volume, does not block.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.system.mounts.users import MountUser
from holdfast.system.proc import link, name_of, names, process_ids, read

_FOLDERS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_PERF = "anon_inode:[perf_event]"


@dataclass(frozen=True)
class Uprobe:
    """`event`: group/name, as tracefs has it. `path`: as whoever set it wrote it."""

    event: str
    path: str
    folder: str
    """Of tracefs, where it can be removed."""

    @property
    def mend(self) -> str:
        return (
            f"Remove it: echo 0 > {self.folder}/events/{self.event}/enable;"
            f" echo '-:{self.event}' >> {self.folder}/uprobe_events"
        )


def uprobes() -> list[Uprobe]:
    """All that tracefs tells of; none where it is not mounted, or nobody may read it."""
    for folder in _FOLDERS:
        with suppress(OSError):
            return [Uprobe(event, path, folder) for event, path in _parse(folder)]
    return []


def _parse(folder: str) -> Iterator[tuple[str, str]]:
    """Lines are `p:group/name PATH:0xOFFSET [arguments]`; a path has no white space in it."""
    for line in read(f"{folder}/uprobe_events").split(b"\n"):
        words = line.split(b" ")
        if len(words) > 1 and b":" in words[0]:
            event, path = words[0].split(b":", 1)[1], words[1].rpartition(b":")[0]
            yield os.fsdecode(event), os.fsdecode(path)


def perf_events() -> list[MountUser]:
    """The processes that have perf events open; of what, nothing tells."""
    found = []
    for pid in sorted(process_ids()):
        with suppress(OSError):
            handles = tuple(f"descriptor {each}" for each in _perf_descriptors(f"/proc/{pid}/fd"))
            if handles:
                found.append(MountUser(pid, name_of(pid), handles))
    return found


def _perf_descriptors(folder: str) -> Iterator[str]:
    for name in names(folder):
        with suppress(OSError):
            if link(f"{folder}/{name}") == _PERF:
                yield name
