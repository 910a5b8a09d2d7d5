"""What changes in the mount table: a volume that was hidden by another mount or made read-only, and
that anything changed at all, at once.

Dismounted, mounted from another device, and read-only after an error stand in the volume's report
already; seeing that something changed lets the daemon ask for it without waiting. Reads the mount
table only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from holdfast.model.evidence import Evidence
from holdfast.model.volume import VolumeReport, VolumeState
from holdfast.system.fuse.cover_server import is_cover
from holdfast.system.mounts.mount_table import Mount, parse_mountinfo
from holdfast.system.proc_text import lines

_MOUNTINFO = Path("/proc/self/mountinfo")


class MountTable:
    """This mount namespace's table, and whether it has changed; for one thread."""

    def __init__(self) -> None:
        self._file = _MOUNTINFO.open("rb", buffering=0)
        self._places: frozenset[bytes] = frozenset()
        self._concerned: tuple[bytes, ...] | None = ()

    def descriptors(self) -> list[int]:
        """For poll(2), POLLPRI: something was mounted, dismounted or remounted (proc(5))."""
        return [self._file.fileno()]

    def look(self, places: Collection[str]) -> list[Mount]:
        """The table now. From now on changes at these paths, or above them, are news.

        What is looked at for the first time is news as well: it may have changed since it was found
        out which paths these are.
        """
        wanted = frozenset(map(os.fsencode, places))
        if wanted != self._places:
            self._places, self._concerned = wanted, None
        return parse_mountinfo(self._read())

    def has_changed(self) -> bool:
        """Whether there is news since the last call."""
        concerned = tuple(_concerning(self._read(), self._places))
        changed, self._concerned = concerned != self._concerned, concerned
        return changed

    def _read(self) -> bytes:
        self._file.seek(0)
        return self._file.readall()


def hidden(reports: Iterable[VolumeReport], table: Sequence[Mount]) -> Iterator[Evidence]:
    """Volumes whose path leads to something else than their own file system. Pure."""
    for report in reports:
        own = [each for each in table if each.path == report.mount and is_own(each, report)]
        if report.state is VolumeState.DETACHED or not own:
            continue
        found = seen_at(table, report.mount)
        if found is None or found in own or is_cover(found):
            continue
        what = f"{found.source} ({found.filesystem}), mounted at {found.path}"
        words = f"{report.mount} leads to something else: {what}, hides it"
        mend = f"umount {found.path}, when nobody needs that"
        yield Evidence(report.name, "state", words, mend, grave=True, source="mount table")


def refusing(reports: Iterable[VolumeReport], table: Sequence[Mount]) -> Iterator[Evidence]:
    """Volumes that were mounted for writing, and are read-only by now. Pure.

    Of a file system that refuses after an error the report says it.
    """
    for report in reports:
        if report.state not in (VolumeState.HEALTHY, VolumeState.DEGRADED):
            continue
        here = seen_at(table, report.mount)
        if here is None or not is_own(here, report) or "ro" in report.options.split(","):
            continue
        if here.read_only:
            words = f"{report.mount} is mounted read-only, and was mounted for writing"
            mend = f"mount -o remount,rw {report.mount}, unless somebody wants it so"
            yield Evidence(report.name, "state", words, mend, grave=True, source="mount table")


def is_own(mount: Mount, report: VolumeReport) -> bool:
    """Whether a mount is the volume's: of its type, too, as FUSE servers call themselves what they
    like, and anybody may have one. Pure."""
    return mount.source == report.device and mount.filesystem == report.filesystem


def seen_at(table: Sequence[Mount], path: str) -> Mount | None:
    """The mount that somebody gets to who follows a path from the root, without links. Pure."""
    found = on_the_way(table, path)
    return found[-1] if found else None


def on_the_way(table: Sequence[Mount], path: str) -> list[Mount]:
    """The mounts that he comes through, and that last; none: there is no root. Pure."""
    above: dict[tuple[int, str], Mount] = {(each.parent, each.path): each for each in table}
    numbers = {each.identifier for each in table}
    roots = [each for each in table if each.path == "/" and
             (each.parent not in numbers or each.parent == each.identifier)]  # fmt: skip
    here = roots[0] if roots else None
    if here is None:
        return []
    passed = [here]
    for place in _places(path):
        while (further := above.get((here.identifier, place))) is not None and further != here:
            here = further
            passed.append(here)
    return passed


def _places(path: str) -> Iterator[str]:
    yield "/"
    names = [name for name in path.split("/") if name]
    for count in range(1, len(names) + 1):
        yield "/" + "/".join(names[:count])


def _concerning(text: bytes, places: Collection[bytes]) -> Iterator[bytes]:
    """The lines of mounts at these paths or above them; those with escapes pass for one."""
    for line in lines(text):
        fields = line.split(b" ", 6)
        if len(fields) < 6:
            continue
        path = fields[4]
        beginning = path.rstrip(b"/") + b"/"
        if b"\\" in path or any((each + b"/").startswith(beginning) for each in places):
            yield line
